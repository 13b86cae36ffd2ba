// What lstm(), gru() and rnn() share. One layer and direction is one node of the tape: the input's
// product is taken for all steps at once, each step is a product with the state before and one
// kernel, and backward() goes through the steps by hand, so that the gradients of the weights are
// one product each over all steps.
import { gradEnabled, recordAll } from "../../core/autograd.ts";
import type { Backend } from "../../core/backend.ts";
import { throughOps } from "../../core/backward.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { precisionCode } from "../../core/precision.ts";
import { direct, told } from "../../native/arguments.ts";
import type { Tensor } from "../../tensor.ts";
import { add } from "../elementwise/binary.ts";
import { where } from "../elementwise/where.ts";
import { linear } from "../linalg/linear.ts";
import { multiplied } from "../linalg/_product.ts";
import { sum } from "../reduce/sum.ts";
import { concat } from "../shape/concat.ts";
import { reshape } from "../shape/movement.ts";
import { slice } from "../shape/slice.ts";
import {
  type Ends,
  endsOf,
  type Lengths,
  lowered,
  type Plan,
  planOf,
  type RecurrentWeights,
  type States,
} from "./_plan.ts";

type Handles = readonly number[];

/** What the kernels of steps take: handles, by time where there is one a step. */
export interface Walk {
  /** The library's functions. */
  readonly f: Backend["functions"];
  /** x W_ih^T, where the forward kernels leave what gradients want of the gates. */
  readonly gates: Handles;
  /** The hidden states that steps begin with, and those that they end with. */
  readonly h0: Handles;
  readonly h: Handles;
  /** The entries of what the cell saves. */
  readonly saved: readonly Handles[];
  /** The initial states. */
  readonly initial: Handles;
  /** Where sequences end, or 0. */
  readonly lengths: number;
  readonly n: bigint;
  readonly hidden: bigint;
  readonly code: number;
}

/** From the first step to the last. */
export interface Forward extends Walk {
  /** h0 W_hh^T of the step at hand. */
  readonly product: number;
  /** The biases; 0 where there are none. */
  readonly bIh: number;
  readonly bHh: number;
}

/** From the last step to the first: gradients. */
export interface Back extends Walk {
  readonly dy: Handles;
  /** Of the gates' sums: of the input's part and of the state's. */
  readonly dgX: Handles;
  readonly dgH: Handles;
  /** Of the hidden state; where the cell splits it, by way of the products. */
  readonly dh: number;
  /** What else goes back from step to step: past the products, or of the other state. */
  readonly past: number;
  /** Of the hidden state, past the steps after an end, where the cell does not split it; or 0. */
  readonly carried: number;
}

/** A kind of layer. */
export interface Cell {
  readonly op: string;
  readonly gates: number;
  /** The names of the initial states, the hidden one's first. */
  readonly states: readonly string[];
  /** Whether gradients want what the steps leave of the gates. */
  readonly keepsGates: boolean;
  /** Where there are several. */
  readonly nonlinearity?: "tanh" | "relu";
  /**
   * Whether the gates' parts from the input and from the state have gradients of their own; then
   * the hidden state's goes back in two parts as well, through the products and past them.
   */
  readonly splits: boolean;
  /** What else steps write that gradients want. */
  save(x: Tensor, plan: Plan): Tensor[];
  /** The last states beside the hidden one, of what was saved. */
  last(saved: readonly Tensor[]): Tensor[];
  /** A step's kernel and that of its gradient, by its time; they return the status. */
  forward(walk: Forward, plan: Plan): (t: number) => number;
  back(walk: Back, plan: Plan): (t: number) => number;
  /**
   * In operations that can be differentiated again: the states after a step from those before and
   * from both parts of the gates' sums, [1, n, gates * hidden].
   */
  composed(fromInput: Tensor, fromState: Tensor, states: readonly Tensor[], plan: Plan): Tensor[];
}

// A layer at work: its operands, and what was made of them.
interface Layer {
  readonly cell: Cell;
  readonly plan: Plan;
  readonly ends: Ends | undefined;
  readonly x: Tensor;
  readonly weights: RecurrentWeights;
  readonly initial: readonly Tensor[];
  readonly states: Tensor;
  readonly gates: Tensor;
  readonly saved: readonly Tensor[];
}

