// Slices, flips, pads, repetitions, triangles; and what joins tensors or takes them apart.
import {
  chunk,
  concat,
  flip,
  pad,
  repeatInterleave,
  roll,
  select,
  slice,
  split,
  stack,
  type Tensor,
  tile,
  tril,
  triu,
} from "../../mod.ts";
import { build, elementAt, type Grid, sizeOf } from "../reference.ts";
import { anything, type Case, spiked } from "./case.ts";
import { matrices, moving, type ShapeList } from "./movement.ts";

const lines: ShapeList = [[[1]], [[7]], [[33]], [[129]], [[0]], [[5, 3]], [[70_001]]];
const blocks: ShapeList = [[[2, 3, 2]], [[3, 5, 4]], [[2, 7, 33]], [[5, 129, 3]], [[2, 0, 3]], [[
  1,
  6,
  1,
]], [[6, 5, 32]]];
const eight: ShapeList = [[[2, 1, 2, 3, 1, 2, 1, 3]]];

// The places of an axis that start:stop:step names, in their order, as Python's manual says it.
function places(extent: number, start?: number, stop?: number, step = 1): number[] {
  const fromFront = (i: number) => (i < 0 ? i + extent : i);
  const all = Array.from({ length: extent }, (_, i) => i);
  if (step > 0) {
    const first = Math.max(start === undefined ? 0 : fromFront(start), 0);
    const end = stop === undefined ? extent : fromFront(stop);
    return all.filter((i) => i >= first && i < end && (i - first) % step === 0);
  }
  const first = Math.min(start === undefined ? extent - 1 : fromFront(start), extent - 1);
  const end = stop === undefined ? -1 : fromFront(stop);
  return all.filter((i) => i <= first && i > end && (first - i) % step === 0).toReversed();
}

function slicing(shapes: ShapeList, axis: number, ...range: (number | undefined)[]): Case {
  const [start, stop, step] = range;
  return moving(
    `slice(${[axis, ...range].map((n) => n ?? "").join(", ")}) of rank ${shapes[0]![0]!.length}`,
    (x) => slice(x, axis, start, stop, step),
    (x) => x.slice(axis, start, stop, step),
    (x) => {
      const at = (axis + x.shape.length) % x.shape.length;
      const chosen = places(x.shape[at]!, start, stop, step);
      return build(
        x.shape.with(at, chosen.length),
        (index) => elementAt(x, index.with(at, chosen[index[at]!]!)),
      );
    },
    shapes,
  );
}

function selecting(axis: number, index: number, shapes: ShapeList): Case {
  return moving(
    `select(${axis}, ${index})`,
    (x) => select(x, axis, index),
    (x) => x.select(axis, index),
    (x) => {
      const at = (axis + x.shape.length) % x.shape.length;
      const place = (index + x.shape[at]!) % x.shape[at]!;
      return build(
        x.shape.toSpliced(at, 1),
        (rest) => elementAt(x, rest.toSpliced(at, 0, place)),
      );
    },
    shapes,
  );
}

function flipping(axes: readonly number[] | undefined, shapes: ShapeList): Case {
  return moving(
    `flip(${axes ? `[${axes.join(", ")}]` : ""}) of rank ${shapes[0]![0]!.length}`,
    (x) => flip(x, axes),
    (x) => x.flip(axes),
    (x) => {
      const rank = x.shape.length;
      const list = (axes ?? x.shape.map((_, d) => d)).map((axis) => (axis + rank) % rank);
      const turned = (i: number, d: number) => (list.includes(d) ? x.shape[d]! - 1 - i : i);
      return build(x.shape, (index) => elementAt(x, index.map(turned)));
    },
    shapes,
  );
}

function padding(pads: [number, number][], value: number, shapes: ShapeList): Case {
  const options = value === 0 ? {} : { value };
  return moving(
    `pad(${JSON.stringify(pads)}, ${value})`,
    (x) => pad(x, pads, options),
    (x) => x.pad(pads, options),
    (x) => {
      const inside = (index: readonly number[]) => index.map((i, d) => i - pads[d]![0]);
      return build(
        x.shape.map((extent, d) => extent + pads[d]![0] + pads[d]![1]),
        (index) => {
          const at = inside(index);
          const within = at.every((i, d) => i >= 0 && i < x.shape[d]!);
          return within ? elementAt(x, at) : value;
        },
      );
    },
    shapes,
  );
}

// By the definition of each: which place of an axis one outside of it repeats.
const borders = {
  reflect: (i: number, n: number) => i < 0 ? -i : i < n ? i : 2 * (n - 1) - i,
  edge: (i: number, n: number) => i < 0 ? 0 : i < n ? i : n - 1,
  wrap: (i: number, n: number) => i < 0 ? i + n : i < n ? i : i - n,
};

