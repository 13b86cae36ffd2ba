// What lstm(), gru() and rnn() share. One layer and direction is one node of the tape: the input's
// product is taken for all steps at once, each step is a product with the state before and one
// kernel, and backward() goes through the steps by hand, so that the gradients of the weights are
// one product each over all steps.
import { refuse } from "../../core/options.ts";
import type { Backend } from "../../core/backend.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { type MatmulPrecision, precisionCode, precisionOf } from "../../core/precision.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { reshape } from "../shape/movement.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { multiplied } from "../linalg/_product.ts";
import { sum } from "../reduce/sum.ts";

/**
 * The parameters of one layer and direction, named as PyTorch names them. The gates lie one below
 * the other.
 */
export interface RecurrentWeights {
  /** [gates * hidden, in]. */
  readonly weightIh: Tensor;
  /** [gates * hidden, hidden]. */
  readonly weightHh: Tensor;
  /** [gates * hidden]. Both biases, or neither. */
  readonly biasIh?: Tensor | null | undefined;
  /** [gates * hidden]. */
  readonly biasHh?: Tensor | null | undefined;
}

/** Options of {@linkcode gru} and of {@linkcode rnn}. */
export interface RecurrentOptions {
  /** The state before the first step, [1, n, hidden]. Default zeros. */
  h0?: Tensor | undefined;
  /** Walk from the last step to the first. Default false. */
  reverse?: boolean | undefined;
}

/** What {@linkcode gru} and {@linkcode rnn} return. */
export interface RecurrentResult {
  /** The states of all steps, [steps, n, hidden]. */
  readonly output: Tensor;
  /** The state after the last step, [1, n, hidden]. */
  readonly h: Tensor;
}

/**
 * Sizes, and where things lie. The states are rows of one buffer in the order of time, with the
 * initial state before the first step: before all rows, or behind them when time is walked in
 * reverse. So the states that the steps began with are one matrix too.
 */
export interface Plan {
  readonly op: string;
  readonly steps: number;
  readonly n: number;
  readonly features: number;
  readonly hidden: number;
  /** gates * hidden. */
  readonly width: number;
  /** Of all products, forward and back. */
  readonly precision: MatmulPrecision;
  /** The times in the order in which they are walked. */
  readonly order: readonly number[];
  readonly rows: number;
  /**
   * The rows of the initial state, of the output of time 0, of the state that time 0 begins with.
   */
  readonly initial: number;
  readonly first: number;
  readonly before: number;
}

/** The operands as autocast() wants them; the initial states are named. */
export function lowered<S extends Record<string, Tensor | undefined>>(
  op: string,
  x: Tensor,
  weights: RecurrentWeights,
  states: S,
): [x: Tensor, weights: RecurrentWeights, states: S] {
  if (!(weights?.weightIh && weights.weightHh)) {
    refuse(op, "weights", weights, "{ weightIh, weightHh, biasIh, biasHh }, the last two optional");
  }
  const { weightIh, weightHh, biasIh, biasHh } = weights;
  const operands = [x, weightIh, weightHh, biasIh, biasHh, ...Object.values(states)];
  const [input, wih, whh, bih, bhh, ...given] = autocasted("lower", ...operands);
  const names = Object.keys(states).map((name, i) => [name, given[i]]);
  const cast = { weightIh: wih!, weightHh: whh!, biasIh: bih, biasHh: bhh };
  return [input!, cast, Object.fromEntries(names)];
}

