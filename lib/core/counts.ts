// Bytes and operations of a native call, from its name and arguments; undefined where they are not
// known, rather than wrong.
import { dtypeInfo } from "./dtype.ts";
import { isTensor } from "./options.ts";
import type { Tensor } from "../tensor.ts";

/** What a call has to read and write at least, and its arithmetic, a multiply-add being two. */
export interface Counts {
  bytes?: number | undefined;
  flops?: number | undefined;
}

type Args = readonly unknown[];

const unary = "neg|abs|sign|exp|expm1|log|log1p|sqrt|rsqrt|sin|cos|erf|floor|ceil|trunc|round|" +
  "isfinite|isinf|clip|relu|sigmoid|tanh|gelu|gelu_tanh|silu|leaky_relu|elu|softplus";
const binary = "add|sub|mul|weigh|div|floor_divide|remainder|pow|maximum|minimum|eq|ne|lt|le|gt|ge";

// Operations for each element of the largest tensor, any function being one; null: not known. Each
// tensor is read or written once.
const streams: readonly (readonly [names: string, flops: number | null])[] = [
  ["fill|cast|where|strided_copy|band|transpose|one_hot|pad_image|unfold", 0],
  [`${unary}|${binary}|sum|mean|prod|max|min|argmax|argmin|cumsum|dropout`, 1],
  [`${unary.replaceAll("|", "_grad|")}_grad|vector_norm`, 2], // slope, product
  ["swiglu|swiglu_grad|variance|rms_norm|softmax_grad|log_softmax_grad", 4],
  ["batch_norm_stats|batch_norm", 4],
  ["softmax|masked_softmax|log_softmax", 5], // largest, difference, exp, sum, quotient
  ["norm_param_grad|batch_norm_sums", 5],
  ["layer_norm|group_norm", 8], // a variance, and difference, two factors, bias
  ["norm_grad", 10],
  ["max_pool|max_pool_grad|max_pool_pick|avg_pool|avg_pool_grad|loss|loss_grad|upsample", null],
  [
    "upsample_grad|pad_image_grad|fold|max_grad|nll_mean|linear_scan|log_sum_exp|batch_norm_grad",
    null,
  ],
  ["group_norm_grad|lstm_cell|lstm_cell_grad|gru_cell|gru_cell_grad|rnn_cell", null],
];
const perElement = new Map(
  streams.flatMap(([names, flops]) => names.split("|").map((name) => [name, flops] as const)),
);

// Lists: bytes for each element in units of a dtype's, states aside, and operations.
const lists: Readonly<Record<string, readonly [passes: number, flops: number]>> = {
  list_norm: [1, 2],
  list_clip_norm: [2, 1],
  list_clip: [2, 2],
  list_zero: [1, 0],
  list_unscale: [2, 1],
};

/** The bytes of a tensor's elements. */
export const bytesOf = (x: Pick<Tensor, "size" | "dtype">): number =>
  x.size * dtypeInfo(x.dtype).bytes;

/** Whether an argument is a tensor. */
export const given = (x: unknown): x is Tensor => Boolean(x) && isTensor(x);
const held = (x: unknown, bytes = Infinity) => given(x) ? Math.min(bytesOf(x), bytes) : 0;

/** The counts of a call of `cdn_` + name. */
export function countsOf(name: string, args: Args): Counts {
  if (args.length === 0) return { bytes: undefined, flops: undefined }; // of a captured step
  if (name.startsWith("matmul")) return product(name, args);
  if (name.startsWith("conv2d")) return convolution(args);
  if (/^attention(_grad)?$/.test(name)) return attention(args);
  if (name.startsWith("cross_entropy")) return stream(args, name.endsWith("grad") ? 6 : 4);
  if (/^(gather|take|gather_rows)$/.test(name)) { // of the table, what is taken
    const [y, , index] = args;
    return { bytes: 2 * held(y) + held(index), flops: name === "gather_rows" ? undefined : 0 };
  }
  if (name.endsWith("_step") || name in lists) return list(name, args);
  const flops = perElement.get(name);
  return flops === undefined ? {} : stream(args, flops);
}

function stream(args: Args, each: number | null): Counts {
  const [first, ...others] = args; // what is written may be read, too, and counts twice then
  const tensors = [first, ...new Set(others)].filter(given);
  const bytes = tensors.reduce((sum, x) => sum + bytesOf(x), 0);
  const largest = Math.max(...tensors.map((x) => x.size));
  return { bytes, flops: each === null ? undefined : each * largest };
}