function bordering(mode: keyof typeof borders, pads: [number, number][], shapes: ShapeList): Case {
  return moving(
    `pad(${JSON.stringify(pads)}, ${mode}) of rank ${pads.length}`,
    (x) => pad(x, pads, { mode }),
    (x) => x.pad(pads, { mode }),
    (x) =>
      build(
        x.shape.map((extent, d) => extent + pads[d]![0] + pads[d]![1]),
        (index) => elementAt(x, index.map((i, d) => borders[mode](i - pads[d]![0], x.shape[d]!))),
      ),
    shapes,
  );
}

function rolling(
  shifts: number | readonly number[],
  axes: number | readonly number[] | undefined,
  shapes: ShapeList,
): Case {
  return moving(
    `roll(${shifts}, ${axes}) of rank ${shapes[0]![0]!.length}`,
    (x) => roll(x, shifts, axes),
    (x) => x.roll(shifts, axes),
    (x) => {
      if (axes === undefined) {
        const { values } = x, n = values.length, by = shifts as number;
        return build(x.shape, (_, i) => values[((i - by) % n + n) % n]!);
      }
      const rank = x.shape.length;
      const by = x.shape.map((_, d) => {
        const at = [axes].flat().findIndex((axis) => (axis + rank) % rank === d);
        return at < 0 ? 0 : [shifts].flat()[at]!;
      });
      const from = (i: number, d: number) =>
        ((i - by[d]!) % x.shape[d]! + x.shape[d]!) % x.shape[d]!;
      return build(x.shape, (index) => elementAt(x, index.map(from)));
    },
    shapes,
  );
}

function interleaving(
  repeats: number | readonly number[],
  axis: number | undefined,
  shapes: ShapeList,
): Case {
  return moving(
    `repeatInterleave(${repeats}, ${axis}) of rank ${shapes[0]![0]!.length}`,
    (x) => repeatInterleave(x, repeats, axis),
    (x) => x.repeatInterleave(repeats, axis),
    (x) => {
      const shape = axis === undefined ? [x.values.length] : x.shape;
      const at = (axis ?? 0) + ((axis ?? 0) < 0 ? shape.length : 0);
      const places = Array.from({ length: shape[at]! }, (_, i) => {
        return new Array<number>(typeof repeats === "number" ? repeats : repeats[i]!).fill(i);
      }).flat();
      return build(
        shape.with(at, places.length),
        (index) => elementAt({ ...x, shape }, index.with(at, places[index[at]!]!)),
      );
    },
    shapes,
  );
}

function tiling(reps: readonly number[], shapes: ShapeList): Case {
  return moving(
    `tile([${reps.join(", ")}])`,
    (x) => tile(x, reps),
    (x) => x.tile(reps),
    (x) => {
      const rank = Math.max(reps.length, x.shape.length);
      const ones = (list: readonly number[]) => [
        ...new Array<number>(rank - list.length).fill(1),
        ...list,
      ];
      const [from, times] = [ones(x.shape), ones(reps)];
      return build(
        from.map((extent, d) => extent * times[d]!),
        (index) => elementAt({ ...x, shape: from }, index.map((i, d) => i % from[d]!)),
      );
    },
    shapes,
  );
}

function triangular(name: "tril" | "triu", diagonal: number, shapes: ShapeList): Case {
  const op = { tril, triu }[name];
  return moving(
    `${name}(${diagonal})`,
    (x) => op(x, diagonal),
    (x) => x[name](diagonal),
    (x) =>
      build(x.shape, (index, i) => {
        const off = index.at(-1)! - index.at(-2)!;
        return (name === "tril" ? off <= diagonal : off >= diagonal) ? x.values[i]! : 0;
      }),
    shapes,
  );
}

const batches: ShapeList = [...matrices, [[2, 3, 2]], [[3, 33, 17]], [[2, 2, 5, 5]]];
const all = undefined;

