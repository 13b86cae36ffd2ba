// Rows of products: of matrices, heads, and in recurrent layers.
import type { Tensor } from "../../../tensor.ts";
import type { Call, Made, Row } from "../call.ts";
import { activated } from "./elementwise.ts";

// Products of heads, which are ranges of columns of [batch, length, columns], or with the first two
// the other way around; scores are [batch, heads, queries, keys].
function ofHeads(c: Call, fused: boolean): Made | undefined {
  const [a, b, at] = fused ? [3, 4, 8] : [1, 2, 3];
  const rank = c.number(at + 1), lda = c.number(at + 5);
  if (rank !== 2 || lda === 0) return undefined;
  const layout = c.numbers(at), [batch, count] = [layout[0]!, layout[4]!];
  const [k] = c.numbers(at + 4, 1), n = c.number(at + 3);
  const operand = (i: number, ld: number, features: number) => {
    const view = c.tensor(i), source = view.rank === 1 ? c.trace.sourceOf(view) : view;
    const x = c.trace.known(source);
    if (source.rank === 4) return x.name;
    const [rows, columns] = [source.shape[1]!, source.shape[2]!], width = count * features;
    const column = source === view ? 0 : c.trace.offsetOf(view)!;
    const part = columns === width
      ? x.name
      : c.node("Slice", [x.name, c.list(column), c.list(column + width), c.list(2)]);
    const first = source.shape[0] === batch && ld === columns; // batch first
    const split = c.reshaped(x, part, [source.shape[0]!, rows, count, features]).name;
    return c.node("Transpose", [split], { perm: first ? [0, 2, 1, 3] : [1, 2, 0, 3] });
  };
  const turned = c.number(at + 9) === 1;
  let left = operand(a!, lda, k!);
  const right = operand(b!, c.number(at + 6), turned ? k! : n);
  const alpha = fused ? c.number(at + 10) : 1;
  if (alpha !== 1) left = c.node("Mul", [left, c.constant([], [alpha])]);
  const y = c.node("MatMul", [
    left,
    turned ? c.node("Transpose", [right], { perm: [0, 1, 3, 2] }) : right,
  ]);
  if (c.y.rank === 4) return y;
  const first = c.y.shape[0] === batch && c.number(at + 7) === c.y.shape[2];
  const perm = first ? [0, 2, 1, 3] : [2, 0, 1, 3];
  return c.reshaped(c.known(y), c.node("Transpose", [y], { perm }));
}

// x, weight, bias and residual, of which the last two may be left out.
const linear: Row = (c) => {
  const call = c.kernel!, fused = call.name === "matmul_fused";
  const turned = call.number(fused ? 17 : 12) === 1, [x, w] = [c.v(1), c.v(2)];
  const rest = c.args.slice(3).map((_, i) => c.v(i + 3));
  const bias = fused && call.has(5) ? rest.shift() : undefined;
  let y: string;
  if (c.y.rank === 2) y = c.node("Gemm", [x, w, bias], { transB: turned ? 1 : 0 });
  else {
    y = c.node("MatMul", [x, turned ? c.node("Transpose", [w], { perm: [1, 0] }) : w]);
    if (bias) y = c.node("Add", [y, bias]);
  }
  y = activated(call, y, fused ? call.number(20) : 0);
  return rest[0] ? c.node("Add", [y, rest[0]]) : y;
};

const matmul: Row = (c) => {
  const call = c.kernel!, at = call.name === "matmul_fused" ? 16 : 11;
  const operand = (i: 1 | 2) => {
    const { rank } = c.tensor(i), order = c.tensor(i).shape.map((_, d) => d);
    if (rank < 2 || call.number(at + i - 1) === 0) return c.v(i);
    return c.node("Transpose", [c.v(i)], { perm: [...order.slice(0, -2), rank - 1, rank - 2] });
  };
  return c.node("MatMul", [operand(1), operand(2)]);
};

// x, the weights, both biases or none, and the states; gates in ONNX's order.
const recurrent = (op: string, order: readonly number[]): Row => (c) => {
  const biased = c.args.length > (op === "LSTM" ? 6 : 5);
  const hidden = c.tensor(3).shape[1]!, { reverse, lengths, nonlinearity } = c.about;
  const rows = order.flatMap((gate) => Array.from({ length: hidden }, (_, i) => gate * hidden + i));
  const index = c.trace.constant("int64", [1, rows.length], rows);
  const sorted = (i: number) => c.node("Gather", [c.v(i), index]);
  const bias = biased ? c.node("Concat", [sorted(4), sorted(5)], { axis: 1 }) : "";
  const state = (i: number) => {
    const x = c.tensor(i + (biased ? 6 : 4)), known = c.trace.known(x);
    return known.depends || x.dataSync().some((value) => value !== 0) ? known.name : "";
  };
  const given = lengths as Tensor | undefined;
  const inputs = [c.v(1), sorted(2), sorted(3), bias, given ? c.trace.known(given).name : ""];
  const outputs = c.trace.node(op, [...inputs, state(0), op === "LSTM" ? state(1) : ""], {
    hidden_size: hidden,
    direction: reverse ? "reverse" : undefined,
    linear_before_reset: op === "GRU" ? 1 : undefined,
    activations: nonlinearity === "relu"
      ? { kind: "strings", value: ["Relu"] } as const
      : undefined,
  }, op === "LSTM" ? 3 : 2);
  const y = c.node("Squeeze", [outputs[0]!, c.list(1)]);
  return [y, ...outputs.slice(1)];
};

/** By kernel. */
export const heads: Readonly<Record<string, Row>> = {
  matmul: (c) => ofHeads(c, false),
  matmul_fused: (c) => ofHeads(c, true),
};

/** By operation. */
export const products: Readonly<Record<string, Row>> = {
  ...{ linear, matmul },
  ...{ lstm: recurrent("LSTM", [0, 3, 1, 2]), gru: recurrent("GRU", [1, 0, 2]) },
  rnn: recurrent("RNN", [0]),
};
