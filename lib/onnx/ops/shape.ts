// Operators that move elements or tell of shapes. Small values on the host stay there.
import {
  broadcastShapes,
  broadcastStrides,
  contiguousStrides,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sizeOf,
} from "../../core/shape.ts";
import { indexSelect } from "../../ops/index/mod.ts";
import { ne } from "../../ops/elementwise/mod.ts";
import {
  broadcastTo,
  concat,
  permute,
  reshape,
  select,
  slice,
  split,
  tile,
} from "../../ops/shape/mod.ts";
import { type ElementType, elementType } from "../_elements.ts";
import { hostLimit, type Value } from "../value.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { elementsAt, offsets } from "./_strides.ts";
import { onHost, wrapped } from "./elementwise.ts";

/** The same elements in another shape. */
function reshaped(c: Context, x: Value, shape: Shape): Value {
  return x.small ? c.host(x.type, shape, x.numbers()) : c.as(x.type, reshape(x.tensor(), shape));
}

/** On the host, an element for each place of `shape`: that at `first` plus strides. */
const picked = (c: Context, x: Value, shape: Shape, strides: readonly number[], first = 0) =>
  c.host(x.type, shape, elementsAt(x, shape, strides, first));

const shapeOf: Operator = (c) => {
  const { shape } = c.value(0);
  const part = shape.slice(c.int("start", 0), c.int("end", shape.length));
  return c.host("int64", [part.length], part);
};

// 0 stands for the extent of x unless allowzero says that it is meant; -1 for what is left.
function reshapedTo(c: Context, sizes: readonly number[]): Value {
  const x = c.value(0);
  const zero = c.int("allowzero", 0) === 1;
  const shape = sizes.map((n, d) => {
    if (n !== 0 || zero) return n;
    return x.shape[d] ?? c.fail(`size ${d} of [${sizes.join(", ")}] is 0, but x has no such axis`);
  });
  const open = shape.indexOf(-1);
  if (open >= 0) {
    const rest = sizeOf(shape.toSpliced(open, 1));
    shape[open] = rest === 0 ? 0 : x.size / rest;
  }
  const whole = shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!whole || sizeOf(shape) !== x.size) {
    c.fail(`[${x.shape.join(", ")}] cannot be reshaped to [${sizes.join(", ")}]`);
  }
  return reshaped(c, x, shape);
}

const flattened: Operator = (c) => {
  const x = c.value(0);
  const axis = c.int("axis", 1);
  const at = axis < 0 ? axis + x.shape.length : axis;
  return reshaped(c, x, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))]);
};

const squeezed: Operator = (c) => {
  const x = c.value(0);
  const given = c.numbersOr("axes", 1);
  const axes = given
    ? normalizeAxes("Squeeze", given, x.shape.length)
    : x.shape.flatMap((n, d) => n === 1 ? [d] : []);
  const wrong = axes.find((d) => x.shape[d] !== 1);
  if (wrong !== undefined) c.fail(`axis ${wrong} of [${x.shape.join(", ")}] is not of extent 1`);
  return reshaped(c, x, x.shape.filter((_, d) => !axes.includes(d)));
};

const unsqueezed: Operator = (c) => {
  const x = c.value(0);
  const given = c.numbersOr("axes", 1) ?? c.fail("axes are missing");
  const rank = x.shape.length + given.length;
  const axes = normalizeAxes("Unsqueeze", given, rank);
  const rest = x.shape.values();
  const shape = Array.from({ length: rank }, (_, d) => axes.includes(d) ? 1 : rest.next().value!);
  return reshaped(c, x, shape);
};

const transposed: Operator = (c) => {
  const x = c.value(0);
  const order = c.ints("perm", x.shape.map((_, d) => x.shape.length - 1 - d));
  if (!x.small) return permute(x.tensor(), order);
  if (order.length !== x.shape.length || !x.shape.every((_, d) => order.includes(d))) {
    c.fail(`perm [${order.join(", ")}] does not name each of ${x.shape.length} axes once`);
  }
  const strides = contiguousStrides(x.shape);
  return picked(c, x, order.map((d) => x.shape[d]!), order.map((d) => strides[d]!));
};