export const shapeCases: readonly Case[] = [
  slicing(lines, 0, 1, 5),
  slicing(lines, 0),
  slicing(lines, 0, 2, all, 3),
  slicing(lines, 0, -3, -1),
  slicing(lines, -1, all, all, -1),
  slicing(lines, -1, -2, all, -2),
  slicing(lines, 0, 100, -100, -7),
  slicing(lines, 0, 4, 2),
  slicing(lines, 0, -1000, 1000, 1000),
  slicing([[[64]], [[4096]]], 0, all, all, 2), // of whole packs
  slicing([[[5, 64]], [[300, 64]]], 1, 16, 48),
  slicing([[[5, 64]], [[300, 64]]], 1, 3, 35),
  slicing([[[5, 64]], [[300, 64]]], 1, all, all, -1),
  slicing(blocks, 0, 1),
  slicing(blocks, 1, 1, 4),
  slicing(blocks, 1, all, all, -1),
  slicing(blocks, 1, all, all, 2),
  slicing(blocks, -1, all, 2),
  slicing(blocks, 2, -1, all, -1),
  slicing(eight, 3, 1, all, 2),
  slicing(eight, 7, all, all, -2),
  selecting(0, 0, [[[3]], [[2, 3]], [[5, 7, 33]]]),
  selecting(1, -1, [[[2, 3]], [[5, 7, 33]]]),
  selecting(-1, 1, [[[2, 3]], [[5, 7, 33]], ...eight]),
  flipping(undefined, [[[1]], [[7]], [[129]], [[0]], [[70_001]]]),
  flipping(undefined, blocks),
  flipping([0], blocks),
  flipping([-1], blocks),
  flipping([1, 0], blocks),
  flipping([0, 3, 7], eight),
  padding([[1, 2]], 0, lines.filter(([shape]) => shape!.length === 1)),
  padding([[2, -1]], 3, [[[1]], [[7]], [[129]]]),
  padding([[-1, -1]], 0, [[[2]], [[7]], [[129]]]),
  padding([[0, 0], [1, 1], [2, 0]], 7, blocks),
  padding([[1, 0], [-1, 2], [0, -1]], 0, [[[2, 3, 2]], [[3, 5, 4]]]),
  padding([[0, 0], [0, 0], [0, 0]], 0, blocks),
  padding(eight[0]![0]!.map((_, d) => [d % 2, d % 3 === 0 ? 1 : 0]), 1, eight),
  ...(["reflect", "edge", "wrap"] as const).flatMap((mode) => [
    bordering(mode, [[2, 1]], [[[3]], [[7]], [[129]]]),
    bordering(mode, [[1, 0], [0, 1], [2, 2]], [[[2, 2, 3]], [[5, 7, 33]], [[2, 129, 3]]]),
    bordering(mode, [[1, 1], [0, 2], [0, 0], [1, 0]], [[[2, 3, 1, 2]], [[3, 5, 4, 7]]]),
    bordering(mode, [[0, 0], [0, 0]], [[[2, 3]], [[0, 3]]]),
  ]),
  rolling(1, undefined, [[[]], [[1]], [[7]], [[2, 3]], [[129, 33]], [[0, 3]]]),
  rolling(-5, 0, [...lines, [[3, 5, 4]]]),
  rolling(2, -1, blocks),
  rolling([1, -2], [0, 1], blocks),
  rolling([3, 0, 1], [3, 0, -1], [...eight, [[2, 3, 4, 5]]].slice(0, 1)),
  rolling(1, 1, [[[2, 3, 4, 5]]]),
  interleaving(2, undefined, [[[]], [[5]], [[2, 3]], [[33, 5]], [[0]]]),
  interleaving(3, 1, blocks),
  interleaving(0, -1, blocks),
  interleaving([2, 0, 1], 0, [[[3]], [[3, 2]], [[3, 33, 5]]]),
  interleaving([1, 3], -1, [[[2]], [[3, 2]], [[129, 2]]]),
  tiling([3], [[[]], [[1]], [[5]], [[33]], [[2, 3]], [[0]]]),
  tiling([2, 1], [[[]], [[3]], [[2, 3]], [[2, 2, 3]]]),
  tiling([2, 3], [[[]], [[3]], [[2, 3]], [[2, 2, 3]], [[129, 33]]]),
  tiling([1, 1], [[[2, 3]]]),
  tiling([2, 0], [[[2, 3]]]),
  tiling([2, 2, 2, 2, 2, 2, 2, 2], [[[2, 1, 2, 1, 1, 2, 1, 2]], [[2, 3]]]),
  triangular("tril", 0, batches),
  triangular("tril", -1, batches),
  triangular("tril", 1000, batches),
  triangular("triu", 0, batches),
  triangular("triu", 2, batches),
  triangular("triu", -1, batches),
  triangular("triu", 1000, batches),
].map((c) => ({ ...c, gradShapes: c.gradShapes!.filter(([shape]) => sizeOf(shape!) > 0) }));

function joining(
  name: string,
  call: (...inputs: Tensor[]) => Tensor,
  reference: (...inputs: Grid[]) => Grid,
  shapes: ShapeList,
): Case {
  return {
    name,
    call,
    reference,
    shapes,
    gradShapes: shapes.filter((list) => list.every((shape) => sizeOf(shape) <= 12)).slice(0, 3),
    dtypes: anything,
    fill: [spiked(-100, 100, 2)],
  };
}

