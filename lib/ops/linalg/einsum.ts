import { formatValue } from "../../core/describe.ts";
import { MAX_RANK, type Shape, sizeOf } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/binary.ts";
import { matmul } from "./matmul.ts";
import { permute, reshape } from "../shape/movement.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { sum } from "../reduce/sum.ts";

/** A tensor with a letter for each axis. */
interface Term {
  readonly x: Tensor;
  readonly letters: string;
}

/**
 * Products and sums by Einstein's convention, as torch.einsum, for one or two tensors. Each axis
 * has a letter; axes with the same letter are gone through together, and letters that the output
 * lacks are summed over. Without `->` the output has the letters that occur once, in alphabetical
 * order (capitals first). Spaces mean nothing.
 *
 * Two tensors are multiplied as a batch of matrices; axes are only permuted where their order asks
 * for it. Floats. Under autocast() two tensors are multiplied in its dtype. There is no `...`, and
 * no letter twice in one tensor (diagonals).
 *
 * @throws {ArgumentError} for an equation that cannot be read.
 * @throws {ShapeError} when letters and axes do not match, or a letter stands for two extents.
 *
 * ```ts
 * import { einsum, ones } from "@cudeno/cudeno";
 * const scores = einsum("bqhd,bkhd->bhqk", ones([2, 5, 4, 8]), ones([2, 7, 4, 8]));
 * console.log(scores.shape); // [2, 4, 5, 7]
 * console.log(einsum("ij->j", ones([2, 3])).dataSync()); // 2, 2, 2
 * ```
 */
export function einsum(equation: string, a: Tensor, b?: Tensor): Tensor {
  const operands = b === undefined ? [a] : [a, b];
  for (const x of operands) checkDType("einsum", x, floats);
  checkSameDevice("einsum", a, ...operands.slice(1));
  const { inputs, output } = parse(equation, operands);
  if (b === undefined) return ordered(summed({ x: a, letters: inputs[0]! }, output), output).x;
  const left = summed({ x: a, letters: inputs[0]! }, output + inputs[1]!);
  const right = summed({ x: b, letters: inputs[1]! }, output + inputs[0]!);
  const [x, y] = autocasted("lower", left.x, right.x);
  checkSameDType("einsum", x, y);
  return multiplied({ ...left, x }, { ...right, x: y }, output);
}

function parse(equation: string, operands: readonly Tensor[]) {
  const refuse = (why: string) => new ArgumentError(`einsum: "${equation}": ${why}`);
  if (typeof equation !== "string") {
    throw new ArgumentError(
      `einsum: the equation is ${formatValue(equation)}; it must be a string`,
    );
  }
  const [terms = "", given, ...more] = equation.replaceAll(" ", "").split("->");
  if (more.length > 0) throw refuse("there is more than one ->");
  const inputs = terms.split(",");
  const bad = (terms + (given ?? "")).match(/[^A-Za-z,]/) ?? given?.match(/,/);
  if (bad?.[0] === ".") throw refuse("... is not supported; give each axis a letter");
  if (bad) throw refuse(`${bad[0]} is no letter`);
  if (inputs.length !== operands.length) {
    throw refuse(
      `it has ${inputs.length} operands, but ${operands.length} tensors were given; one or two ` +
        "are possible",
    );
  }
  const extents = new Map<string, number>();
  inputs.forEach((letters, i) => {
    const { shape, rank } = operands[i]!;
    if (letters.length !== rank) {
      throw new ShapeError(
        `einsum: "${equation}": ${letters || "nothing"} stands for [${shape.join(", ")}]: ` +
          `${letters.length} letters for ${rank} axes`,
      );
    }
    [...letters].forEach((letter, d) => {
      if (letters.indexOf(letter) !== d) {
        throw refuse(`${letter} is twice in ${letters}; diagonals are not supported`);
      }
      const known = extents.get(letter);
      if (known !== undefined && known !== shape[d]) {
        throw new ShapeError(
          `einsum: "${equation}": ${letter} stands for ${known} and for ${
            shape[d]
          }; the extents must be equal`,
        );
      }
      extents.set(letter, shape[d]!);
    });
  });
  const all = inputs.join("");
  const output = given ?? [...all].filter((c) => all.indexOf(c) === all.lastIndexOf(c)).sort()
    .join("");
  for (const letter of output) {
    if (!extents.has(letter)) throw refuse(`the output's ${letter} is in no operand`);
    if (output.indexOf(letter) !== output.lastIndexOf(letter)) {
      throw refuse(`${letter} is twice in the output`);
    }
  }
  if (output.length > MAX_RANK) throw refuse(`the output has more than ${MAX_RANK} axes`);
  return { inputs, output };
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