/** The outputs of a layer: the states of all steps, and each state after the last one. */
export function recurrent(
  cell: Cell,
  x: Tensor,
  weights: RecurrentWeights,
  options: States,
  reverse: boolean,
  lengths?: Lengths,
): [output: Tensor, ...last: Tensor[]] {
  let given;
  [x, weights, given] = lowered(cell.op, x, weights, options);
  const plan = planOf(cell.op, cell.gates, x, weights, given, reverse);
  const { steps, n, hidden, width, features, precision, first, order } = plan;
  const ends = lengths === undefined ? undefined : endsOf(cell.op, x, lengths);
  if (ends) x = where(ends.valid, x, 0);
  const initial = cell.states.map((name) => given[name] ?? x.make([1, n, hidden]).fill(0));
  const states = x.make([plan.rows, n, hidden]);
  const row = (i: number, count: number) => states.view(i * n * hidden, [count, n, hidden]);
  {
    using place = row(plan.initial, 1);
    place.copyFrom(initial[0]!);
  }
  const gates = multiplied(x, weights.weightIh, {
    ...{ m: steps * n, n: width, k: features, transposeB: true },
    ...{ shape: [steps, n, width], precision },
  });
  const saved = cell.save(x, plan);
  const layer = { cell, plan, ends, x, weights, initial, states, gates, saved };
  walk(layer);
  if (!cell.keepsGates) gates.dispose();

  const output = row(first, steps);
  // The last states have memory of their own: who keeps one does not keep the whole sequence.
  const apart = (state: Tensor) => {
    using view = state;
    return x.make(view.shape).copyFrom(view);
  };
  const last = [row(first + order.at(-1)!, 1), ...cell.last(saved)].map(apart);
  const outputs = [output, ...last] as const;
  const inputs = [x, ...listed(weights), ...initial];
  recordAll(outputs, cell.op, inputs, (...given) => {
    if (gradEnabled()) {
      return throughOps((x, ...rest) => composed(layer, x!, rest), inputs, ...given);
    }
    const [dy, ...dstates] = outputs.map((y, i) => gradientOf(y, given[i], i > 0));
    return walkBack(layer, dy!, dstates);
  }, { reverse, lengths: ends?.lengths, nonlinearity: cell.nonlinearity });
  if (!output.node) { for (const kept of [states, gates, ...saved]) kept.dispose(); }
  return [ends ? where(ends.valid, output, 0) : output, ...last];
}

// A gradient, or zeros where the output was not used; with `own` in memory to be written to.
function gradientOf(x: Tensor, given: Tensor | undefined, own: boolean): Tensor {
  if (!given) return x.make(x.shape).fill(0);
  return own ? x.make(x.shape).copyFrom(given) : given;
}

// Handles to the entries of a buffer along its first axis, as lean as a time step wants them; freed
// by `using`.
class Rows implements Disposable {
  readonly at: number[] = [];
  readonly #backend: Backend;

