import { type DType, gru, lstm, type LSTMResult, rnn, type Shape, type Tensor } from "../../mod.ts";
import { type Grid, sizeOf } from "../reference.ts";
import { type Case, type Fill, floats, halves, roundings } from "./case.ts";

/** Steps, rows, inputs, hidden units. */
type Sizes = readonly [steps: number, n: number, features: number, hidden: number];

const sizes: readonly Sizes[] = [
  [1, 1, 1, 1],
  [2, 0, 3, 4],
  [2, 3, 0, 4],
  [1, 3, 2, 5],
  [7, 1, 3, 4],
  [3, 33, 5, 31],
  [2, 257, 3, 2],
  [5, 2, 65, 33],
  [4, 4, 7, 129],
];
const gradSizes: readonly Sizes[] = [[1, 1, 1, 1], [3, 2, 2, 3]];

/** x, weightIh, weightHh, then the biases, then initial states. */
function shapesOf(
  [steps, n, features, hidden]: Sizes,
  gates: number,
  bias: boolean,
  states: number,
): Shape[] {
  const width = gates * hidden;
  return [
    [steps, n, features],
    [width, features],
    [width, hidden],
    ...(bias ? [[width], [width]] : []),
    ...Array.from({ length: states }, () => [1, n, hidden]),
  ];
}

const between: Fill = (random) => 2 * random() - 1;
// As layers start: so that no gate is saturated.
const weight: Fill = (random, _, [, , hh]) => (2 * random() - 1) / Math.sqrt(hh![1]!);
const fill: readonly Fill[] = [between, weight, weight, between];

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/**
 * w v + b for one gate and unit, where v is row r of the matrix that starts at `from` in `values`.
 */
function sumOf(
  w: Grid,
  b: Grid | undefined,
  unit: number,
  values: ArrayLike<number>,
  from: number,
): number {
  const k = w.shape[1]!;
  let sum = b?.values[unit] ?? 0;
  for (let p = 0; p < k; p++) sum += w.values[unit * k + p]! * values[from + p]!;
  return sum;
}

/**
 * One unit's next states from the sums of its gates, of the input and of the state, and its states
 * before.
 */
type Cell = (x: number[], u: number[], before: readonly number[]) => number[];

const lstmCell: Cell = (x, u, [, c]) => {
  const [i, f, g, o] = x.map((sum, k) => sum + u[k]!) as [number, number, number, number];
  const cell = sigmoid(f) * c! + sigmoid(i) * Math.tanh(g);
  return [sigmoid(o) * Math.tanh(cell), cell];
};
const gruCell: Cell = (x, u, [h]) => {
  const [r, z] = [sigmoid(x[0]! + u[0]!), sigmoid(x[1]! + u[1]!)];
  return [(1 - z) * Math.tanh(x[2]! + r * u[2]!) + z * h!];
};
const tanhCell: Cell = ([x], [u]) => [Math.tanh(x! + u!)];
const reluCell: Cell = ([x], [u]) => [Math.max(x! + u!, 0)];

interface Kind {
  gates: number;
  states: 1 | 2;
  cell: Cell;
}

/** All outputs [steps, n, hidden], and the last states. */
function walk(
  { gates, states, cell }: Kind,
  grids: readonly Grid[],
  bias: boolean,
  given: boolean,
  reverse: boolean,
  ends?: (steps: number, n: number) => number[],
): { output: Grid; last: Grid[] } {
  const [x, wih, whh] = grids as [Grid, Grid, Grid];
  const [bih, bhh] = bias ? grids.slice(3) : [];
  const [steps, n, features] = x.shape as [number, number, number];
  const hidden = whh.shape[1]!;
  let now = Array.from(
    { length: states },
    (_, s) =>
      given
        ? Array.from(grids[grids.length - states + s]!.values)
        : new Array<number>(n * hidden).fill(0),
  );
  const values = new Float64Array(steps * n * hidden);
  const lengths = ends?.(steps, n);
  for (let i = 0; i < steps; i++) {
    const t = reverse ? steps - 1 - i : i;
    const next = now.map(() => new Array<number>(n * hidden));
    for (let r = 0; r < n; r++) {
      for (let j = 0; j < hidden; j++) {
        const sums = (w: Grid, b: Grid | undefined, from: ArrayLike<number>, at: number) =>
          Array.from({ length: gates }, (_, k) => sumOf(w, b, k * hidden + j, from, at));
        const at = r * hidden + j;
        if (lengths && t >= lengths[r]!) {
          now.forEach((state, s) => next[s]![at] = state[at]!);
          continue;
        }
        cell(
          sums(wih, bih, x.values, (t * n + r) * features),
          sums(whh, bhh, now[0]!, r * hidden),
          now.map((state) => state[at]!),
        ).forEach((value, s) => next[s]![at] = value);
        values[t * n * hidden + at] = next[0]![at]!;
      }
    }
    now = next;
  }
  return {
    output: { shape: [steps, n, hidden], values },
    last: now.map((state) => ({ shape: [1, n, hidden], values: state })),
  };
}

// 16-bit floats round the products and the states of each step on the way.
function roughly(x: Grid): Grid {
  return { ...x, magnitudes: Array.from(x.values, (value) => 2 * Math.max(Math.abs(value), 1)) };
}

