// The operands of lstm(), gru() and rnn(): what they are called, checked, and laid out.
import { refuse } from "../../core/options.ts";
import { formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { type MatmulPrecision, precisionOf } from "../../core/precision.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";

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

/** Initial states by name, {@linkcode RecurrentOptions} for instance; zeros where none is given. */
export type States = Readonly<Record<string, Tensor | undefined>>;

/** The operands as autocast() wants them; the initial states are named. */
export function lowered(
  op: string,
  x: Tensor,
  weights: RecurrentWeights,
  states: States,
): [x: Tensor, weights: RecurrentWeights, states: States] {
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
  states: States,
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