// Which input an index of the joined axis falls into, and where.
function located(inputs: readonly Grid[], at: number, i: number): [Grid, number] {
  for (const x of inputs) {
    if (i < x.shape[at]!) return [x, i];
    i -= x.shape[at]!;
  }
  throw new Error("outside of all inputs");
}

function concatenating(axis: number, shapes: ShapeList): Case {
  return joining(`concat(${axis})`, (...xs) => concat(xs, axis), (...inputs) => {
    const first = inputs[0]!;
    const at = (axis + first.shape.length) % first.shape.length;
    const total = inputs.reduce((sum, x) => sum + x.shape[at]!, 0);
    return build(first.shape.with(at, total), (index) => {
      const [x, i] = located(inputs, at, index[at]!);
      // By its own strides: elementAt would repeat an extent of 1.
      return x.values[index.with(at, i).reduce((sum, k, d) => sum * x.shape[d]! + k, 0)]!;
    });
  }, shapes);
}

function stacking(axis: number, shapes: ShapeList): Case {
  return joining(`stack(${axis})`, (...xs) => stack(xs, axis), (...inputs) => {
    const { shape } = inputs[0]!;
    const at = (axis + shape.length + 1) % (shape.length + 1);
    return build(
      shape.toSpliced(at, 0, inputs.length),
      (index) => elementAt(inputs[index[at]!]!, index.toSpliced(at, 1)),
    );
  }, shapes);
}

// The parts in the opposite order, joined: what parts there are shows, and gradients pass through
// both.
function parting(
  name: string,
  part: (x: Tensor) => Tensor[],
  method: (x: Tensor) => Tensor[],
  axis: number,
  sizes: (extent: number) => number[],
  shapes: ShapeList,
): Case {
  return moving(
    `${name}, turned round`,
    (x) => concat(part(x).toReversed(), axis),
    (x) => concat(method(x).toReversed(), axis),
    (x) => {
      const at = (axis + x.shape.length) % x.shape.length;
      let start = 0;
      const parts = sizes(x.shape[at]!).map((size) => {
        const from = start;
        start += size;
        return Array.from({ length: size }, (_, i) => from + i);
      });
      const order = parts.toReversed().flat();
      return build(x.shape, (index) => elementAt(x, index.with(at, order[index[at]!]!)));
    },
    shapes,
  );
}

const inParts = (size: number) => (extent: number): number[] => {
  const out: number[] = [];
  for (let left = extent; left > 0; left -= size) out.push(Math.min(size, left));
  return out;
};

const partShapes: ShapeList = [[[5, 3]], [[2, 7]], [[3, 33]], [[7, 5, 2]]];

export const joinCases: readonly Case[] = [
  concatenating(0, [[[2], [3]], [[2, 3], [1, 3]], [[0], [5]], [[129, 3], [7, 3], [0, 3]]]),
  concatenating(1, [[[2, 1], [2, 3]], [[1, 2], [1, 1], [1, 2]], [[33, 5], [33, 65]], [[6, 16], [
    6,
    48,
  ]], [[0, 2], [
    0,
    3,
  ]]]),
  concatenating(-1, [[[2, 1, 2], [2, 1, 3]], [[5, 3, 31], [5, 3, 2]], [[2, 3, 0], [2, 3, 4]]]),
  concatenating(3, [[[2, 1, 2, 1, 1, 3, 1, 2], [2, 1, 2, 3, 1, 3, 1, 2]]]),
  stacking(0, [[[3], [3]], [[], [], []], [[2, 3], [2, 3]], [[129, 33], [129, 33]]]),
  stacking(-1, [[[3], [3]], [[2, 3], [2, 3]], [[129, 33], [129, 33], [129, 33]]]),
  stacking(1, [[[2, 3], [2, 3]], [[5, 7, 3], [5, 7, 3]], [[0, 3], [0, 3]]]),
  parting("split(2)", (x) => split(x, 2), (x) => x.split(2), 0, inParts(2), partShapes),
  parting(
    "split(2, -1)",
    (x) => split(x, 2, -1),
    (x) => x.split(2, -1),
    -1,
    inParts(2),
    partShapes,
  ),
  parting(
    "split([1, 0, 4], 1)",
    (x) => split(x, [1, 0, 4], 1),
    (x) => x.split([1, 0, 4], 1),
    1,
    () => [1, 0, 4],
    [[[2, 5]], [[7, 5, 3]]],
  ),
  parting(
    "chunk(3, 1)",
    (x) => chunk(x, 3, 1),
    (x) => x.chunk(3, 1),
    1,
    (extent) => inParts(Math.ceil(extent / 3))(extent),
    partShapes,
  ),
];