const concatenated: Operator = (c) => {
  const list = c.inputs.map((_, i) => c.value(i));
  const first = c.value(0);
  const rank = first.shape.length;
  const at = normalizeAxis("Concat", c.int("axis", 1), rank); // 1 up to opset 3
  if (rank > 1 || !list.every(({ small }) => small)) {
    return c.as(first.type, concat(list.map((value) => value.tensor()), at));
  }
  const data = list.flatMap((value) => Array.from(value.numbers()));
  return c.host(first.type, [data.length], data);
};

// Ends beyond the sizes are moved to them; so are INT64_MAX and -MAX, which mean them.
function sliced(
  c: Context,
  starts: readonly number[],
  ends: readonly number[],
  axes: readonly number[],
  steps: readonly number[],
) {
  let x = c.value(0);
  starts.forEach((from, i) => {
    const axis = normalizeAxis("Slice", axes[i] ?? c.fail(`there is no axis ${i}`), x.shape.length);
    const [extent, step, to] = [x.shape[axis]!, steps[i]!, ends[i]!];
    if (step === 0) c.fail("a step is 0");
    const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
    const place = (at: number, least: number) =>
      Math.min(Math.max(at < 0 ? at + extent : at, least), high);
    const [start, stop] = [place(from, Math.max(low, 0)), place(to, low)];
    const count = Math.max(0, Math.ceil((stop - start) / step));
    const shape = x.shape.with(axis, count);
    if (x.small) {
      const strides = contiguousStrides(x.shape);
      const offset = count > 0 ? start * strides[axis]! : 0;
      x = picked(c, x, shape, strides.with(axis, strides[axis]! * step), offset);
      return;
    }
    const end = stop < 0 ? undefined : stop; // -1 would mean the last element
    x = c.as(
      x.type,
      slice(x.tensor(), axis, start, end, Math.max(Math.min(step, extent + 1), -extent - 1)),
    );
  });
  return x;
}

const gathered: Operator = (c) => {
  const [x, index] = [c.value(0), c.value(1)];
  const axis = c.axis("axis", 0, x.shape.length);
  const shape = x.shape.toSpliced(axis, 1, ...index.shape);
  if (!index.small || !x.small) {
    if (index.small && index.size === 1) {
      const [at] = index.numbers();
      const one = select(x.tensor(), axis, at!);
      return reshape(one, shape);
    }
    const flat = reshape(index.tensor(), [index.size]);
    return reshape(indexSelect(x.tensor(), axis, flat), shape);
  }
  const [extent, inner] = [x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))];
  const places = c.numbers(1).map((place) => c.within(place, extent) * inner);
  const data = offsets([sizeOf(x.shape.slice(0, axis))], [extent * inner])
    .flatMap((outer) => places.flatMap((at) => elementsAt(x, [inner], [1], outer + at)));
  return c.host(x.type, shape, data);
};

const expanded: Operator = (c) => {
  const x = c.value(0);
  const shape = broadcastShapes("Expand", x.shape, c.numbers(1));
  if (!x.small || sizeOf(shape) > hostLimit) return broadcastTo(x.tensor(), shape);
  return picked(c, x, shape, broadcastStrides(x.shape, shape));
};

