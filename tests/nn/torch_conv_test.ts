// Convolutional networks' training against PyTorch's, recorded by tests/fixtures/make_conv_runs.py.
import { assert, assertEquals } from "@std/assert";
import {
  crossEntropy,
  models,
  nn,
  optim,
  scope,
  type Shape,
  type StateDict,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { part, type Place, testRuns } from "../_runs.ts";

interface Run {
  model: (place: Place) => nn.Sequential;
  images: Shape;
  sgd: optim.SGDOptions;
  /** The first number of the sequence. */
  first: number;
  /**
   * What float32's gradients may be off in the first step, in others, and the parameters at the end
   * where a rectifier near 0 switches: little in itself, but the next steps make more of it.
   */
  switched: [first: number, others: number, end: number];
}

const runs: Record<string, Run> = {
  lenet5: {
    model: (place) => models.lenet5(place),
    images: [8, 1, 28, 28],
    sgd: { lr: 0.05, momentum: 0.9 },
    first: 0,
    switched: [0, 0, 0],
  },
  resnet18: {
    model: (place) => models.resnet18({ classes: 10, ...place }),
    images: [4, 3, 64, 64],
    sgd: { lr: 0.01, momentum: 0.9, weightDecay: 5e-4 },
    first: 200_000_000,
    switched: [2e-3, 0.1, 1e-4],
  },
};

// The numbers that make_conv_runs.py takes too.
class Sequence {
  constructor(private taken: number) {}

  take(shape: Shape, value = (u: number) => u): Float32Array<ArrayBuffer> {
    const numbers = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < numbers.length; i++) {
      let x = this.taken++;
      x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
      x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
      numbers[i] = value(((x ^ (x >>> 16)) >>> 8) / 2 ** 23 - 1);
    }
    return numbers;
  }
}

function start(model: nn.Module, sequence: Sequence): void {
  for (const [key, p] of model.namedParameters()) {
    const bound = Math.sqrt(6 / p.shape.slice(1).reduce((a, b) => a * b, 1));
    const middle = key.endsWith("weight") ? 1 : 0;
    const value = p.rank > 1 ? (u: number) => u * bound : (u: number) => u / 4 + middle;
    const numbers = sequence.take(p.shape, value);
    p.copyFrom(p.dtype === "float64" ? new Float64Array(numbers) : numbers);
  }
}

/** Rows of a norm and some elements, by the names of make_conv_runs.py. */
type Samples = Record<string, ArrayLike<number>>;

function sampled(x: Tensor, count: number): Float64Array {
  const numbers = x.dataSync();
  const row = new Float64Array(1 + count);
  for (const number of numbers) row[0]! += number * number;
  row[0] = Math.sqrt(row[0]!);
  for (let i = 0; i < count; i++) {
    row[1 + i] = numbers[Math.floor((2 * i + 1) * numbers.length / (2 * count))]!;
  }
  return row;
}

// How far samples are from the exact ones: norms as a part of theirs, elements as a part of what
// elements are, the root mean square of all.
function distance(found: Samples, exact: Samples, sizes: Record<string, number>): number {
  let [sum, count] = [0, 0];
  for (const [key, row] of Object.entries(exact)) {
    for (let i = 0; i < row.length; i++) {
      const unit = row[0]! / (i === 0 ? 1 : Math.sqrt(sizes[key]!)) || 1;
      sum += ((found[key]![i]! - row[i]!) / unit) ** 2;
      count++;
    }
  }
  return Math.sqrt(sum / count);
}

function replay(run: Run, recorded: StateDict, place: Place, all: StateDict) {
  const model = run.model(place);
  const sequence = new Sequence(run.first);
  start(model, sequence);
  const images = tensor(sequence.take(run.images), { shape: run.images, ...place });
  const classes = Array.from({ length: run.images[0]! }, (_, i) => i * 7 % 10);
  const targets = tensor(classes, { dtype: "int32", device: place.device });
  const optimizer = new optim.SGD(model.parameters(), run.sgd);
  const [single, double] = [part(all, "float32."), part(all, "float64.")];

  // float64 differs by rounding; float32 is to be about as near to that as PyTorch's float32.
  const judge = (kind: string, step: number, tensors: [key: string, x: Tensor][]) => {
    const width = recorded["final.fc3.weight"]?.size ?? recorded["final.fc.weight"]!.size;
    const rows = (of: StateDict): Samples =>
      Object.fromEntries(tensors.map(([key]) => {
        const numbers = of[`${kind}.${key}`]!.dataSync();
        return [key, numbers.subarray(step * width, (step + 1) * width)];
      }));
    const sizes = Object.fromEntries(tensors.map(([key, x]) => [key, x.size]));
    const ours = Object.fromEntries(tensors.map(([key, x]) => [key, sampled(x, width - 1)]));
    const exact = rows(double);
    const error = distance(ours, exact, sizes);
    const theirs = distance(rows(single), exact, sizes);
    const switched = run.switched[kind === "final" ? 2 : Math.min(step, 1)]!;
    const allowed = place.dtype === "float64" ? 1e-10 : Math.max(4 * theirs, switched);
    assert(error <= allowed, `${kind} ${step}: off by ${error}, PyTorch's float32 by ${theirs}`);
  };

  const losses = double.losses!;
  for (let step = 0; step < losses.size; step++) {
    scope(() => {
      const loss = crossEntropy(model.forward(images), targets);
      const [found, exact] = [loss.itemSync(), losses.dataSync()[step]!];
      const theirs = Math.abs(single.losses!.dataSync()[step]! - exact);
      const allowed = place.dtype === "float64"
        ? 1e-10
        : Math.max(4 * theirs / exact, 2e-6, run.switched[Math.min(step, 1)]!);
      const error = Math.abs(found - exact) / exact;
      assert(error <= allowed, `loss of step ${step}: ${found}, PyTorch's is ${exact} in float64`);
      optimizer.zeroGrad();
      loss.backward();
    });
    judge("gradient", step, [...model.namedParameters()].map(([key, p]) => [key, p.grad!]));
    optimizer.step();
  }
  const state = Object.entries(model.stateDict());
  assertEquals(
    state.map(([key]) => `final.${key}`).sort(),
    Object.keys(recorded).filter((key) => key.startsWith("final.")).sort(),
  );
  judge("final", 0, state);
  model.dispose();
  optimizer.dispose();
}

testRuns(runs, replay);
