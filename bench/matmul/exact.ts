// How far a product is from the one in float64, which the device itself computes for some of its
// rows.
import { gatherRows, type MatmulOptions, scope, type Tensor, tensor } from "../../mod.ts";
import type { Operands } from "./product.ts";

/** The error of a product over the rows looked at. */
export interface ProductError {
  /** ||c - ab|| / ||ab||, Frobenius. */
  readonly relative: number;
  /**
   * The largest |c - ab| / (|a| |b|), element by element: the bound that rounding errors are
   * measured by.
   */
  readonly worst: number;
}

const ROWS = 16;

/** Some rows of op(a) op(b) in float64. */
export class Exact {
  readonly #index: Tensor;
  readonly #product: Tensor;
  readonly #bound: Tensor;

  /**
   * Reads the transposes from the options. The rows are spread evenly, the first and the last among
   * them.
   */
  constructor({ a, b }: Operands, { transposeA = false, transposeB = false }: MatmulOptions) {
    const options = { transposeA, transposeB };
    [this.#index, this.#product, this.#bound] = scope((): [Tensor, Tensor, Tensor] => {
      const m = a.shape[transposeA ? 1 : 0]!;
      const count = Math.min(m, ROWS);
      const rows = Array.from(
        { length: count },
        (_, r) => Math.floor(r * (m - 1) / (count - 1 || 1)),
      );
      const index = tensor(rows, { dtype: "int32", device: a.device });
      const left = a.indexSelect(transposeA ? 1 : 0, index).to("float64");
      const right = b.to("float64");
      return [index, left.matmul(right, options), left.abs().matmul(right.abs(), options)];
    });
  }

  /** The error of c, a product of the same operands. */
  errorOf(c: Tensor): ProductError {
    return scope(() => {
      const wrong = gatherRows(c, this.#index).to("float64").sub(this.#product);
      return {
        relative: wrong.norm().div(this.#product.norm()).itemSync(),
        worst: wrong.abs().div(this.#bound).max().itemSync(),
      };
    });
  }

  /** Frees the memory. */
  dispose(): void {
    for (const x of [this.#index, this.#product, this.#bound]) x.dispose();
  }
}
