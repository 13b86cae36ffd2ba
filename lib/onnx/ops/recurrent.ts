// LSTM, GRU and RNN: by the library's own where the form is PyTorch's, else step by step.
import { keep } from "../../core/scope.ts";
import { add, clip, gt, mul, sub, where } from "../../ops/elementwise/mod.ts";
import { matmul } from "../../ops/linalg/mod.ts";
import { gru, lstm, type RecurrentWeights, rnn } from "../../ops/recurrent/mod.ts";
import { concat, permute, reshape, select, split, stack, transpose } from "../../ops/shape/mod.ts";
import { zeros } from "../../create.ts";
import type { Tensor } from "../../tensor.ts";
import { type Activation, activations } from "./activation.ts";
import type { Context, Family, Operator } from "./_operator.ts";

/** What the three are: which of ONNX's gates come in PyTorch's order, activations,
 * inputs that are states. */
interface Kind {
  readonly order: readonly number[];
  readonly usual: readonly string[];
  readonly states: readonly number[];
  /** The library's, and what it gives: output, h and c. */
  fused(x: Tensor, w: RecurrentWeights, options: Fused, names: readonly string[]): Tensor[];
  /** A step in general: sums from the input, of the state, and how to multiply by R. */
  step(cell: Cell, from: Tensor[], states: Tensor[]): Tensor[];
}

interface Fused {
  readonly reverse: boolean;
  readonly lengths: Tensor | undefined;
  readonly h0: Tensor | undefined;
  readonly c0: Tensor | undefined;
}

/** One direction, for steps: weights by gates, in ONNX's order. */
interface Cell {
  readonly c: Context;
  readonly functions: readonly Activation[];
  /** R, a gate each, transposed, and its bias. */
  readonly r: readonly Tensor[];
  readonly rb: readonly (Tensor | undefined)[];
  readonly peepholes: readonly Tensor[] | undefined;
  readonly clipped: Activation;
}

const plus = (a: Tensor, b: Tensor | undefined) => b ? add(a, b) : a;
const fromState = ({ r, rb }: Cell, h: Tensor, gate: number) => plus(matmul(h, r[gate]!), rb[gate]);

const lstmKind: Kind = {
  order: [0, 2, 3, 1],
  usual: ["sigmoid", "tanh", "tanh"],
  states: [5, 6],
  fused: (x, w, options) => {
    const { output, h, c } = lstm(x, w, options);
    return [output, h, c];
  },
  step(cell, [i, o, f, g], [h, s]) {
    const { functions: [sigma, squash, out], peepholes: p, clipped, c } = cell;
    const sums = [i!, o!, f!, g!].map((from, k) => add(from, fromState(cell, h!, k)));
    const look = (k: number, at: Tensor) =>
      sigma!(clipped(p ? add(sums[k]!, mul(at, p[k]!)) : sums[k]!));
    const input = look(0, s!);
    const kept = c.int("input_forget", 0) ? sub(input, 1).neg() : look(2, s!);
    const fresh = add(mul(kept, s!), mul(input, squash!(clipped(sums[3]!))));
    return [mul(look(1, fresh), out!(fresh)), fresh];
  },
};

const gruKind: Kind = {
  order: [1, 0, 2],
  usual: ["sigmoid", "tanh"],
  states: [5],
  fused: (x, w, { c0: _, ...options }) => {
    const { output, h } = gru(x, w, options);
    return [output, h];
  },
  step(cell, [z, r, n], [h]) {
    const { functions: [sigma, squash], clipped, c } = cell;
    const update = sigma!(clipped(add(z!, fromState(cell, h!, 0))));
    const reset = sigma!(clipped(add(r!, fromState(cell, h!, 1))));
    const past = c.int("linear_before_reset", 0)
      ? mul(reset, fromState(cell, h!, 2))
      : fromState(cell, mul(reset, h!), 2);
    const fresh = squash!(clipped(add(n!, past)));
    return [add(fresh, mul(update, sub(h!, fresh)))];
  },
};

const rnnKind: Kind = {
  order: [0],
  usual: ["tanh"],
  states: [5],
  fused: (x, w, { c0: _, ...options }, [nonlinearity]) => {
    const { output, h } = rnn(x, w, { ...options, nonlinearity: nonlinearity as "tanh" });
    return [output, h];
  },
  step: (cell, [a], [h]) => [
    cell.functions[0]!(cell.clipped(add(a!, fromState(cell, h!, 0)))),
  ],
};

// Weights as the library wants them, made once of those that live as long as the model.
const arranged = new WeakMap<Tensor, { of: unknown[]; weights: RecurrentWeights }[]>();

