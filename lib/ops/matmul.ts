import { backendFor, type DeviceName } from "../core/backend.ts";
import { record } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { checkDType, checkSameDevice, checkSameDType, floats } from "./operands.ts";

/** Options of {@linkcode matmul}. */
export interface MatmulOptions {
  /** Read a as its transpose: a is stored [k, m]. Default false. */
  transposeA?: boolean;
  /** Read b as its transpose: b is stored [n, k]. Default false. */
  transposeB?: boolean;
  /** A kernel by name, to compare them; see matmulVariants(). Default `"default"`, the best for the shape. */
  variant?: string;
}

/** op(a) op(b) of matrices given by their extents, as a tensor of `shape`; unrecorded. */
export function product(
  a: Tensor,
  b: Tensor,
  extents: { m: number; n: number; k: number },
  transposeA: boolean,
  transposeB: boolean,
  { variant = 0, shape = [extents.m, extents.n] }: { variant?: number; shape?: Shape } = {},
): Tensor {
  const { m, n, k } = extents;
  const c = a.make(shape);
  const { backend } = a;
  backend.check(
    backend.functions.cdn_matmul(
      c.handle,
      a.handle,
      b.handle,
      BigInt(m),
      BigInt(n),
      BigInt(k),
      Number(transposeA),
      Number(transposeB),
      a.code,
      variant,
    ),
  );
  return c;
}

/**
 * The matrix product op(a) op(b) of a [m, k] and b [k, n], where op transposes if asked to; float32, float64, with
 * plain multiply-adds in that type. A vector [k] counts as [1, k] on the left and [k, 1] on the right, and its axis is
 * dropped from the result.
 *
 * ```ts
 * import { tensor } from "@cudeno/cudeno";
 * const a = tensor([[1, 2], [3, 4]]);
 * console.log(a.matmul(a, { transposeB: true }).dataSync()); // 5, 11, 11, 25
 * ```
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkOptions("matmul", options, ["transposeA", "transposeB", "variant"]);
  checkDType("matmul", a, floats);
  checkSameDevice("matmul", a, b);
  checkSameDType("matmul", a, b);
  const { transposeA = false, transposeB = false } = options;
  if (a.rank === 1 || b.rank === 1) return vectorProduct(a, b, options);
  if (a.rank !== 2 || b.rank !== 2) {
    throw new ShapeError(
      `matmul: shapes are ${formatShape(a.shape)} and ${
        formatShape(b.shape)
      }; both must be matrices or vectors`,
    );
  }
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [kOfB, n] = transposeB ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (k !== kOfB) {
    const fix = k === n ? `; did you mean transposeB: ${!transposeB}?` : "";
    throw new ShapeError(
      `matmul: op(a) is [${m}, ${k}] and op(b) is [${kOfB}, ${n}]; the inner extents, ${k} and ${kOfB}, must be equal${fix}`,
    );
  }
  const variant = variantNumber(a, options.variant);
  const c = product(a, b, { m, n, k }, transposeA, transposeB, { variant });
  return record(c, "matmul", [a, b], (grad) => [
    a.requiresGrad ? gradOfA(grad, b, { m, n, k }, transposeA, transposeB) : null,
    b.requiresGrad ? gradOfB(grad, a, { m, n, k }, transposeA, transposeB) : null,
  ]);
}

interface Extents {
  m: number;
  n: number;
  k: number;
}

// d op(a) = dc op(b)^T, and its transpose when a is stored transposed.
function gradOfA(dc: Tensor, b: Tensor, { m, n, k }: Extents, ta: boolean, tb: boolean): Tensor {
  return ta
    ? product(b, dc, { m: k, n: m, k: n }, tb, true)
    : product(dc, b, { m, n: k, k: n }, false, !tb);
}

// d op(b) = op(a)^T dc, and its transpose when b is stored transposed.
function gradOfB(dc: Tensor, a: Tensor, { m, n, k }: Extents, ta: boolean, tb: boolean): Tensor {
  return tb
    ? product(dc, a, { m: n, n: k, k: m }, true, ta)
    : product(a, dc, { m: k, n, k: m }, !ta, false);
}

function vectorProduct(a: Tensor, b: Tensor, options: MatmulOptions): Tensor {
  if (options.transposeA || options.transposeB) {
    throw new ArgumentError("matmul: a vector has no transpose; reshape it to a matrix first");
  }
  const left = a.rank === 1 ? a.unsqueeze(0) : a;
  const right = b.rank === 1 ? b.unsqueeze(1) : b;
  const shape = [...a.shape.slice(0, -1), ...b.shape.slice(1)];
  return matmul(left, right, options).reshape(shape);
}

function variantNumber(a: Tensor, name: string | undefined): number {
  if (name === undefined) return 0;
  const names = a.backend.library.matmulVariants();
  const number = names.indexOf(name);
  if (number < 0) {
    throw new ArgumentError(`matmul: there is no variant ${name}; there are ${names.join(", ")}`);
  }
  return number;
}

/**
 * The names of the matmul kernels on a device, which MatmulOptions.variant takes; the first is the default.
 *
 * ```ts
 * import { matmulVariants } from "@cudeno/cudeno";
 * console.log(matmulVariants("cpu")); // default, naive, blocked, …
 * ```
 */
export function matmulVariants(device?: DeviceName): string[] {
  return backendFor(device).library.matmulVariants();
}
