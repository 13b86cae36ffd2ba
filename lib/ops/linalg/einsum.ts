import { formatValue } from "../../core/describe.ts";
import { contiguousStrides, formatShape, MAX_RANK, type Shape, sizeOf } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/binary.ts";
import { matmul } from "./matmul.ts";
import { permute, reshape } from "../shape/movement.ts";
import { take } from "../shape/_window.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { sum } from "../reduce/sum.ts";

/** A tensor with a letter for each axis. */
interface Term {
  readonly x: Tensor;
  readonly letters: string;
}

/**
 * Products and sums by Einstein's convention, as torch.einsum. Each axis has a letter; axes with
 * the same letter are gone through together, and letters that the output lacks are summed over. A
 * letter twice in one tensor is its diagonal. `...` stands for any axes, the same ones of all
 * tensors counted from the right, with broadcasting. Without `->` the output has `...` and then the
 * letters that occur once, in alphabetical order (capitals first). Spaces mean nothing.
 *
 * Two tensors are multiplied as a batch of matrices; axes are only permuted where their order asks
 * for it. Of more the pair comes first whose product is the smallest next to what it replaces.
 * Floats. Under autocast() tensors are multiplied in its dtype.
 *
 * @throws {ArgumentError} for an equation that cannot be read.
 * @throws {ShapeError} when letters and axes do not match, or a letter stands for two extents.
 *
 * ```ts
 * import { einsum, ones } from "@cudeno/cudeno";
 * const scores = einsum("bqhd,bkhd->bhqk", ones([2, 5, 4, 8]), ones([2, 7, 4, 8]));
 * console.log(scores.shape); // [2, 4, 5, 7]
 * console.log(einsum("ij->j", ones([2, 3])).dataSync()); // 2, 2, 2
 * console.log(einsum("...ii->...", ones([5, 3, 3])).dataSync()); // traces: 3, 3, 3, 3, 3
 * ```
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  for (const x of operands) checkDType("einsum", x, floats);
  if (operands.length > 0) checkSameDevice("einsum", operands[0]!, ...operands.slice(1));
  const { terms, output } = parse(equation, operands);
  while (terms.length > 1) {
    const [i, j] = cheapest(terms, output);
    const [b] = terms.splice(j, 1), [a] = terms.splice(i, 1);
    const wanted = output + terms.map(({ letters }) => letters).join("");
    const left = summed(a!, wanted + b!.letters), right = summed(b!, wanted + left.letters);
    const [x, y] = autocasted("lower", left.x, right.x);
    checkSameDType("einsum", x, y);
    const letters = terms.length === 0 ? output : together(left, right, wanted);
    terms.unshift({ x: multiplied({ ...left, x }, { ...right, x: y }, letters), letters });
  }
  return ordered(summed(terms[0]!, output), output).x;
}

// The letters of a product, in the order in which it comes out of multiplied().
function together(a: Term, b: Term, wanted: string): string {
  const all = without(a.letters, only(a, b)) + only(a, b) + only(b, a);
  return [...all].filter((c) => wanted.includes(c)).join("");
}

// The pair whose product has the fewest elements beyond those that it replaces.
function cheapest(terms: readonly Term[], output: string): [number, number] {
  let best: [number, number] = [0, 1], least = Infinity;
  terms.forEach((b, j) =>
    terms.slice(0, j).forEach((a, i) => {
      const others = terms.filter((_, k) => k !== i && k !== j).map(({ letters }) => letters);
      const letters = [...together(a, b, output + others.join(""))];
      const growth = sizeOf(letters.map((c) => extentOf(a, c) ?? extentOf(b, c)!)) - a.x.size -
        b.x.size;
      if (growth < least) [best, least] = [[i, j], growth];
    })
  );
  return best;
}

// The tensors with a letter for each axis, those of `...` being digits, and the letters wanted.
function parse(equation: string, operands: readonly Tensor[]) {
  const refuse = (why: string) => new ArgumentError(`einsum: "${equation}": ${why}`);
  if (typeof equation !== "string") {
    throw new ArgumentError(
      `einsum: the equation is ${formatValue(equation)}; it must be a string`,
    );
  }
  const [before = "", given, ...more] = equation.replaceAll(" ", "").split("->");
  if (more.length > 0) throw refuse("there is more than one ->");
  const inputs = before.split(",");
  for (const part of [...inputs, given ?? ""]) {
    const bad = part.replace("...", "").match(/[^A-Za-z]/)?.[0];
    if (bad === ".") throw refuse("a dot is only in ..., once in each tensor");
    if (bad) throw refuse(`${bad} is no letter`);
  }
  if (inputs.length !== operands.length) {
    throw refuse(`it has ${inputs.length} operands, but ${operands.length} tensors were given`);
  }
  const covered = inputs.map((part, i) => operands[i]!.rank - part.replace("...", "").length);
  const most = Math.max(0, ...covered.filter((_, i) => inputs[i]!.includes("...")));
  const digits = (count: number) => [..."01234567"].slice(most - count, most).join("");
  const extents = new Map<string, number>();
  const spelt = inputs.map((part, i): Term => {
    const x = operands[i]!;
    if (covered[i]! < 0 || (covered[i]! > 0 && !part.includes("..."))) {
      throw new ShapeError(
        `einsum: "${equation}": ${part || "nothing"} stands for ${formatShape(x.shape)}: ` +
          `${x.rank - covered[i]!} letters for ${x.rank} axes`,
      );
    }
    const letters = part.replace("...", digits(covered[i]!));
    [...letters].forEach((letter, d) => {
      const known = extents.get(letter), extent = x.shape[d]!;
      const broadcast = /\d/.test(letter) && (known === 1 || extent === 1);
      if (known !== undefined && known !== extent && !broadcast) {
        throw new ShapeError(
          `einsum: "${equation}": ${
            /\d/.test(letter) ? "an axis of ..." : letter
          } stands for ${known} and for ${extent}; the extents must be equal`,
        );
      }
      extents.set(letter, broadcast && extent === 1 ? known ?? 1 : extent);
    });
    return { x, letters };
  });
  const all = spelt.map(({ letters }) => letters).join("");
  const once = [...all].filter((c) => /\D/.test(c) && all.indexOf(c) === all.lastIndexOf(c));
  const output = given?.replace("...", digits(most)) ?? digits(most) + once.sort().join("");
  for (const letter of output) {
    if (!extents.has(letter)) throw refuse(`the output's ${letter} is in no operand`);
    if (output.indexOf(letter) !== output.lastIndexOf(letter)) {
      throw refuse(`${letter} is twice in the output`);
    }
  }
  if (output.length > MAX_RANK) throw refuse(`the output has more than ${MAX_RANK} axes`);
  return { terms: spelt.map((term) => diagonal(term, extents)), output };
}

// With each letter once, and without axes of `...` that are repeated for other tensors.
function diagonal({ x, letters }: Term, extents: ReadonlyMap<string, number>): Term {
  const strides = contiguousStrides(x.shape);
  const own = [...new Set(letters)].filter((c) => x.shape[letters.indexOf(c)] === extents.get(c));
  if (own.length === letters.length) return { x, letters };
  const stride = (c: string) =>
    strides.reduce((sum, step, d) => sum + (letters[d] === c ? step : 0), 0);
  const shape = own.map((c) => extents.get(c)!);
  return {
    x: take("einsum", x, { shape, strides: own.map(stride), offset: 0 }),
    letters: own.join(""),
  };
}

// Without the letters that nothing else has.
function summed({ x, letters }: Term, wanted: string): Term {
  const gone = [...letters].flatMap((letter, d) => (wanted.includes(letter) ? [] : [d]));
  if (gone.length === 0) return { x, letters };
  return { x: sum(x, gone), letters: [...letters].filter((c) => wanted.includes(c)).join("") };
}

function ordered({ x, letters }: Term, wanted: string): Term {
  return { x: permute(x, [...wanted].map((letter) => letters.indexOf(letter))), letters: wanted };
}

// c[batch, rows, cols] = the sum over `inner` of a[batch, rows, inner] b[batch, inner, cols].
function multiplied(a: Term, b: Term, output: string): Tensor {
  const ofA = only(a, b);
  const ofB = only(b, a);
  const batch = without(output, ofA + ofB);
  const inner = (x: Term) => without(x.letters, ofA + ofB + batch);
  if (inner(a) === "") return outer(a, b, output);

  // b a gives the output's order where a b does not.
  const exchanged = ofA !== "" && ofB !== "" && output.endsWith(ofA);
  const [left, right] = exchanged ? [b, a] : [a, b];
  const [rows, cols] = exchanged ? [ofB, ofA] : [ofA, ofB];
  // In the order of the larger operand, which then need not be permuted for it.
  const order = inner(left.x.size >= right.x.size ? left : right);
  const x = matrices(left, batch, rows, order);
  const y = matrices(right, batch, order, cols);
  const c = matmul(x.x, y.x, { transposeA: x.transposed, transposeB: y.transposed });
  const letters = batch + rows + cols;
  const shape = [...letters].map((c) => extentOf(left, c) ?? extentOf(right, c)!);
  return ordered({ x: reshape(c, shape), letters }, output).x;
}

const without = (letters: string, gone: string) =>
  [...letters].filter((c) => !gone.includes(c)).join("");
const only = (x: Term, other: Term) => without(x.letters, other.letters);
const extentOf = ({ x, letters }: Term, letter: string) => x.shape[letters.indexOf(letter)];

// The tensor as [batch, rows, cols], each several letters as one, or with the last two exchanged if
// that spares a copy.
function matrices(term: Term, batch: string, rows: string, cols: string) {
  const transposed = rows !== "" && term.letters === batch + cols + rows && cols !== "";
  const [first, second] = transposed ? [cols, rows] : [rows, cols];
  const { x } = ordered(term, batch + first + second);
  const at = batch.length + first.length;
  const shape: Shape = [
    ...(batch ? [sizeOf(x.shape.slice(0, batch.length))] : []),
    sizeOf(x.shape.slice(batch.length, at)),
    sizeOf(x.shape.slice(at)),
  ];
  return { x: reshape(x, shape), transposed };
}

// Nothing to sum over: each operand is spread over the output's axes and multiplied by the other.
function outer(a: Term, b: Term, output: string): Tensor {
  const spread = (term: Term) => {
    const own = ordered(term, [...output].filter((c) => term.letters.includes(c)).join(""));
    return reshape(own.x, [...output].map((c) => extentOf(own, c) ?? 1));
  };
  return mul(spread(a), spread(b));
}