function weightsOf(c: Context, { order }: Kind, direction: number): RecurrentWeights {
  const [w, r, b] = [c.tensor(1), c.tensor(2), c.maybe(3)];
  const { kept } = c.place;
  const known = arranged.get(w) ?? [];
  const [there] = known.filter(({ of, weights }) =>
    of[0] === r && of[1] === b && of[2] === direction && !weights.weightIh.disposed
  );
  if (there) return there.weights;
  const inOrder = (x: Tensor) => {
    const gates = split(x, x.shape[0]! / order.length);
    return concat(order.map((k) => gates[k]!), 0);
  };
  const halves = b && split(select(b, 0, direction), b.shape[1]! / 2);
  const weights = {
    weightIh: inOrder(select(w, 0, direction)),
    weightHh: inOrder(select(r, 0, direction)),
    biasIh: halves && inOrder(halves[0]!),
    biasHh: halves && inOrder(halves[1]!),
  };
  if ([w, r, b].every((x) => !x || kept.has(x))) {
    for (const x of Object.values(weights)) if (x) kept.add(keep(x));
    arranged.set(w, [...known, { of: [r, b, direction], weights }]);
  }
  return weights;
}

function stepped(
  c: Context,
  kind: Kind,
  x: Tensor,
  direction: number,
  functions: readonly Activation[],
  { reverse, lengths, h0, c0 }: Fused,
): Tensor[] {
  const gates = kind.order.length;
  const [length, n] = x.shape as [number, number];
  const [w, r] = [select(c.tensor(1), 0, direction), select(c.tensor(2), 0, direction)];
  const hidden = r.shape[1]!;
  const bias = c.has(3) ? split(select(c.tensor(3), 0, direction), hidden) : [];
  const p = c.has(7) ? split(select(c.tensor(7), 0, direction), hidden) : undefined;
  const limit = c.float("clip", 0);
  const cell: Cell = {
    c,
    functions,
    r: split(r, hidden).map((part) => transpose(part)),
    rb: kind.order.map((_, k) => bias[gates + k]),
    peepholes: p,
    clipped: (y) => limit > 0 ? clip(y, -limit, limit) : y,
  };
  const from = split(w, hidden).map((part, k) => plus(matmul(x, transpose(part)), bias[k]));
  const { dtype, device } = x;
  const none = () => zeros([n, hidden], { dtype, device });
  let states = kind.states.map((_, k) => {
    const given = k === 0 ? h0 : c0;
    return given ? reshape(given, [n, hidden]) : none();
  });
  const outputs = new Array<Tensor>(length);
  const ends = lengths && reshape(lengths, [n, 1]);
  for (let i = 0; i < length; i++) {
    const t = reverse ? length - 1 - i : i;
    const fresh = kind.step(cell, from.map((part) => select(part, 0, t)), states);
    const inside = ends && gt(ends, t);
    outputs[t] = inside ? where(inside, fresh[0]!, 0) : fresh[0]!;
    states = inside ? fresh.map((state, k) => where(inside, state, states[k]!)) : fresh;
  }
  return [stack(outputs, 0), ...states.map((state) => reshape(state, [1, n, hidden]))];
}

const recurrent = (kind: Kind): Operator => (c) => {
  const directions = c.tensor(1).shape[0]!;
  const way = c.string("direction", "forward");
  const given = c.strings("activations", []).map((name) => name.toLowerCase());
  const per = kind.usual.length;
  const [alphas, betas] = [[...c.floats("activation_alpha", [])], [
    ...c.floats("activation_beta", []),
  ]];
  const last = c.int("layout", 0) === 1; // the batch comes first
  const x = last ? transpose(c.x, 0, 1) : c.x;
  const parts = Array.from({ length: directions }, (_, d) => {
    const names = given.length > 0 ? given.slice(d * per, (d + 1) * per) : kind.usual;
    const functions = names.map((name) => {
      const [make, ...or] = activations.get(name) ??
        c.fail(`the activation ${name} is not known`);
      const value = (list: number[], k: number) => or[k] === undefined ? 0 : list.shift() ?? or[k];
      return make(value(alphas, 0), value(betas, 1));
    });
    const state = (i: number) => {
      if (!c.has(i)) return undefined;
      const all = last ? transpose(c.tensor(i), 0, 1) : c.tensor(i);
      return reshape(select(all, 0, d), [1, ...all.shape.slice(1)]);
    };
    const options = {
      reverse: way === "reverse" || d === 1,
      lengths: c.maybe(4),
      h0: state(5),
      c0: kind.states.length > 1 ? state(6) : undefined,
    };
    const usual = kind === rnnKind
      ? names[0] === "tanh" || names[0] === "relu"
      : names.every((name, i) => name === kind.usual[i]);
    const plain = usual && !c.has(7) && c.float("clip", 0) === 0 && !c.int("input_forget", 0) &&
      (kind !== gruKind || c.int("linear_before_reset", 0) !== 0);
    return plain
      ? kind.fused(x, weightsOf(c, kind, d), options, names)
      : stepped(c, kind, x, d, functions, options);
  });
  const y = c.wants(0) ? stack(parts.map(([output]) => output!), 1) : undefined;
  const states = kind.states.map((_, k) => {
    if (!c.wants(k + 1)) return undefined;
    const all = concat(parts.map((part) => part[k + 1]!), 0);
    return last ? transpose(all, 0, 1) : all;
  });
  return [y && last ? permute(y, [2, 0, 1, 3]) : y, ...states];
};

/** Recurrent layers. */
export const recurrents: Family = {
  LSTM: recurrent(lstmKind),
  GRU: recurrent(gruKind),
  RNN: recurrent(rnnKind),
};