/** Checks the operands of an operation with so many gates, and lays out its buffer. */
export function planOf(
  op: string,
  gates: number,
  x: Tensor,
  weights: RecurrentWeights,
  states: Readonly<Record<string, Tensor | undefined>>,
  reverse: boolean,
): Plan {
  const { weightIh, weightHh, biasIh, biasHh } = weights;
  checkDType(op, x, floats);
  const optional = [biasIh, biasHh, ...Object.values(states)];
  const given = [weightIh, weightHh, ...optional.filter((tensor) => !!tensor)];
  checkSameDevice(op, x, ...given);
  checkSameDType(op, x, ...given);
  if (x.rank !== 3 || x.shape[0] === 0) {
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)}; it must be [steps, n, in] of at least one step`,
    );
  }
  const [steps, n, features] = x.shape as [number, number, number];
  const hidden = weightHh.shape[1] ?? 0;
  const width = gates * hidden;
  const check = (name: string, tensor: Tensor | null | undefined, shape: Shape) => {
    if (!tensor || sameShape(tensor.shape, shape)) return;
    throw new ShapeError(
      `${op}: ${name} is ${formatShape(tensor.shape)}; it must be ${
        formatShape(shape)
      }, as input is ` +
        `${formatShape(x.shape)} and there are ${hidden} hidden units of ${gates} gates`,
    );
  };
  check("weightHh", weightHh, [width, hidden]);
  check("weightIh", weightIh, [width, features]);
  if (!biasIh !== !biasHh) {
    throw new ArgumentError(`${op}: one bias is given; give both, biasIh and biasHh, or neither`);
  }
  check("biasIh", biasIh, [width]);
  check("biasHh", biasHh, [width]);
  for (const [name, state] of Object.entries(states)) check(name, state, [1, n, hidden]);
  return {
    ...{ op, steps, n, features, hidden, width, precision: precisionOf(op) },
    order: Array.from({ length: steps }, (_, i) => (reverse ? steps - 1 - i : i)),
    rows: steps + 1,
    initial: reverse ? steps : 0,
    first: reverse ? 0 : 1,
    before: reverse ? 1 : 0,
  };
}

/** The initial state: as given, or zeros. */
export function initialState(x: Tensor, { n, hidden }: Plan, given: Tensor | undefined): Tensor {
  return given ?? x.make([1, n, hidden]).fill(0);
}

/** The buffer of the states, with the initial one in its place. */
export function makeStates(h0: Tensor, { rows, n, hidden, initial }: Plan): Tensor {
  const states = h0.make([rows, n, hidden]);
  using place = states.view(initial * n * hidden, h0.shape);
  place.copyFrom(h0);
  return states;
}

/** The states of all steps, and that after the last one. */
export function outputsOf(states: Tensor, plan: Plan): RecurrentResult {
  const { steps, n, hidden, first, order } = plan;
  const row = (i: number) => (first + i) * n * hidden;
  return {
    output: states.view(row(0), [steps, n, hidden]),
    h: states.view(row(order.at(-1)!), [1, n, hidden]),
  };
}

/** A gradient, or zeros where the output was not used; with `own` in memory to be written to. */
export function gradientOf(x: Tensor, given: Tensor | undefined, own = false): Tensor {
  if (!given) return x.make(x.shape).fill(0);
  return own ? x.make(x.shape).copyFrom(given) : given;
}

/**
 * Handles to the entries of a buffer along its first axis, as lean as a time step wants them; freed
 * by `using`.
 */
export class Rows implements Disposable {
  /** By index. */
  readonly at: number[] = [];
  readonly #backend: Backend;

  /** The entries of `buffer`. */
  constructor(buffer: Tensor) {
    this.#backend = buffer.backend;
    const { functions } = this.#backend;
    const count = buffer.shape[0]!;
    const bytes = count && BigInt(buffer.size / count * dtypeInfo(buffer.dtype).bytes);
    const out = new Uint32Array(1);
    try {
      for (let i = 0n; i < count; i++) {
        this.#backend.check(
          functions.cdn_view(out, buffer.handle, i * BigInt(bytes), BigInt(bytes)),
        );
        this.at.push(out[0]!);
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Frees the handles. */
  [Symbol.dispose](): void {
    for (const handle of this.at.splice(0)) this.#backend.functions.cdn_free(handle);
  }
}

/** x W_ih^T for all steps: [steps, n, gates * hidden]. */
export function inputProduct(x: Tensor, { weightIh }: RecurrentWeights, plan: Plan): Tensor {
  const { steps, n, features, width, precision } = plan;
  return multiplied(x, weightIh, {
    ...{ m: steps * n, n: width, k: features, transposeB: true },
    ...{ shape: [steps, n, width], precision },
  });
}

/** y = h W_hh^T of one step, into memory that is there. */
export function recurrentProduct(y: Tensor, h: number, weightHh: Tensor, plan: Plan): void {
  multiplyInto(y, h, weightHh, plan.n, plan.width, plan.hidden, true, plan.precision);
}

/** dh = dgates W_hh of one step, into memory that is there. */
export function recurrentProductGrad(
  dh: Tensor,
  dgates: number,
  weightHh: Tensor,
  plan: Plan,
): void {
  multiplyInto(dh, dgates, weightHh, plan.n, plan.hidden, plan.width, false, plan.precision);
}

const dense = [0n, 0n, 0n] as const;

function multiplyInto(
  c: Tensor,
  a: number,
  b: Tensor,
  m: number,
  n: number,
  k: number,
  transposeB: boolean,
  precision: MatmulPrecision,
): void {
  const { backend } = c;
  backend.check(
    backend.functions.cdn_matmul(
      c.handle,
      a,
      b.handle,
      null,
      0,
      BigInt(m),
      BigInt(n),
      BigInt(k),
      ...dense,
      0,
      Number(transposeB),
      c.code,
      precisionCode(precision),
      0,
    ),
  );
}

/**
 * The gradients of x, weightIh, weightHh and of the biases if there are any, from those of the
 * gates' sums: of what comes from the input and what comes from the state, which are the same
 * tensor where both are only added.
 */
export function parameterGradients(
  x: Tensor,
  weights: RecurrentWeights,
  states: Tensor,
  dgatesX: Tensor,
  dgatesH: Tensor,
  plan: Plan,
): (Tensor | null)[] {
  const { steps, n, features, hidden, width, before, precision } = plan;
  const { weightIh, weightHh, biasIh, biasHh } = weights;
  const all = steps * n;
  const begun = states.view(before * n * hidden, [all, hidden]); // what each step began with
  const biasOf = (dgates: Tensor) => sum(reshape(dgates, [all, width]), 0);
  const sumX = biasIh?.requiresGrad ? biasOf(dgatesX) : null;
  const sumH = () => (dgatesX === dgatesH && sumX ? sumX : biasOf(dgatesH));
  return [
    x.requiresGrad
      ? multiplied(dgatesX, weightIh, { m: all, n: features, k: width, shape: x.shape, precision })
      : null,
    weightIh.requiresGrad
      ? multiplied(dgatesX, x, { m: width, n: features, k: all, transposeA: true, precision })
      : null,
    weightHh.requiresGrad
      ? multiplied(dgatesH, begun, { m: width, n: hidden, k: all, transposeA: true, precision })
      : null,
    ...(biasIh && biasHh ? [sumX, biasHh.requiresGrad ? sumH() : null] : []),
  ];
}

/** The tensors of `weights` that are there, in the order of {@linkcode parameterGradients}. */
export function listed({ weightIh, weightHh, biasIh, biasHh }: RecurrentWeights): Tensor[] {
  return [weightIh, weightHh, ...(biasIh && biasHh ? [biasIh, biasHh] : [])];
}

/** The inverse of {@linkcode listed}. */
export function named(list: readonly Tensor[]): RecurrentWeights {
  const [weightIh, weightHh, biasIh, biasHh] = list;
  return { weightIh: weightIh!, weightHh: weightHh!, biasIh, biasHh };
}
