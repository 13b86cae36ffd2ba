// Operators that choose, order and place elements.
import { contiguousStrides, normalizeAxis, type Shape, sizeOf } from "../../core/shape.ts";
import { add, eq, lt, mul, sub, where } from "../../ops/elementwise/mod.ts";
import { gather, indexAdd, indexSelect, scatter, scatterAdd, topK } from "../../ops/index/mod.ts";
import { cumsum, sum } from "../../ops/reduce/mod.ts";
import { broadcastTo, reshape, select, tril, triu } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements } from "../_elements.ts";
import type { Value } from "../value.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { elementsAt, offsets } from "./_strides.ts";

const whole = (c: Context, list: readonly number[], shape: Shape = [list.length]) =>
  c.host("int32", shape, list).tensor();
const counting = (c: Context, n: number, shape: Shape = [n]) =>
  whole(c, Array.from({ length: n }, (_, i) => i), shape);

function largest(c: Context, k: number) {
  const { values, indices } = topK(c.x, k, {
    axis: c.int("axis", -1),
    largest: c.int("largest", 1) !== 0,
  });
  return [values, c.as("int64", indices)];
}

const nonZero: Operator = (c) => {
  const { shape } = c.value(0);
  const places: number[] = [];
  c.value(0).numbers().forEach((value: number, i: number) => value !== 0 && places.push(i));
  const data = contiguousStrides(shape).flatMap((stride, d) =>
    places.map((at) => Math.floor(at / stride) % shape[d]!)
  );
  return c.host("int64", [shape.length, places.length], data);
};

const compressed: Operator = (c) => {
  const kept = c.numbers(1).flatMap((yes, i) => yes ? [i] : []);
  const flat = !c.node.attributes.has("axis");
  const x = flat ? reshape(c.x, [c.x.size]) : c.x;
  return indexSelect(x, flat ? 0 : c.axis("axis", 0, x.rank), whole(c, kept));
};

// The slices along an axis, or the elements, each once; a slice is compared by its numbers.
const unique: Operator = (c) => {
  const flat = !c.node.attributes.has("axis"), x = c.value(0);
  const shape = flat ? [x.size] : x.shape;
  const axis = flat ? 0 : c.axis("axis", 0, shape.length);
  const strides = contiguousStrides(shape), inner = sizeOf(shape.slice(axis + 1));
  const slices = Array.from(
    { length: shape[axis]! },
    (_, i) => elementsAt(x, shape.with(axis, 1), strides, i * inner),
  );
  const groups = [...Map.groupBy(slices.keys(), (i) => slices[i]!.join())].map(([, list]) => list);
  if (c.int("sorted", 1)) {
    groups.sort(([a], [b]) => {
      const [left, right] = [slices[a!]!, slices[b!]!];
      const at = left.findIndex((value, i) => value !== right[i]);
      return at < 0 ? 0 : left[at]! - right[at]!;
    });
  }
  const inverse = new Array<number>(slices.length);
  groups.forEach((list, g) => list.forEach((i) => inverse[i] = g));
  const values = offsets([sizeOf(shape.slice(0, axis))], [inner])
    .flatMap((at) => groups.flatMap(([i]) => slices[i!]!.slice(at, at + inner)));
  const [firsts, sizes] = [groups.map(([i]) => i!), groups.map((list) => list.length)];
  return [
    c.host(x.type, shape.with(axis, groups.length), values),
    ...[firsts, inverse, sizes].map((list) => c.host("int64", [list.length], list)),
  ];
};

// Negative indices count from the end; any other outside gives a row of the "off" value.
const oneHot: Operator = (c) => {
  const [depth, values] = [c.number(1), c.value(2)];
  const index = c.x.to({ dtype: "int32" });
  const axis = normalizeAxis("OneHot", c.int("axis", -1), index.rank + 1);
  const from = reshape(index, index.shape.toSpliced(axis, 0, 1));
  const at = where(lt(from, 0), add(from, depth), from);
  const shape = new Array(index.rank + 1).fill(1).with(axis, depth);
  const [off, on] = [select(values.tensor(), 0, 0), select(values.tensor(), 0, 1)];
  return c.as(values.type, where(eq(at, counting(c, depth, shape)), on, off));
};

/** Places [m] by rows [m, k] of coordinates in `extents`; negative ones count from the end. */
function places(c: Context, index: Value, extents: Shape): Tensor {
  const [k, strides] = [extents.length, contiguousStrides(extents)];
  const m = k === 0 ? 1 : index.size / k;
  if (!index.small) {
    const rows = reshape(index.tensor(), [m, k]);
    const ends = mul(lt(rows, 0).to({ dtype: "int32" }), whole(c, extents, [1, k]));
    return sum(mul(add(rows, ends), whole(c, strides, [1, k])), 1);
  }
  const flat = new Array<number>(m).fill(0);
  index.numbers().forEach((at: number, i: number) => {
    flat[Math.floor(i / k)]! += c.within(at, extents[i % k]!) * strides[i % k]!;
  });
  return whole(c, flat);
}