function parts(c: Context, sizes: readonly number[] | undefined): Value[] {
  const x = c.value(0);
  const axis = c.axis("axis", 0, x.shape.length);
  const extent = x.shape[axis]!;
  const count = c.int("num_outputs", c.node.outputs.length);
  const even = Math.ceil(extent / count);
  const list = sizes ??
    Array.from({ length: count }, (_, i) => Math.max(0, Math.min(even, extent - i * even)));
  if (list.some((n) => !(n >= 0)) || list.reduce((a, b) => a + b, 0) !== extent) {
    c.fail(`parts of [${list.join(", ")}] do not make ${extent}`);
  }
  if (!x.small) return split(x.tensor(), list, axis).map((part) => c.as(x.type, part));
  const strides = contiguousStrides(x.shape);
  let from = 0;
  return list.map((n) => {
    const part = picked(c, x, x.shape.with(axis, n), strides, n > 0 ? from * strides[axis]! : 0);
    from += n;
    return part;
  });
}

/** A value as another element type: of floats without the fraction, of larger integers wrapped. */
export function castTo(c: Context, to: ElementType): Value {
  const x = c.value(0);
  if (x.type === to) return x;
  if (to === "string" || x.type === "string") c.fail("strings are not supported");
  if (x.small) return onHost(c, to, (value) => value, x);
  const source = x.tensor();
  if (to === "bool") return c.as(to, ne(source, 0));
  const dtype = c.place.dtype(to);
  if (dtype === "uint8" && source.dtype !== "uint8") {
    return c.as(to, source.to({ dtype: "int32" }).remainder(256).to({ dtype }));
  }
  return c.as(to, wrapped(source.to({ dtype }), to));
}

const tiled: Operator = (c) => {
  const [x, counts] = [c.value(0), c.numbers(1)];
  if (counts.length !== x.shape.length) {
    c.fail(`${counts.length} repeats for ${x.shape.length} axes`);
  }
  return tile(x.tensor(), counts);
};

// The blocks of channels as blocks of pixels, and back.
const depthToSpace: Operator = (c) => {
  const { x } = c;
  const [n, channels, h, w] = x.shape as [number, number, number, number];
  const b = c.int("blocksize");
  const d = channels / (b * b);
  const first = c.string("mode", "DCR") === "CRD";
  const blocks = reshape(x, first ? [n, d, b, b, h, w] : [n, b, b, d, h, w]);
  const order = first ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2];
  return reshape(permute(blocks, order), [n, d, h * b, w * b]);
};

const spaceToDepth: Operator = (c) => {
  const { x } = c;
  const [n, channels, h, w] = x.shape as [number, number, number, number];
  const b = c.int("blocksize");
  const blocks = reshape(x, [n, channels, h / b, b, w / b, b]);
  return reshape(permute(blocks, [0, 3, 5, 1, 2, 4]), [n, channels * b * b, h / b, w / b]);
};

/** Shapes and moved elements. */
export const shape: Family = {
  Shape: shapeOf,
  Size: (c) => c.host("int64", [], [c.value(0).size]),
  Reshape: { 5: (c) => reshapedTo(c, c.numbers(1)) },
  Flatten: flattened,
  Squeeze: squeezed,
  Unsqueeze: unsqueezed,
  Transpose: transposed,
  Concat: concatenated,
  Slice: {
    1: (c) => {
      const [starts, ends] = [c.ints("starts"), c.ints("ends")];
      return sliced(c, starts, ends, c.ints("axes", starts.map((_, d) => d)), starts.map(() => 1));
    },
    10: (c) => {
      const [starts, ends] = [c.numbers(1), c.numbers(2)];
      const axes = c.has(3) ? c.numbers(3) : starts.map((_, d) => d);
      return sliced(c, starts, ends, axes, c.has(4) ? c.numbers(4) : starts.map(() => 1));
    },
  },
  Gather: gathered,
  Expand: expanded,
  Split: {
    2: (c) => parts(c, c.node.attributes.has("split") ? c.ints("split") : undefined),
    13: (c) => parts(c, c.has(1) ? c.numbers(1) : undefined),
  },
  Identity: (c) => c.value(0),
  Cast: (c) => {
    const code = c.int("to");
    return castTo(c, elementType(code) ?? c.fail(`the element type ${code} is not known`));
  },
  CastLike: (c) => castTo(c, c.value(1).type),
  Tile: { 6: tiled },
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