  constructor(buffer: Tensor) {
    this.#backend = buffer.backend;
    const functions = direct(this.#backend.functions);
    const count = buffer.shape[0]!;
    const bytes = BigInt(count && buffer.size / count * dtypeInfo(buffer.dtype).bytes);
    const out = new Uint32Array(1);
    try {
      for (let i = 0n; i < count; i++) {
        this.#backend.check(functions.cdn_view(out, buffer.handle, i * bytes, bytes));
        this.at.push(out[0]!);
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    const functions = direct(this.#backend.functions);
    for (const handle of this.at.splice(0)) functions.cdn_free(handle);
  }
}

// What both walks take; `rows` gives the entries of a buffer.
function walkOf(layer: Layer, gates: Handles, rows: (buffer: Tensor) => number[]): Walk {
  const { plan, ends, states, saved, initial } = layer;
  const h = rows(states);
  return {
    ...{ f: direct(states.backend.functions), gates },
    ...{ h0: h.slice(plan.before), h: h.slice(plan.first), saved: saved.map(rows) },
    initial: initial.map((state) => state.handle),
    lengths: ends?.lengths.handle ?? 0,
    ...{ n: BigInt(plan.n), hidden: BigInt(plan.hidden), code: states.code },
  };
}

function walk(layer: Layer): void {
  const { cell, plan, weights: { weightHh, biasIh, biasHh }, states, gates } = layer;
  const { backend } = states;
  using product = states.make([plan.n, plan.width]);
  using stack = new DisposableStack();
  const rows = (buffer: Tensor) => stack.use(new Rows(buffer)).at;
  const common = walkOf(layer, rows(gates), rows);
  const step = cell.forward({
    ...common,
    ...{ product: product.handle, bIh: biasIh?.handle ?? 0, bHh: biasHh?.handle ?? 0 },
  }, plan);
  for (const t of plan.order) {
    multiplyInto(product, common.h0[t]!, weightHh, plan, false);
    backend.check(step(t));
  }
}

function walkBack(layer: Layer, dy: Tensor, dstates: Tensor[]): (Tensor | null)[] {
  const { cell, plan, weights } = layer;
  const { steps, n, hidden, width } = plan;
  const { backend } = dy;
  const dgatesX = dy.make([steps, n, width]);
  const dgatesH = cell.splits ? dy.make([steps, n, width]) : dgatesX;
  const [dh, other] = dstates as [Tensor, Tensor?];
  const past = cell.splits ? dy.make([1, n, hidden]).fill(0) : other;
  const carried = layer.ends && !cell.splits ? dy.make([1, n, hidden]).fill(0) : undefined;
  {
    using stack = new DisposableStack();
    const rows = (buffer: Tensor) => stack.use(new Rows(buffer)).at;
    const [dx, du] = [rows(dgatesX), rows(dgatesH)];
    const step = cell.back({
      ...walkOf(layer, cell.keepsGates ? rows(layer.gates) : [], rows),
      ...{ dy: rows(dy), dgX: dx, dgH: du, dh: dh.handle, past: past?.handle ?? 0 },
      carried: carried?.handle ?? 0,
    }, plan);
    for (const t of plan.order.toReversed()) {
      backend.check(step(t));
      multiplyInto(dh, du[t]!, weights.weightHh, plan, true);
    }
  }
  const parameters = parameterGradients(layer, dgatesX, dgatesH);
  const around = carried ?? (cell.splits ? past : undefined);
  return [...parameters, around ? add(dh, around) : dh, ...(other ? [other] : [])];
}

// h W_hh^T of one step, or back, from dgates to dh, dgates W_hh; into memory that is there.
function multiplyInto(c: Tensor, a: number, weightHh: Tensor, plan: Plan, back: boolean): void {
  const { backend, code, handle: y } = c;
  const [to, from] = [BigInt(plan.hidden), BigInt(plan.width)];
  const [n, k] = back ? [to, from] : [from, to];
  const { functions: f } = backend;
  const [m, w, by, precision] = [
    BigInt(plan.n),
    weightHh.handle,
    Number(!back),
    precisionCode(plan.precision),
  ];
  // of the state there is a handle alone
  const args = [c, c, weightHh, null, 0, m, n, k, 0n, 0n, 0n, 0, by, code, precision, 0];
  told?.("cdn_matmul", args, [y, a, w, 0]);
  backend.check(f.cdn_matmul(y, a, w, null, 0, m, n, k, 0n, 0n, 0n, 0, by, code, precision, 0));
}

// The gradients of x, weightIh, weightHh and of the biases if there are any, from those of the
// gates' sums: of what comes from the input and what comes from the state, which are the same
// tensor where both are only added.
function parameterGradients(
  { x, weights, states, plan }: Layer,
  dgatesX: Tensor,
  dgatesH: Tensor,
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

// The tensors of `weights` that are there, in the order of their gradients.
function listed({ weightIh, weightHh, biasIh, biasHh }: RecurrentWeights): Tensor[] {
  return [weightIh, weightHh, ...(biasIh && biasHh ? [biasIh, biasHh] : [])];
}

// The walk in operations, for gradients that shall have gradients.
function composed({ cell, plan, ends }: Layer, x: Tensor, rest: readonly Tensor[]): Tensor[] {
  const { precision } = plan;
  const count = cell.states.length;
  const [weightIh, weightHh, biasIh, biasHh] = rest.slice(0, -count) as [Tensor, ...Tensor[]];
  let states = rest.slice(-count);
  const products = linear(x, weightIh, biasIh, { precision });
  const outputs = new Array<Tensor>(plan.steps);
  for (const t of plan.order) {
    const fromInput = slice(products, 0, t, t + 1);
    const fromState = linear(states[0]!, weightHh!, biasHh, { precision });
    const fresh = cell.composed(fromInput, fromState, states, plan);
    const valid = ends && slice(ends.valid, 0, t, t + 1);
    states = valid ? fresh.map((state, i) => where(valid, state, states[i]!)) : fresh;
    outputs[t] = states[0]!;
  }
  return [concat(outputs, 0), ...states];
}

/** So many gates of their sums [1, n, gates * hidden], each [1, n, hidden]. */
export function gatesOf(sums: Tensor, gates: number, { n, hidden }: Plan): Tensor[] {
  const split = reshape(sums, [n, gates, hidden]);
  const gate = (k: number) => reshape(slice(split, 1, k, k + 1), [1, n, hidden]);
  return Array.from({ length: gates }, (_, k) => gate(k));
}