// Operands may be parts of larger tensors, and one matrix may serve a batch.
function product(name: string, args: Args): Counts {
  const fused = name === "matmul_fused";
  const [layout, rank, m, n, k, , , ldc] = args.slice(fused ? 8 : 3) as [
    BigInt64Array,
    ...number[],
  ];
  let batch = 1;
  for (let i = 0; i < rank!; i++) batch *= Number(layout[i * (ldc ? 4 : 3)]);
  const c = args[0] as Tensor, [a, b] = args.slice(fused ? 3 : 1) as [Tensor, Tensor];
  const part = (x: Tensor, size: number) => held(x, batch * size * dtypeInfo(x.dtype).bytes);
  const [M, N, K] = [Number(m), Number(n), Number(k)];
  let bytes = part(a, M * K) + part(b, K * N) + part(c, M * N);
  if (fused) {
    for (const x of [args[1], args[6], args[7]]) if (given(x)) bytes += part(x, M * N);
    bytes += held(args[2]) + held(args[5]) + (args[19] ? part(c, M * N) : 0);
  }
  return { bytes, flops: 2 * batch * M * N * K };
}

function convolution(args: Args): Counts {
  const geometry = args.find((x) => x instanceof BigInt64Array)!;
  const [n, , , c, k, r, s, p, q] = Array.from(geometry, Number) as number[];
  const flops = 2 * n! * p! * q! * k! * r! * s! * c! / Number(geometry[15]);
  return { bytes: stream(args, 0).bytes, flops };
}

type Five = [number, number, number, number, number];

// Of the scores that offset and window leave: two products, five for the gradients. Operands may be
// parts of larger tensors; lengths and offsets from the end are the device's to know.
function attention(args: Args): Counts {
  const numbers = args.find((x) => x instanceof BigInt64Array)!;
  const at = args.indexOf(numbers);
  const all = Array.from(numbers, Number) as [...Five, ...Five, number];
  const [batch, heads, kvHeads, queries, keys, features, out, offset, fromEnd, left, right] = all;
  const tensors = args.slice(0, at).filter(given);
  const backward = at > 8;
  const each = dtypeInfo(tensors[0]!.dtype).bytes * batch *
    (heads * queries * (features + out) + kvHeads * keys * (features + out));
  const beside = [args[backward ? 3 : 1], ...args.slice(at - 3, at)];
  let scores: number | undefined = 0;
  for (let i = 0; i < queries; i++) {
    const place = i + offset + (fromEnd ? keys - queries : 0);
    const low = left < 0 ? 0 : Math.max(0, place - left);
    scores += Math.max(0, (right < 0 ? keys : Math.min(keys, place + right + 1)) - low);
  }
  if (given(args[at - 2])) scores = undefined; // lengths
  const products = (backward ? 5 : 2) * (features + out) / 2;
  return {
    bytes: (backward ? 2 : 1) * each + beside.reduce<number>((sum, x) => sum + held(x), 0),
    flops: scores === undefined ? undefined : 2 * batch * heads * scores * products,
  };
}

function list(name: string, args: Args): Counts {
  const sizes = args.find((x) => x instanceof BigInt64Array);
  if (!sizes) return {};
  const at = args.indexOf(sizes);
  const n = Array.from(sizes.subarray(0, Number(args[at + 1])), Number).reduce((a, b) => a + b, 0);
  const width = [4, 8, 4, 1, 2, 2][Number(args.at(-1))]!, state = Math.max(width, 4);
  const known = lists[name];
  if (known) return { bytes: known[0] * width * n, flops: known[1] * n };
  const states = args.slice(2, at).filter(Boolean).length; // read and written, as parameters are
  return { bytes: n * (3 * width + 2 * states * state), flops: step(name, args, states, n) };
}

// p -= lr v is two operations, v = momentum v + g two, and g += decay p; of Adam three for the
// mean, four for the square, and six from these to the parameter.
function step(name: string, args: Args, states: number, n: number): number | undefined {
  const at = args.findIndex((x) => x instanceof BigInt64Array);
  const scalars = args.slice(at + 4) as number[];
  if (name === "sgd_step") {
    const [, dampening, decay, nesterov] = scalars;
    return n * (2 + 2 * (states + (dampening ? .5 : 0) + (decay ? 1 : 0) + (nesterov ? 1 : 0)));
  }
  if (name === "adam_step") return n * (13 + (states > 2 ? 1 : 0) + (scalars[3] ? 2 : 0));
  return undefined;
}
