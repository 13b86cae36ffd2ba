import { formatValue } from "../../core/describe.ts";
import { backendFor, type DeviceName } from "../../core/backend.ts";
import { checkOptions } from "../../core/options.ts";
import { type MatmulPrecision, precisionOf } from "../../core/precision.ts";
import { broadcastShapes, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
  floats,
} from "../_operands.ts";
import { product } from "./_product.ts";

/** Options of {@linkcode matmul}. */
export interface MatmulOptions {
  /** Read the matrices of a as their transposes: a is stored [..., k, m]. Default false. */
  transposeA?: boolean | undefined;
  /** Read the matrices of b as their transposes: b is stored [..., n, k]. Default false. */
  transposeB?: boolean | undefined;
  /**
   * How float32 is multiplied, here and in the gradients. Default: as setMatmulPrecision() has set
   * it.
   */
  precision?: MatmulPrecision | undefined;
  /**
   * A kernel by name, to compare them; see matmulVariants(). Default `"default"`, the best for the
   * shape.
   */
  variant?: string | undefined;
}

/**
 * The matrix product op(a) op(b), as torch.matmul: c[..., i, j] = the sum over p of a[..., i, p]
 * b[..., p, j], where op transposes the last two axes if asked to.
 *
 * - Matrices [m, k] and [k, n] give [m, n].
 * - A vector [k] counts as [1, k] on the left and as [k, 1] on the right, and that axis is dropped
 *   from the result; two vectors give one number.
 * - Axes in front of the matrices are a batch; those of a and b broadcast, without copies.
 *
 * Floats. How exact float32 is says {@linkcode setMatmulPrecision}; the 16-bit ones are multiplied
 * and added in float32 and rounded once. Under autocast() its dtype is used. Over no elements (k =
 * 0) the sum is 0.
 *
 * @throws {ShapeError} when the inner extents differ, the leading axes do not broadcast, or an
 * operand has no axes.
 * @throws {DTypeError} when the dtypes differ or are no floats.
 *
 * ```ts
 * import { matmul, ones, tensor } from "@cudeno/cudeno";
 * const a = tensor([[1, 2], [3, 4]]);
 * console.log(matmul(a, a, { transposeB: true }).dataSync()); // 5, 11, 11, 25
 * console.log(matmul(ones([8, 1, 3, 4]), ones([5, 4, 2])).shape); // [8, 5, 3, 2]
 * ```
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkOptions("matmul", options, ["transposeA", "transposeB", "precision", "variant"]);
  checkTensor("matmul", b);
  checkDType("matmul", a, floats);
  checkSameDevice("matmul", a, b);
  [a, b] = autocasted("lower", a, b);
  checkSameDType("matmul", a, b);
  const { transposeA = false, transposeB = false } = options;
  const left = matricesOf(a, transposeA, (k) => [1, k]);
  const right = matricesOf(b, transposeB, (k) => [k, 1]);
  let [m, k] = left.extents;
  const [kOfB, n] = right.extents;
  if (k !== kOfB) {
    const fix = k === n ? `; did you mean transposeB: ${!transposeB}?` : "";
    throw new ShapeError(
      `matmul: op(a) is [${m}, ${k}] and op(b) is [${kOfB}, ${n}]; the inner extents, ${k} and ` +
        `${kOfB}, must be equal${fix}`,
    );
  }
  const precision = precisionOf("matmul", options.precision);
  const variant = variantNumber(a, options.variant);
  let { batch: batchA } = left;
  let { batch: batchB } = right;
  const batch = sameShape(batchA, batchB)
    ? batchA
    : broadcastShapes("matmul: the axes before the matrices", batchA, batchB);
  const shape = [...batch, ...(a.rank > 1 ? [m] : []), ...(b.rank > 1 ? [n] : [])];
  if (!transposeA && sizeOf(batchB) === 1) { // all matrices of a are one tall matrix
    m *= sizeOf(batchA);
    batchA = batchB = [];
  }
  return product(a, b, {
    m,
    n,
    k,
    transposeA,
    transposeB,
    batchA,
    batchB,
    shape,
    precision,
    variant,
  });
}

// A tensor as a batch of matrices op(x).
function matricesOf(
  x: Tensor,
  transposed: boolean,
  asMatrix: (k: number) => [number, number],
): { batch: Shape; extents: [number, number] } {
  if (x.rank === 0) {
    throw new ShapeError("matmul: an operand is a single number; multiply by it with mul()");
  }
  if (x.rank === 1) {
    if (transposed) {
      throw new ArgumentError("matmul: a vector has no transpose; reshape it to a matrix first");
    }
    return { batch: [], extents: asMatrix(x.shape[0]!) };
  }
  const [rows, cols] = [x.shape[x.rank - 2]!, x.shape[x.rank - 1]!];
  const batch = x.rank === 2 ? [] : x.shape.slice(0, -2);
  return { batch, extents: transposed ? [cols, rows] : [rows, cols] };
}

function variantNumber(a: Tensor, name: string | undefined): number {
  if (name === undefined) return 0;
  const names = a.backend.library.matmulVariants();
  const number = names.indexOf(name);
  if (number < 0) {
    throw new ArgumentError(
      `matmul: there is no variant ${formatValue(name)}; there are ${names.join(", ")}`,
    );
  }
  return number;
}

/**
 * The names of the matmul kernels on a device, which MatmulOptions.variant takes; the first is the
 * default.
 *
 * ```ts
 * import { matmulVariants } from "@cudeno/cudeno";
 * console.log(matmulVariants("cpu")); // default, naive, blocked, blas
 * ```
 */
export function matmulVariants(device?: DeviceName): string[] {
  return backendFor(device).library.matmulVariants();
}
