// How cifar_record.ts trains and tests.
import {
  capture,
  crossEntropy,
  data,
  type DType,
  gatherRows,
  noGrad,
  optim,
  pad,
  rand,
  scope,
  type Tensor,
} from "../../mod.ts";
import type { RecordNet } from "./net.ts";

const { normalize, randomCrop, randomHorizontalFlip } = data.transforms;
const normalized = normalize({ mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] });
const mirror = randomHorizontalFlip(1);
const translate = randomCrop(32, { padding: 2, paddingMode: "reflect" });

/** What the command line says. */
export interface Options {
  epochs: number;
  batch: number;
  /** Muon's highest learning rate. */
  lr: number;
  dtype: DType;
  /** How many images; 0 for all. */
  limit: number;
}

/** Images as the network takes them, and their classes. */
export interface Part {
  images: Tensor;
  labels: Tensor;
}

/** Both on the device, the images normalised. */
export function part({ inputs, targets }: data.TensorDataset, { limit, dtype }: Options): Part {
  const n = limit > 0 ? Math.min(limit, inputs.shape[0]!) : inputs.shape[0]!;
  const floats = inputs.slice(0, 0, n).to("float32").mul(1 / 255);
  return { images: normalized(floats).to(dtype), labels: targets.slice(0, 0, n).to("int32") };
}

const scores = ({ model, head }: RecordNet, images: Tensor) =>
  model.forward(images.to({ format: "channelsLast" })).mul(1 / head.weight.shape[1]!);

/** Takes the steps. */
export function train(net: RecordNet, { images, labels }: Part, o: Options): void {
  const [n, { device }] = [images.shape[0]!, images];
  const perEpoch = Math.floor(n / o.batch);
  const steps = Math.ceil(o.epochs * perEpoch);
  const whitenSteps = Math.min(steps, 3 * perEpoch); // of the bias; the filters stay
  const group = (lr: number, params: Tensor[]) => ({
    lr,
    params,
    weightDecay: 2e-6 * o.batch / lr,
  });
  const sgd = new optim.SGD(
    [group(0.053, [net.whiten.bias!]), group(0.053, net.biases), group(0.67, [net.head.weight])],
    { lr: 0.053, momentum: 0.85, nesterov: true },
  );
  const muon = new optim.Muon(net.filters.map(({ weight }) => weight), {
    ...{ lr: o.lr, momentum: 0.6, weightDecay: 0, nsSteps: 3 },
    nsDType: o.dtype === "float32" ? null : "bfloat16",
  });
  const groups = [...sgd.groups, ...muon.groups].map((group) => ({ group, lr: group.lr }));
  const half = randomHorizontalFlip()(images); // each image turns about from epoch to epoch
  const all = half.clone();
  // One launch a step; the images of an epoch stay in their place. Another one once the filters'
  // bias stays.
  const captured = [0, 1].map(() =>
    capture((index: Tensor) => {
      const loss = { labelSmoothing: 0.2, reduction: "sum" } as const;
      const target = gatherRows(labels, index);
      crossEntropy(scores(net, gatherRows(all, index)), target, loss).backward();
      noGrad(() => net.filters.forEach((filters) => filters.rescale()));
      for (const optimizer of [muon, sgd]) {
        optimizer.step();
        optimizer.zeroGrad();
      }
    })
  );
  for (let step = 0, epoch = 0; step < steps; epoch++) {
    scope(() => {
      const shifted = translate(half);
      all.copyFrom(epoch % 2 ? mirror(shifted) : shifted);
      const order = rand([n], { device }).argsort();
      for (let i = 0; i < perEpoch && step < steps; i++, step++) {
        const whitens = step < whitenSteps;
        net.whiten.bias!.requiresGrad = whitens;
        groups.forEach(({ group, lr }, i) => {
          group.lr = lr * Math.max(0, 1 - step / (i === 0 ? whitenSteps : steps));
        });
        const index = order.slice(0, i * o.batch, (i + 1) * o.batch);
        scope(() => captured[whitens ? 0 : 1]!(index));
      }
    });
  }
  for (const step of captured) step.dispose();
  for (const optimizer of [muon, sgd]) optimizer.dispose();
}

/** The share of right answers by six views: mirrored, moved by a pixel either way, and neither. */
export function accuracy(net: RecordNet, { images, labels }: Part, batch: number): number {
  const both = (x: Tensor) => scores(net, x).add(scores(net, x.flip(3))).mul(0.5);
  let right = 0;
  for (let at = 0; at < images.shape[0]!; at += batch) {
    right += scope(() => {
      const x = images.slice(0, at, Math.min(at + batch, images.shape[0]!));
      const wide = pad(x, [[0, 0], [0, 0], [1, 1], [1, 1]], { mode: "reflect" });
      const moved = [0, 2].map((by) => both(wide.slice(2, by, by + 32).slice(3, by, by + 32)));
      const answer = both(x).mul(2).add(moved[0]!).add(moved[1]!).argmax(1);
      const truth = labels.slice(0, at, at + x.shape[0]!);
      return answer.eq(truth).to("float32").sum().itemSync();
    });
  }
  return right / images.shape[0]!;
}
