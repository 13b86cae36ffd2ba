import { record } from "../../core/autograd.ts";
import type { FusedActivation } from "../../core/node.ts";
import { writeLayout } from "../../core/layout.ts";
import { type MatmulPrecision, precisionCode } from "../../core/precision.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { broadcastShapes, broadcastStrides, type Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { reshape } from "../shape/movement.ts";
import { inFloat32 } from "../_operands.ts";
import { sumTo } from "../reduce/_reduce.ts";

/** What {@linkcode product} multiplies: op(a) [m, k] by op(b) [k, n], at each place of a batch. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** a is stored [k, m]. Default false. */
  readonly transposeA?: boolean | undefined;
  /** b is stored [n, k]. Default false. */
  readonly transposeB?: boolean | undefined;
  /** The batches of a and of b, which broadcast to that of the result. Default []. */
  readonly batchA?: Shape | undefined;
  readonly batchB?: Shape | undefined;
  /** The shape of the result, if it is not [...batch, m, n] but another one of as many elements. */
  readonly shape?: Shape | undefined;
  /** That of the forward pass, for the gradients too. */
  readonly precision: MatmulPrecision;
  /** The kernel's number. Default 0, the best; gradients always take that. */
  readonly variant?: number | undefined;
}

// What becomes of a product before it is stored, or beside it; see cdn_matmul_fused. All is of the
// product's dtype.
interface Epilogue {
  /** Added to each row: [n]. */
  readonly bias?: Tensor | null | undefined;
  readonly activation?: FusedActivation | undefined;
  /** Not the activation, but a product with its slope at these. Of the product's shape. */
  readonly mask?: Tensor | null | undefined;
  /** Added after the activation. Of the product's shape. */
  readonly residual?: Tensor | null | undefined;
  /** Gets what the activation is given. Of the product's shape. */
  readonly z?: Tensor | null | undefined;
  /** Gets the sums of the rows of op(a): [batch, m]. */
  readonly aSums?: Tensor | null | undefined;
}

// As cudeno.h numbers them.
const activations: Record<FusedActivation, number> = { relu: 1, gelu: 2, geluTanh: 3, silu: 4 };

// An activation as the library numbers it, 0 for none.
export function activationCode(activation: FusedActivation | undefined): number {
  return activation === undefined ? 0 : activations[activation];
}

// How far apart the matrices of one operand are that meet those of the other.
function distances(own: Shape, batch: Shape, size: number): number[] {
  return broadcastStrides(own, batch).map((stride) => stride * size);
}

// The leading dimensions of matrices without gaps.
const DENSE = [0, 0, 0] as const;

/**
 * The product, unrecorded. The tensors are taken as matrices of these extents, whatever their
 * shapes.
 */
export function multiplied(a: Tensor, b: Tensor, x: Product, epilogue?: Epilogue): Tensor {
  const { m, n, k, transposeA = false, transposeB = false, batchA = [], batchB = [] } = x;
  const batch = broadcastShapes("matmul", batchA, batchB);
  const c = a.make(x.shape ?? [...batch, m, n]);
  const layout = batch.length === 0
    ? null
    : writeLayout(batch, distances(batchA, batch, m * k), distances(batchB, batch, k * n));
  const precision = precisionCode(x.precision);
  const [rank, transA, transB] = [batch.length, Number(transposeA), Number(transposeB)];
  const variant = x.variant ?? 0;
  if (epilogue) {
    call(
      "cdn_matmul_fused",
      c,
      epilogue.z,
      epilogue.aSums,
      a,
      b,
      epilogue.bias,
      epilogue.residual,
      epilogue.mask,
      layout,
      rank,
      m,
      n,
      k,
      ...DENSE,
      transA,
      transB,
      1,
      0,
      activationCode(epilogue.activation),
      a.code,
      c.code,
      precision,
      variant,
    );
  } else {
    call(
      "cdn_matmul",
      c,
      a,
      b,
      layout,
      rank,
      m,
      n,
      k,
      ...DENSE,
      transA,
      transB,
      a.code,
      precision,
      variant,
    );
  }
  return c;
}

/**
 * The product, recorded. Its gradients are products again, summed over the axes along which an
 * input was repeated.
 */
export function product(a: Tensor, b: Tensor, x: Product): Tensor {
  return record(multiplied(a, b, x), "matmul", [a, b], (grad) => [
    a.requiresGrad ? gradOfA(grad, b, x, a.shape) : null,
    b.requiresGrad ? gradOfB(grad, a, x, b.shape) : null,
  ]);
}

/** d op(a) = dc op(b)^T, and its transpose when a is stored transposed. */
export function gradOfA(dc: Tensor, b: Tensor, x: Product, shape: Shape): Tensor {
  const { m, n, k, transposeA, transposeB, batchA = [], batchB = [], precision } = x;
  const batchC = broadcastShapes("matmul", batchA, batchB);
  const da = transposeA
    ? {
      ...{ m: k, n: m, k: n, transposeA: transposeB, transposeB: true },
      ...{ batchA: batchB, batchB: batchC, precision },
    }
    : { m, n: k, k: n, transposeB: !transposeB, batchA: batchC, batchB, precision };
  return transposeA
    ? summed(b, dc, da, [...batchA, k, m], shape)
    : summed(dc, b, da, [...batchA, m, k], shape);
}

/** d op(b) = op(a)^T dc, and its transpose when b is stored transposed. */
export function gradOfB(dc: Tensor, a: Tensor, x: Product, shape: Shape): Tensor {
  const { m, n, k, transposeA, transposeB, batchA = [], batchB = [], precision } = x;
  const batchC = broadcastShapes("matmul", batchA, batchB);
  const db = transposeB
    ? {
      ...{ m: n, n: k, k: m, transposeA: true, transposeB: transposeA },
      ...{ batchA: batchC, batchB: batchA, precision },
    }
    : { m: k, n, k: m, transposeA: !transposeA, batchA, batchB: batchC, precision };
  return transposeB
    ? summed(dc, a, db, [...batchB, n, k], shape)
    : summed(a, dc, db, [...batchB, k, n], shape);
}

// The product, summed over what `matrices` does not have, in another shape of as many elements.
function summed(a: Tensor, b: Tensor, x: Product, matrices: Shape, shape: Shape): Tensor {
  const batch = broadcastShapes("matmul", x.batchA ?? [], x.batchB ?? []);
  if (batch.length + 2 === matrices.length && batch.every((extent, d) => extent === matrices[d])) {
    return product(a, b, { ...x, shape });
  }
  // Before a sum nothing is rounded to 16 bits, which this precision has no fewer of.
  const precision = dtypeInfo(a.dtype).bytes === 2 ? "tf32" : x.precision;
  return inFloat32([a, b], (a, b) => {
    return reshape(sumTo(product(a, b, { ...x, precision }), matrices), shape);
  });
}
