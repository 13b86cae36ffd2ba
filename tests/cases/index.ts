import {
  embedding,
  gather,
  indexAdd,
  indexSelect,
  oneHot,
  scatter,
  scatterAdd,
  type Shape,
  take,
  type Tensor,
} from "../../mod.ts";
import { build, elementAt, type Grid, sizeOf } from "../reference.ts";
import { anything, type Case, type Fill, numbers, roundings, spiked } from "./case.ts";

// An index into the axis of the tensor that is input `which`; half of them among the first three,
// so that many meet, and some from the end.
function into(axis: number, which = 0, negative = true): Fill {
  return (random, _, shapes) => {
    const extent = shapes[which]!.at(axis)!;
    const at = Math.floor(random() * (random() < 0.5 ? Math.min(extent, 3) : extent));
    return negative && random() < 0.3 ? at - extent : at;
  };
}
/** An index with another place along an axis of x, as an index names it. */
function moved(index: readonly number[], axis: number, place: number, x: Grid) {
  const d = front(axis, index.length);
  return index.with(d, front(place, x.shape[d]!));
}

const value = spiked(-2, 2);
const front = (axis: number, rank: number) => (axis + rank) % rank;

// x and, for each element of src, the place in x that it is added to.
function scattered(
  x: Grid,
  src: Grid,
  place: (index: readonly number[], i: number) => number,
): Grid {
  const values = Float64Array.from(x.values);
  const magnitudes = Float64Array.from(x.values, Math.abs);
  build(src.shape, (index, i) => {
    const at = place(index, i);
    values[at]! += src.values[i]!;
    magnitudes[at]! += Math.abs(src.values[i]!);
    return 0;
  });
  return { shape: x.shape, values, magnitudes };
}
const flat = (index: readonly number[], shape: Shape) =>
  index.reduce((sum, i, d) => sum * shape[d]! + i, 0);

const gathers: readonly [axis: number, shapes: [Shape, Shape][]][] = [
  [0, [
    [[5], [7]],
    [[3, 4], [6, 4]],
    [[3, 4], [2, 3]],
    [[1, 33], [129, 33]],
    [[7, 1], [4097, 1]],
    [[5000], [70_001]],
    [[70_000], [131_073]],
    [[100, 3, 5], [40, 3, 2]],
    [[3, 2], [0, 2]],
  ]],
  [1, [
    [[2, 3], [2, 5]],
    [[2, 3, 2], [2, 4, 2]],
    [[4, 10, 3], [3, 7, 2]],
    [[2000, 10], [2000, 1]],
    [[2, 1, 2, 1, 2, 1, 2, 3], [1, 3, 2, 1, 1, 1, 2, 2]],
  ]],
  [-1, [
    [[4], [4]],
    [[2, 3], [2, 2]],
    [[3, 1025], [3, 500]],
    [[257, 129], [200, 65]],
    [[1, 3], [1, 20_001]],
    [[2, 3, 4], [2, 2, 9]],
  ]],
];
const small = (lists: readonly (readonly Shape[])[]) => lists.slice(0, 2);

function gathering([axis, shapes]: typeof gathers[number]): Case {
  return {
    name: `gather(${axis})`,
    call: (x: Tensor, index: Tensor) => gather(x, axis, index),
    also: () => [{ name: "x.gather()", call: (x: Tensor, index: Tensor) => x.gather(axis, index) }],
    reference: (x, index) =>
      build(
        index!.shape,
        (at, i) => x!.values[flat(moved(at, axis, index!.values[i]!, x!), x!.shape)]!,
      ),
    shapes,
    gradShapes: small(shapes),
    dtypes: anything,
    fixed: [undefined, "int32"],
    fill: [spiked(-100, 100, 2), into(axis)],
  };
}

function scattering([axis, shapes]: typeof gathers[number]): Case {
  return {
    name: `scatterAdd(${axis})`,
    call: (x: Tensor, index: Tensor, src: Tensor) => scatterAdd(x, axis, index, src),
    also: () => [{
      name: "x.scatterAdd()",
      call: (x: Tensor, index: Tensor, src: Tensor) => x.scatterAdd(axis, index, src),
    }],
    reference: (x, index, src) =>
      scattered(x!, src!, (at, i) => flat(moved(at, axis, index!.values[i]!, x!), x!.shape)),
    shapes: shapes.map(([x, index]) => [x, index, index]),
    gradShapes: small(shapes.map(([x, index]) => [x, index, index])),
    dtypes: numbers,
    fixed: [undefined, "int32", undefined],
    fill: [value, into(axis), value],
    tolerance: roundings(2, 64),
  };
}

// The last element that goes to a place stays, or a number does.
function assigning([axis, shapes]: typeof gathers[number], value?: number): Case {
  const lists = shapes.map((list) => value === undefined ? [...list, list[1]] : list);
  const from = (src: Tensor[]) => value ?? src[0]!;
  return {
    name: `scatter(${axis}${value === undefined ? "" : `, ${value}`})`,
    call: (x: Tensor, index: Tensor, ...src: Tensor[]) => scatter(x, axis, index, from(src)),
    also: () => [{
      name: "x.scatter()",
      call: (x: Tensor, index: Tensor, ...src: Tensor[]) => x.scatter(axis, index, from(src)),
    }],
    reference: (x, index, src) => {
      const values = Float64Array.from(x!.values);
      build(index!.shape, (at, i) => {
        const place = flat(moved(at, axis, index!.values[i]!, x!), x!.shape);
        return values[place] = value ?? src!.values[i]!;
      });
      return { shape: x!.shape, values };
    },
    shapes: lists,
    gradShapes: small(lists),
    dtypes: anything,
    fixed: [undefined, "int32", undefined],
    fill: [spiked(-100, 100, 2), into(axis), spiked(-100, 100, 2)],
  };
}