const gatherND: Operator = (c) => {
  const [x, index] = [c.value(0), c.value(1)];
  const [b, k] = [c.int("batch_dims", 0), index.shape.at(-1)!];
  const [extents, rest] = [x.shape.slice(b, b + k), x.shape.slice(b + k)];
  const [batches, size] = [sizeOf(x.shape.slice(0, b)), sizeOf(extents)];
  let at = places(c, index, extents);
  if (b > 0) {
    const first = mul(counting(c, batches, [batches, 1]), size);
    at = reshape(add(reshape(at, [batches, at.size / Math.max(1, batches)]), first), [at.size]);
  }
  const rows = reshape(x.tensor(), [batches * size, sizeOf(rest)]);
  return reshape(indexSelect(rows, 0, at), [...index.shape.slice(0, -1), ...rest]);
};

const reductions: Record<string, (a: number, b: number) => number> = {
  none: (_, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  min: Math.min,
  max: Math.max,
};

/**
 * x with updates brought to places: those that `put` and `sum` cannot, on the host, where `at` says
 * the place of an update.
 */
function scattered(
  c: Context,
  put: () => Tensor,
  sum: () => Tensor,
  at: () => (i: number) => number,
) {
  const [x, updates] = [c.value(0), c.value(2)];
  const reduction = c.string("reduction", "none");
  const summed = elements[x.type].float || (elements[x.type].bytes >= 4);
  if (updates.size === 0) return x;
  if (reduction === "none" && !(x.small && updates.small)) return put();
  if (reduction === "add" && summed && !(x.small && updates.small)) return sum();
  const reduce = reductions[reduction] ?? c.fail(`the reduction ${reduction} is not known`);
  const [data, place, { fit }] = [Float64Array.from(x.numbers()), at(), elements[x.type]];
  updates.numbers().forEach((value: number, i: number) => {
    data[place(i)] = fit(reduce(data[place(i)]!, value));
  });
  return c.host(x.type, x.shape, data);
}

const scatterElements: Operator = (c) => {
  const [x, index, updates] = [c.value(0), c.value(1), c.value(2)];
  const axis = c.axis("axis", 0, x.shape.length);
  return scattered(
    c,
    () => scatter(x.tensor(), axis, index.tensor(), updates.tensor()),
    () => scatterAdd(x.tensor(), axis, index.tensor(), updates.tensor()),
    () => {
      const [strides, list] = [contiguousStrides(x.shape), index.numbers()];
      const other = index.shape.findIndex((n, d) => d !== axis && n > x.shape[d]!);
      if (other >= 0) c.fail(`${index.shape[other]} indices are outside of ${x.shape[other]}`);
      const starts = offsets(index.shape, strides.with(axis, 0));
      return (i) => starts[i]! + c.within(list[i]!, x.shape[axis]!) * strides[axis]!;
    },
  );
};

const scatterND: Operator = (c) => {
  const [x, index, updates] = [c.value(0), c.value(1), c.value(2)];
  const extents = x.shape.slice(0, index.shape.at(-1));
  const inner = sizeOf(x.shape.slice(extents.length));
  const at = places(c, index, extents);
  const rows = (value: Value) => reshape(value.tensor(), [value.size / inner, inner]);
  return scattered(
    c,
    () => {
      const wide = broadcastTo(reshape(at, [at.size, 1]), [at.size, inner]);
      return reshape(scatter(rows(x), 0, wide, rows(updates)), x.shape);
    },
    () => reshape(indexAdd(rows(x), 0, at, rows(updates)), x.shape),
    () => {
      index.numbers(); // the run is to know that they decide
      const list = at.dataSync();
      return (i) => list[Math.floor(i / inner)]! * inner + i % inner;
    },
  );
};

// Of each sequence the first steps backwards, the others as they are.
const reversed: Operator = (c) => {
  const [x, time, batch] = [c.x, c.int("time_axis", 0), c.int("batch_axis", 1)];
  const ones = new Array<number>(x.rank).fill(1);
  const lengths = reshape(c.tensor(1), ones.with(batch, x.shape[batch]!));
  const step = counting(c, x.shape[time]!, ones.with(time, x.shape[time]!));
  const back = sub(sub(lengths, 1), step);
  return gather(x, time, broadcastTo(where(lt(back, 0), step, back), x.shape));
};

/** Choosing, ordering, placing. */
export const index: Family = {
  TopK: { 1: (c) => largest(c, c.int("k")), 10: (c) => largest(c, c.number(1)) },
  NonZero: nonZero,
  Compress: compressed,
  Unique: unique,
  OneHot: oneHot,
  GatherElements: (c) => gather(c.x, c.axis("axis", 0, c.x.rank), c.tensor(1)),
  GatherND: gatherND,
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  CumSum: (c) =>
    cumsum(c.x, c.number(1), {
      exclusive: c.int("exclusive", 0) > 0,
      reverse: c.int("reverse", 0) > 0,
    }),
  Trilu: (c) => (c.int("upper", 1) ? triu : tril)(c.x, c.number(1, 0)),
  ReverseSequence: reversed,
};