interface Variation {
  bias?: boolean | undefined;
  given?: boolean | undefined;
  reverse?: boolean | undefined;
  /** Of n sequences of so many steps. */
  lengths?: ((steps: number, n: number) => number[]) | undefined;
  dtypes?: readonly DType[] | undefined;
}

function recurrent(
  name: string,
  kind: Kind,
  op: (
    x: Tensor,
    weights: Tensor[],
    states: Tensor[],
    walk: { reverse: boolean; lengths: number[] | undefined },
  ) => Partial<LSTMResult>,
  pick: "output" | "h" | "c",
  { bias = true, given = true, reverse = false, lengths, dtypes = floats }: Variation = {},
): Case {
  const shapes = (list: readonly Sizes[]) =>
    list.map((size) => shapesOf(size, kind.gates, bias, given ? kind.states : 0));
  return {
    name,
    call: (x: Tensor, ...rest: Tensor[]) => {
      const weights = rest.slice(0, bias ? 4 : 2);
      const own = lengths?.(x.shape[0]!, x.shape[1]!);
      return op(x, weights, rest.slice(weights.length), { reverse, lengths: own })[pick]!;
    },
    reference: (...grids) => {
      const { output, last } = walk(kind, grids, bias, given, reverse, lengths);
      return roughly(pick === "output" ? output : last[pick === "h" ? 0 : 1]!);
    },
    shapes: shapes(sizes),
    gradShapes: dtypes === halves ? undefined : shapes(gradSizes),
    dtypes,
    fill,
    tolerance: roundings(4, 12),
    flops: ([x, wih, whh]) => 2 * x![0]! * x![1]! * (sizeOf(wih!) + sizeOf(whh!)),
  };
}

const named = ([weightIh, weightHh, biasIh, biasHh]: Tensor[]) => ({
  weightIh: weightIh!,
  weightHh: weightHh!,
  biasIh,
  biasHh,
});
const ofLstm: Parameters<typeof recurrent>[2] = (x, weights, [h0, c0], walk) =>
  lstm(x, named(weights), { h0, c0, ...walk });
const ofGru: Parameters<typeof recurrent>[2] = (x, weights, [h0], walk) =>
  gru(x, named(weights), { h0, ...walk });
const ofRnn =
  (nonlinearity: "tanh" | "relu"): Parameters<typeof recurrent>[2] => (x, weights, [h0], walk) =>
    rnn(x, named(weights), { h0, ...walk, nonlinearity });

const lstmKind: Kind = { gates: 4, states: 2, cell: lstmCell };
const gruKind: Kind = { gates: 3, states: 1, cell: gruCell };
const tanhKind: Kind = { gates: 1, states: 1, cell: tanhCell };
const reluKind: Kind = { gates: 1, states: 1, cell: reluCell };
const plain: Variation = { bias: false, given: false };
const back: Variation = { reverse: true };
// From none to all steps, in no order.
const padded: Variation = {
  lengths: (steps, n) => Array.from({ length: n }, (_, i) => (7 * i + 2) % (steps + 1)),
};
// Rounded to 16 bits, a sum near relu's kink may lie on the other side: gradients are compared in
// full floats only.
const full: Variation = { dtypes: ["float32", "float64"] };

export const recurrentCases: readonly Case[] = [
  recurrent("lstm().output", lstmKind, ofLstm, "output"),
  recurrent("lstm().h", lstmKind, ofLstm, "h"),
  recurrent("lstm().c", lstmKind, ofLstm, "c"),
  recurrent("lstm(no bias, no states).output", lstmKind, ofLstm, "output", plain),
  recurrent("lstm(reverse).output", lstmKind, ofLstm, "output", back),
  recurrent("lstm(reverse).h", lstmKind, ofLstm, "h", back),
  recurrent("lstm(reverse).c", lstmKind, ofLstm, "c", back),
  recurrent("gru().output", gruKind, ofGru, "output"),
  recurrent("gru().h", gruKind, ofGru, "h"),
  recurrent("gru(no bias, no state).output", gruKind, ofGru, "output", plain),
  recurrent("gru(reverse).output", gruKind, ofGru, "output", back),
  recurrent("gru(reverse).h", gruKind, ofGru, "h", back),
  recurrent("rnn().output", tanhKind, ofRnn("tanh"), "output"),
  recurrent("rnn(relu).output", reluKind, ofRnn("relu"), "output", full),
  recurrent("rnn(relu).output of 16 bits", reluKind, ofRnn("relu"), "output", { dtypes: halves }),
  recurrent("rnn(relu, no bias, no state).h", reluKind, ofRnn("relu"), "h", { ...plain, ...full }),
  recurrent("rnn(reverse).output", tanhKind, ofRnn("tanh"), "output", back),
  recurrent("lstm(lengths).output", lstmKind, ofLstm, "output", padded),
  recurrent("lstm(lengths).c", lstmKind, ofLstm, "c", { ...padded, bias: false }),
  recurrent("lstm(lengths, reverse).h", lstmKind, ofLstm, "h", { ...padded, ...back }),
  recurrent("gru(lengths).h", gruKind, ofGru, "h", padded),
  recurrent("gru(lengths, reverse).output", gruKind, ofGru, "output", { ...padded, ...back }),
  recurrent("rnn(lengths).h", tanhKind, ofRnn("tanh"), "h", padded),
  recurrent("rnn(relu, lengths, reverse).h", reluKind, ofRnn("relu"), "h", {
    ...{ ...padded, ...back, ...full, bias: false },
  }),
];
