// Rows of what moves elements, or gives them another shape.
import { broadcastStrides, contiguousStrides, sameShape, sizeOf } from "../../../core/shape.ts";
import type { Call, Row } from "../call.ts";
import { cast } from "./elementwise.ts";
import { axisOf } from "./reductions.ts";

const same: Row = (c) => c.raw(1);
const diagonal = (c: Call, i: number) => c.constant([], [c.kernel!.number(i)], "int64");

const reshape: Row = (c) => {
  const x = c.raw(1), { shape } = c.y;
  if (x.line && sameShape(x.line.shape, shape)) return x.line;
  const line = shape.length === 4 && shape[2] === 1 && sameShape(shape.toSpliced(2, 1), x.shape);
  return { ...c.reshaped(x), line: line ? x : undefined };
};

// A part of x, by strides and the first element, from the copy or view that it is.
function part(c: Call): { strides: number[]; starts: number[] } | undefined {
  const x = c.tensor(1), own = contiguousStrides(x.shape), call = c.kernel;
  const offset = c.trace.offsetOf(c.y);
  if (offset === undefined && call?.name !== "strided_copy") return undefined;
  const window = call?.numbers(2) ?? [];
  const strides = offset === undefined
    ? c.y.shape.map((_, d) => window[2 * d + 1]!)
    : contiguousStrides(c.y.shape);
  const first = offset ?? window[2 * c.y.rank]!;
  return { strides, starts: x.shape.map((n, d) => Math.floor(first / own[d]!) % n) };
}

const slice: Row = (c) => {
  const x = c.raw(1), found = part(c), own = contiguousStrides(x.shape);
  if (!found || c.y.rank !== x.shape.length) return undefined;
  const cuts = x.shape.flatMap((extent, d) => {
    const count = c.y.shape[d]!, start = found.starts[d]!;
    const step = count > 1 ? found.strides[d]! / own[d]! : 1;
    if (count === extent && step === 1) return [];
    if (step < 0 && start === extent - 1 && count === extent) {
      return [[d, -1, -(2 ** 53 - 1), step]];
    }
    const end = start + (count - 1) * step + Math.sign(step);
    const whole = start + count * step >= extent && x.batch[d]! > 0;
    return [[d, start, end < 0 ? -(2 ** 53 - 1) : whole ? 2 ** 53 - 1 : end, step]];
  });
  const column = (i: number) => c.list(...cuts.map((cut) => cut[i]!));
  const unit = cuts.every(([, , , step]) => step === 1);
  return {
    name: c.node("Slice", [x.name, column(1), column(2), column(0), unit ? "" : column(3)]),
    type: x.type,
  };
};

const select: Row = (c) => {
  const x = c.raw(1), found = part(c), own = contiguousStrides(x.shape);
  if (!found) return undefined;
  const axis = x.shape.findIndex((_, d) => {
    const strides = own.toSpliced(d, 1);
    const fits = c.y.shape.every((n, i) => n === 1 || found.strides[i] === strides[i]);
    return sameShape(x.shape.toSpliced(d, 1), c.y.shape) && fits &&
      found.starts.every((start, i) => i === d || start === 0);
  });
  if (axis < 0) return undefined;
  const at = c.trace.constant("int64", [], [found.starts[axis]!]);
  return { name: c.node("Gather", [x.name, at], { axis }), type: x.type };
};

const padded: Row = (c) => {
  const x = c.raw(1);
  if (c.kernel?.name === "pad_image") return c.trace.known(c.y);
  if (c.y.size < c.tensor(1).size) return slice(c);
  const window = c.kernel!.numbers(2), own = contiguousStrides(c.y.shape);
  const offset = window[2 * c.y.rank]!;
  const before = c.y.shape.map((n, d) => Math.floor(offset / own[d]!) % n);
  const after = c.y.shape.map((n, d) => n - before[d]! - x.shape[d]!);
  const at = c.y.shape.map((_, d) => x.batch[d] ? 0 : after[d]!);
  return c.node("Pad", [c.v(1), c.list(...before, ...at), c.constant([], [c.trace.fillOf(c.y)])]);
};

