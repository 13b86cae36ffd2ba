import { einsum, type Shape, type Tensor } from "../../mod.ts";
import { build, elementAt, type Grid, sizeOf } from "../reference.ts";
import { type Case, type Fill, floats, roundings } from "./case.ts";

// As in tests/cases/matmul.ts: mostly positive, so that sums are far from 0.
const fill: Fill = (random, i) => (random() * 2 - 0.5) * (i % 13 === 5 ? 4 : 1);

// By the definition: for each element of the output, over all values of the other letters.
function reference(equation: string, ...operands: Grid[]): Grid {
  const [terms, output] = equation.split("->") as [string, string];
  const inputs = terms.split(",");
  const extents = new Map<string, number>();
  inputs.forEach((letters, i) =>
    [...letters].forEach((c, d) => {
      if (extents.get(c) === undefined || extents.get(c) === 1) {
        extents.set(c, operands[i]!.shape[d]!); // extents of 1 broadcast
      }
    })
  );
  const inner = [...extents.keys()].filter((c) => !output.includes(c));
  const shape = (letters: readonly string[]) => letters.map((c) => extents.get(c)!);
  const count = sizeOf(shape(inner));
  const magnitudes: number[] = [];
  const result = build(shape([...output]), (outer) => {
    let [sum, size] = [0, 0];
    build(shape(inner), (index) => {
      const at = (c: string) =>
        output.includes(c) ? outer[output.indexOf(c)]! : index[inner.indexOf(c)]!;
      const term = inputs.reduce(
        (product, letters, i) => product * elementAt(operands[i]!, [...letters].map(at)),
        1,
      );
      sum += term;
      size += Math.abs(term);
      return 0;
    });
    magnitudes.push(Math.max(size * Math.sqrt(count), 1));
    return sum;
  });
  return { ...result, magnitudes };
}

