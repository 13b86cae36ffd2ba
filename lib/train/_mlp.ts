import { parametersChanged } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { syncScope } from "../core/scope.ts";
import { call } from "../native/call.ts";
import { NativeError } from "../native/errors.ts";
import { ReLU } from "../nn/activations.ts";
import { Flatten } from "../nn/flatten.ts";
import { Linear } from "../nn/linear.ts";
import { CrossEntropyLoss } from "../nn/losses.ts";
import { Sequential } from "../nn/sequential.ts";
import { Batch } from "../optim/batch.ts";
import { internals } from "../optim/_internals.ts";
import { handlesOf } from "../optim/_lists.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { SGD } from "../optim/sgd.ts";
import type { Tensor } from "../tensor.ts";

/** What {@linkcode trainsMlp} recognised. */
export interface Mlp {
  /** Weight and bias of the first layer, then of the second. */
  readonly params: readonly Tensor[];
  /** Which has these parameters and no others. */
  readonly optimizer: SGD;
}

/** What {@linkcode trainMlp} trains on, all on the parameters' device. */
export interface MlpData {
  /** Samples [n, …], float32 or uint8. */
  readonly x: Tensor;
  /** Their classes [n], int32. */
  readonly target: Tensor;
  /** The samples' numbers in the order of the batches [steps * batchSize], int32. */
  readonly order: Tensor;
  readonly batchSize: number;
  /** The learning rates of the steps; by default the optimizer's. */
  readonly rates?: Float32Array | undefined;
  /** What samples are multiplied by first, float32: one number, or one for each feature. */
  readonly scale?: Tensor | null | undefined;
  /** What is added then, as many. */
  readonly shift?: Tensor | null | undefined;
}

/** What came of it, on the device. */
export interface MlpResult {
  /** The mean loss of each step [steps]. */
  readonly losses: Tensor;
  /** How many samples of each step were classified right [steps], int32. */
  readonly correct: Tensor;
}

const UNSUPPORTED = 5; // CDN_UNSUPPORTED
/** Multiply-adds after which the event loop may go on, where steps are done when a call returns. */
const PIECE = 5e8;
/** Steps of one launch at most: so many end in well below a second. */
const STEPS = 8192;

/**
 * The parts of a training that one native call can take many steps of, or undefined: Linear, ReLU
 * and Linear in a Sequential, perhaps after Flatten, with biases and in float32; CrossEntropyLoss
 * without options; SGD of all parameters in one group, without dampening.
 */
export function trainsMlp(model: unknown, loss: unknown, optimizer: Optimizer): Mlp | undefined {
  if (!isPlain(model, Sequential) || !isPlain(optimizer, SGD)) return undefined;
  const layers = model.entries().map(([, layer]) => layer);
  if (isPlain(layers[0], Flatten) && layers[0].describe() === "Flatten(1, -1)") layers.shift();
  const [first, middle, last, ...rest] = layers;
  if (!isPlain(first, Linear) || !isPlain(middle, ReLU) || !isPlain(last, Linear)) return undefined;
  if (rest.length > 0 || !isPlain(loss, CrossEntropyLoss) || `${loss}` !== plainLoss) {
    return undefined;
  }
  const params = [first.weight, first.bias, last.weight, last.bias].filter((p) => p !== null);
  const [group, ...others] = optimizer.groups;
  if (!group || others.length > 0 || group.dampening !== 0 || group.maximize) return undefined;
  const all = new Set(group.params);
  if (params.length !== 4 || all.size !== 4 || !params.every((p) => all.has(p))) return undefined;
  const { backend } = params[0]!;
  const alike = params.every((p) =>
    p.dtype === "float32" && p.backend === backend && p.format === "contiguous" && p.requiresGrad
  );
  if (!alike || first.weight.shape[0] !== last.weight.shape[1]) return undefined;
  const [state, ...states] = internals.statesOf(optimizer, params);
  const together = states.every(({ step, clock }) =>
    step === state!.step && clock === state!.clock
  );
  return together ? { params, optimizer } : undefined;
}

const plainLoss = `${new CrossEntropyLoss()}`;

// Of this class itself, with the methods of the class: no hook has replaced them.
function isPlain<T extends object>(
  x: unknown,
  // deno-lint-ignore no-explicit-any -- constructors differ
  Class: new (...args: any[]) => T,
): x is T {
  return typeof x === "object" && x !== null && x.constructor === Class &&
    !Object.hasOwn(x, "forward") && !Object.hasOwn(x, "step");
}

/**
 * Whether the device can take such steps: a GPU has to hold weights and samples on its chip. Throws
 * where the data is wrong.
 */
export function fitsMlp(mlp: Mlp, data: MlpData): boolean {
  return syncScope(() => {
    const { x, order } = data;
    const none = x.make([0], "float32");
    const nothing = { ...data, order: order.make([0], "int32") };
    try {
      run(mlp, nothing, none, none.make([0], "int32"), none, 0);
      return true;
    } catch (error) {
      if (error instanceof NativeError && error.status === UNSUPPORTED) return false;
      throw error;
    }
  });
}

/**
 * Takes a step of the optimizer for each batch of the order, in one native call: as training batch
 * by batch would, within rounding, but for gradients, of which none are left. A bad target or
 * number in the order is reported by the next read.
 */
export function trainMlp(mlp: Mlp, data: MlpData): MlpResult {
  return syncScope(() => {
    const { order, batchSize, x, rates } = data;
    const steps = Math.floor(order.size / batchSize);
    const losses = x.make([steps], "float32"), correct = x.make([steps], "int32");
    const lrs = x.make([steps], "float32");
    if (rates) lrs.copyFrom(rates.subarray(0, steps));
    else lrs.fill(mlp.optimizer.lr);
    if (steps > 0) run(mlp, data, losses, correct, lrs, steps);
    return { losses, correct };
  });
}

/** How many steps a call may take, so that the event loop does not wait for it. */
export function stepsAtOnce({ params }: Mlp, batchSize: number): number {
  if (params[0]!.device !== "cpu") return STEPS;
  return Math.max(1, Math.floor(PIECE / (batchSize * params[0]!.size * 2)));
}

function run(
  { params, optimizer }: Mlp,
  { x, target, order, batchSize, scale = null, shift = null }: MlpData,
  losses: Tensor,
  correct: Tensor,
  rates: Tensor,
  steps: number,
): void {
  const [hidden, inputs] = params[0]!.shape, classes = params[2]!.shape[0]!;
  const group = optimizer.groups[0]!;
  const states = internals.statesOf(optimizer, params);
  const { momentum, weightDecay, nesterov } = group;
  noGrad(() => {
    const batch = new Batch(group, params, states);
    const norms = (scale ?? shift)?.size ?? 1;
    const sizes = [x.shape[0]!, inputs!, hidden!, classes, batchSize, steps, norms];
    const velocities = momentum === 0 ? null : batch.state("velocity");
    if (steps > 0) parametersChanged();
    call(
      "cdn_mlp_train",
      losses,
      correct,
      handlesOf(params),
      velocities,
      x,
      target,
      order,
      rates,
      scale,
      shift,
      BigInt64Array.from(sizes, BigInt),
      momentum,
      weightDecay,
      Number(nesterov),
      -100,
      x.code,
    );
    if (steps === 0) return;
    batch.clock(0, "hasVelocity");
    states[0]!.clock!.advance(steps, momentum === 0 ? undefined : 1);
  });
}