const taking: Case = {
  name: "take()",
  call: (x: Tensor, index: Tensor) => take(x, index),
  also: () => [{ name: "x.take()", call: (x: Tensor, index: Tensor) => x.take(index) }],
  reference: (x, index) =>
    build(index!.shape, (_, i) => x!.values[front(index!.values[i]!, x!.values.length)]!),
  shapes: [[[3, 2], [5]], [[4], [2, 3]], [[], [2]], [[2, 3], []], [[7, 33], [129, 5]], [[3], [0]]],
  gradShapes: [[[3, 2], [5]], [[4], [2, 3]]],
  dtypes: anything,
  fixed: [undefined, "int32"],
  fill: [spiked(-100, 100, 2), (random, _, [x]) => Math.floor((random() * 2 - 1) * sizeOf(x!))],
};

const selections: readonly [axis: number, shapes: [Shape, Shape][]][] = [
  [0, [
    [[3, 2], [5]],
    [[4], [3]],
    [[7, 33], [129]],
    [[300, 28, 2], [64]],
    [[50, 130], [3000]],
    [[3, 5000], [4]],
    [[40, 64], [500]],
    [[4096], [65_536]],
    [[2 ** 20], [65_537]],
    [[2, 3], [20_001]],
    [[4, 0], [3]],
    [[4, 3], [0]],
  ]],
  [1, [[[2, 3], [4]], [[2, 3, 2], [2]], [[3, 10, 65], [33]], [[33, 5], [257]], [[5, 3, 1, 2], [
    4,
  ]]]],
  [-1, [[[2, 3], [3]], [[2, 2, 3], [2]], [[4, 1025], [2049]], [[2, 100], [9001]]]],
];

function selecting([axis, shapes]: typeof selections[number]): Case {
  return {
    name: `indexSelect(${axis})`,
    call: (x: Tensor, index: Tensor) => indexSelect(x, axis, index),
    also: () => [{
      name: "x.indexSelect()",
      call: (x: Tensor, index: Tensor) => x.indexSelect(axis, index),
    }],
    reference: (x, index) => {
      const at = front(axis, x!.shape.length);
      return build(
        x!.shape.with(at, index!.values.length),
        (place) => elementAt(x!, moved(place, at, index!.values[place[at]!]!, x!)),
      );
    },
    shapes,
    gradShapes: small(shapes),
    dtypes: anything,
    fixed: [undefined, "int32"],
    fill: [spiked(-100, 100, 2), into(axis)],
  };
}

function adding([axis, shapes]: typeof selections[number]): Case {
  const lists = shapes.map(([x, index]) => [x, index, x.with(front(axis, x.length), index[0]!)]);
  return {
    name: `indexAdd(${axis})`,
    call: (x: Tensor, index: Tensor, src: Tensor) => indexAdd(x, axis, index, src),
    also: () => [{
      name: "x.indexAdd()",
      call: (x: Tensor, index: Tensor, src: Tensor) => x.indexAdd(axis, index, src),
    }],
    reference: (x, index, src) => {
      const at = front(axis, x!.shape.length);
      return scattered(
        x!,
        src!,
        (place) => flat(moved(place, at, index!.values[place[at]!]!, x!), x!.shape),
      );
    },
    shapes: lists,
    gradShapes: small(lists),
    dtypes: numbers,
    fixed: [undefined, "int32", undefined],
    fill: [value, into(axis), value],
    tolerance: roundings(2, 64),
  };
}

function embedded(paddingIndex?: number): Case {
  const options = paddingIndex === undefined ? {} : { paddingIndex };
  return {
    name: `embedding(${paddingIndex === undefined ? "" : `paddingIndex ${paddingIndex}`})`,
    call: (index: Tensor, weight: Tensor) => embedding(index, weight, options),
    reference: (index, weight) =>
      build(
        [...index!.shape, weight!.shape[1]!],
        (at) => elementAt(weight!, [elementAt(index!, at.slice(0, -1)), at.at(-1)!]),
      ),
    shapes: [[[4], [3, 2]], [[2, 3], [5, 4]], [[], [3, 5]], [[8, 33], [100, 65]], [[0], [3, 2]]],
    // What goes to the padding row is no gradient, though the result depends on it: differences
    // would see that.
    gradShapes: paddingIndex === undefined ? [[[4], [3, 2]], [[2, 3], [5, 2]]] : undefined,
    dtypes: numbers,
    fixed: ["int32", undefined],
    fill: [into(0, 1, false), spiked(-100, 100, 2)],
  };
}

const hot: Case[] = anything.map((output) => ({
  name: `oneHot(7, ${output})`,
  call: (index: Tensor) => oneHot(index, 7, { dtype: output }),
  also: () =>
    output === "int32" ? [{ name: "by default", call: (index: Tensor) => oneHot(index, 7) }] : [],
  reference: (index) =>
    build([...index!.shape, 7], (at) => Number(elementAt(index!, at.slice(0, -1)) === at.at(-1))),
  shapes: [[[]], [[1]], [[5]], [[33, 2]], [[2, 3, 4]], [[5000]], [[0]]],
  dtypes: ["int32"],
  fill: [(random) => Math.floor(random() * 7)],
  output,
}));

export const indexCases: readonly Case[] = [
  ...gathers.map(gathering),
  ...gathers.map(scattering),
  ...gathers.map((given) => assigning(given)),
  ...gathers.map((given) => assigning(given, 7)),
  taking,
  ...selections.map(selecting),
  ...selections.map(adding),
  embedded(),
  embedded(0),
  ...hot,
];