const permute: Row = (c) => {
  const x = c.raw(1), call = c.kernel!, { rank } = c.y;
  let perm = x.shape.map((_, d) => d);
  if (call.name === "transpose") { // [batch, rows, cols] to [batch, cols, rows], in groups of axes
    const [batch, rows] = call.numbers(2, 2) as [number, number];
    const turned = (from: number, to: number) =>
      perm.slice(0, from).concat(perm.slice(to), perm.slice(from, to));
    const fits = (from: number, to: number) =>
      sizeOf(x.shape.slice(0, from)) === batch && sizeOf(x.shape.slice(from, to)) === rows &&
      sameShape(turned(from, to).map((d) => x.shape[d]!), c.y.shape);
    const pairs = perm.flatMap((from) => perm.slice(from + 1).map((to) => [from, to] as const));
    const [from, to] = pairs.find((pair) => fits(...pair)) ?? [rank, rank];
    perm = turned(from, to);
  } else {
    const own = contiguousStrides(x.shape), window = call.numbers(2), left = new Set(perm);
    perm = c.y.shape.map((n, d) => {
      const found = [...left].find((axis) =>
        x.shape[axis] === n && own[axis] === window[2 * d + 1]
      );
      left.delete(found!);
      return found!;
    });
  }
  return { name: c.node("Transpose", [x.name], { perm }), type: x.type };
};

const concat: Row = (c) => {
  const parts = c.args.slice(1).map((_, i) => c.v(i + 1)), [first] = [c.tensor(1).shape];
  const axis = c.y.shape.findIndex((n, d) => n !== first[d]);
  return parts.length === 1 ? parts[0] : c.node("Concat", parts, { axis: Math.max(axis, 0) });
};

const broadcastTo: Row = (c) => {
  const x = c.raw(1), batch = c.trace.step(c.y.shape);
  const missing = c.y.rank - x.shape.length;
  const strides = broadcastStrides(x.shape, c.y.shape);
  // 1 keeps what is there
  const kept = c.y.shape.map((_, d) =>
    d >= missing && (x.shape[d - missing] !== 1 && strides[d] !== 0)
  );
  const shape = c.y.shape.map((n, d) => kept[d] ? 1 : n);
  const to = c.trace.shape(shape, batch.map((n, d) => kept[d] ? 0 : n));
  return { name: c.node("Expand", [x.name, to]), type: x.type };
};

const chosen = (op: string): Row => (c) => {
  const call = c.kernel!;
  return c.node(op, [c.v(1), call.v(2)], {
    axis: op === "Gather" && c.name === "take" ? 0 : axisOf(c, 1, call.number(5), call.number(6)),
  });
};

/** By kernel. */
export const copies: Readonly<Record<string, Row>> = {
  copy: (c) =>
    c.y.size === c.tensor(1).size && c.y.rank === c.tensor(1).rank ? c.raw(1) : undefined,
  gather: (c) => c.node("Gather", [c.v(1), c.v(2)]),
  one_hot: (c) => {
    const index = c.cast(c.v(1), "int64"), values = c.constant([2], [0, 1], "float32");
    return { name: c.node("OneHot", [index, c.list(c.number(3)), values]), type: "float32" };
  },
};

/** By operation. */
export const shapes: Readonly<Record<string, Row>> = {
  ...{
    reshape,
    permute,
    concat,
    broadcastTo,
    slice,
    select,
    flip: slice,
    pad: padded,
    clone: same,
  },
  view: (c) => c.y.size === c.tensor(1).size ? reshape(c) : undefined,
  to: (c) => c.y.dtype === c.tensor(1).dtype ? same(c) : cast(c),
  tril: (c) => c.node("Trilu", [c.v(1), diagonal(c, 6)], { upper: 0 }),
  triu: (c) => c.node("Trilu", [c.v(1), diagonal(c, 5)]),
  ...{ indexSelect: chosen("Gather"), take: chosen("Gather"), gather: chosen("GatherElements") },
};
