// The operands of lstm(), gru() and rnn(): what they are called, checked, and laid out.
import { isTensor, refuse } from "../../core/options.ts";
import { formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { type MatmulPrecision, precisionOf } from "../../core/precision.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { lt } from "../elementwise/compare.ts";
import { places } from "../image/_places.ts";
import { reshape } from "../shape/movement.ts";

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
  /** How many steps each sequence has. Default all. */
  lengths?: Lengths | undefined;
}

/**
 * How many steps each of n sequences has, from 0 to all: whole numbers, or an int32 tensor [n],
 * which is not read. What comes later in a sequence does not count, whatever it is: its outputs and
 * gradients are 0, the last state is the one after the last step, and a walk in reverse starts
 * there.
 */
export type Lengths = ArrayLike<number> | Tensor;

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

/** Where sequences end. */
export interface Ends {
  /** int32 [n]. */
  readonly lengths: Tensor;
  /** uint8 [steps, n, 1]: 1 before their ends. */
  readonly valid: Tensor;
}

/** The ends of sequences x [steps, n, ...]. */
export function endsOf(op: string, x: Tensor, given: Lengths): Ends {
  const [steps, n] = x.shape as [number, number];
  const lengths = lengthsOf(op, x, given, steps, n);
  const valid = lt(reshape(places(x, steps, "int32"), [steps, 1]), reshape(lengths, [1, n]));
  return { lengths, valid: reshape(valid, [steps, n, 1]) };
}

/** Lengths of n sequences of so many steps as a tensor, on the device of x. */
export function lengthsOf(
  op: string,
  x: Tensor,
  lengths: Lengths,
  steps: number,
  n: number,
): Tensor {
  if (isTensor(lengths)) {
    const tensor = lengths as Tensor;
    checkSameDevice(op, x, tensor);
    checkDType(`${op}: lengths`, tensor, ["int32"]);
    if (sameShape(tensor.shape, [n])) return tensor;
    throw new ShapeError(`${op}: lengths are ${formatShape(tensor.shape)}; they must be [${n}]`);
  }
  const list = Object(lengths) as ArrayLike<number>;
  const fits = (k: number) => Number.isInteger(k) && k >= 0 && k <= steps;
  if (list.length !== n || !Array.from(list).every(fits)) {
    refuse(op, "lengths", lengths, `${n} whole numbers, one a sequence, from 0 to ${steps}`);
  }
  return x.make([n], "int32").copyFrom(Int32Array.from(list));
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