/** The equation, its output spelt out when it is implicit, shapes, shapes for gradients. */
const equations: readonly [string, string | null, Shape[][], Shape[][]][] = [
  [
    "ij,jk->ik",
    null,
    [[[1, 1], [1, 1]], [[33, 31], [31, 65]], [[3, 0], [0, 2]], [[0, 2], [2, 3]]],
    [
      [[2, 3], [3, 2]],
    ],
  ],
  ["ij , jk", "ij,jk->ik", [[[3, 4], [4, 5]]], []],
  ["ba", "ba->ab", [[[3, 4]]], [[[2, 3]]]],
  ["ij,kj->ki", null, [[[33, 31], [65, 31]]], [[[2, 3], [1, 3]]]],
  ["ij,jk->ki", null, [[[33, 31], [31, 65]]], [[[2, 3], [3, 2]]]],
  ["ji,jk->ik", null, [[[31, 33], [31, 65]]], [[[3, 2], [3, 2]]]],
  ["bij,bjk->bik", null, [[[3, 5, 7], [3, 7, 33]]], [[[2, 1, 3], [2, 3, 2]]]],
  ["bqhd,bkhd->bhqk", null, [[[2, 5, 3, 7], [2, 6, 3, 7]]], [[[1, 2, 2, 2], [1, 3, 2, 2]]]],
  ["bhqk,bkhd->bqhd", null, [[[2, 3, 5, 6], [2, 6, 3, 7]]], [[[1, 2, 2, 2], [1, 2, 2, 3]]]],
  ["abcd,dcef->faeb", null, [[[2, 3, 4, 5], [5, 4, 2, 3]]], [[[1, 2, 2, 3], [3, 2, 1, 2]]]],
  ["i,i->", null, [[[1]], [[257]], [[0]]].map(([x]) => [x!, x!]), [[[3], [3]]]],
  ["i,j->ij", null, [[[3], [65]], [[0], [2]]], [[[2], [3]]]],
  ["ij,i->ji", null, [[[5, 33], [5]]], [[[2, 3], [2]]]],
  ["bi,bi->b", null, [[[5, 33], [5, 33]]], [[[2, 3], [2, 3]]]],
  ["ijk,jl->il", null, [[[3, 5, 7], [5, 2]]], [[[2, 3, 2], [3, 2]]]], // k is in one alone
  ["ij,kl->", null, [[[1, 2], [2, 1]], [[3, 5], [4, 2]]], [[[2, 2], [1, 2]]]],
  [",ij->ij", null, [[[], [3, 5]]], [[[], [2, 2]]]],
  ["ijk->kj", null, [[[3, 5, 33]]], [[[2, 3, 2]]]],
  ["ij->", null, [[[2, 2]], [[31, 33]]], [[[2, 3]]]],
  ["ij->ij", null, [[[3, 5]]], [[[2, 3]]]],
  ["->", null, [[[]]], [[[]]]],
  [
    "abcdefh,abcdefi->abcdefih",
    null,
    [[[1, 2, 1, 2, 1, 2, 3], [1, 2, 1, 2, 1, 2, 5]]],
    [[[1, 1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 1, 2, 2]]],
  ],
  // diagonals
  ["ii->i", null, [[[1, 1]], [[33, 33]], [[0, 0]]], [[[3, 3]]]],
  ["ii", "ii->", [[[1, 1]], [[5, 5]]], [[[3, 3]]]],
  ["iji->ji", null, [[[3, 5, 3]]], [[[2, 3, 2]]]],
  ["iii->i", null, [[[4, 4, 4]]], [[[2, 2, 2]]]],
  ["ijij->", null, [[[3, 5, 3, 5]]], [[[2, 3, 2, 3]]]],
  ["ii,ij->j", null, [[[5, 5], [5, 3]]], [[[2, 2], [2, 3]]]],
  // three tensors and more
  ["ij,jk,kl->il", null, [[[3, 5], [5, 7], [7, 2]]], [[[2, 3], [3, 2], [2, 2]]]],
  ["i,i,i->", null, [[[1], [1], [1]], [[33], [33], [33]]], [[[3], [3], [3]]]],
  ["i,j,k->kij", null, [[[2], [3], [5]]], [[[2], [1], [2]]]],
  ["bi,ijk,bk->bj", null, [[[4, 3], [3, 5, 7], [4, 7]]], [[[2, 2], [2, 1, 2], [2, 2]]]],
  ["ab,bc,ca,ad", "ab,bc,ca,ad->d", [[[2, 3], [3, 4], [4, 2], [2, 5]]], [
    [[2, 1], [1, 2], [2, 2], [2, 1]],
  ]],
  // axes without letters
  ["...", "ab->ab", [[[3, 5]]], [[[2, 2]]]],
  ["...i->...", "abi->ab", [[[2, 3, 5]]], [[[2, 1, 3]]]],
  ["i...->...", "iab->ab", [[[4, 3, 5]]], [[[3, 2, 1]]]],
  ["...ii->...i", "abii->abi", [[[2, 3, 4, 4]]], [[[2, 1, 2, 2]]]],
  ["...ij,...jk->...ik", "abij,abjk->abik", [[[2, 3, 4, 5], [2, 3, 5, 2]], [[2, 1, 4, 5], [
    1,
    3,
    5,
    2,
  ]]], [[[2, 1, 1, 2], [1, 2, 2, 1]]]],
  ["...ij,jk", "abij,jk->abik", [[[2, 3, 4, 5], [5, 2]]], [[[1, 2, 2, 2], [2, 1]]]],
  ["...i,...i->...", "abi,bi->ab", [[[2, 3, 5], [3, 5]]], [[[2, 2, 2], [2, 2]]]],
  ["...i->i", "abi->i", [[[2, 3, 5]]], [[[2, 1, 2]]]],
];

export const einsumCases: readonly Case[] = equations.map(
  ([equation, full, shapes, gradShapes]): Case => {
    const spelt = full ?? equation;
    return {
      name: `einsum("${equation}")`,
      call: (...operands: Tensor[]) => einsum(equation, ...operands),
      reference: (...operands) => reference(spelt, ...operands),
      shapes,
      gradShapes,
      dtypes: floats,
      fill: [fill],
      tolerance: roundings(2, 3),
    };
  },
);
