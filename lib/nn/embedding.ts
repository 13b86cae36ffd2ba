import { formatCall } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { randn } from "../create.ts";
import { checkPadding } from "../ops/index/_padding.ts";
import { embedding } from "../ops/index/embedding.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode Embedding}. */
export interface EmbeddingLayerOptions {
  /**
   * A row that starts as zeros and gets no gradient; negative ones count from the back. Default:
   * none.
   */
  paddingIndex?: number | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/**
 * A table of `num` vectors of `dim` numbers, looked up by an int32 index of any shape: y [...index,
 * dim]. The weight [num, dim] starts normal, N(0, 1), with the padding row, if there is one, zero.
 * As torch.nn.Embedding.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const layer = new nn.Embedding(10, 3);
 * const words = tensor([[1, 2, 4, 5], [4, 3, 2, 9]], { dtype: "int32" });
 * console.log(layer.forward(words).shape); // [2, 4, 3]
 * ```
 */
export class Embedding extends Module {
  /** [num, dim]. */
  weight: Tensor;
  /** The row without gradient, counted from the front, or null. */
  readonly paddingIndex: number | null;

  constructor(num: number, dim: number, options: EmbeddingLayerOptions = {}) {
    super();
    checkInteger("Embedding", "num", num, 1);
    checkInteger("Embedding", "dim", dim, 1);
    checkOptions("Embedding", options, ["paddingIndex", "device", "dtype"]);
    const { paddingIndex, ...rest } = options;
    const padding = checkPadding("Embedding", paddingIndex, num);
    this.paddingIndex = padding < 0 ? null : padding;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = keep(randn([num, dim], { ...rest, requiresGrad: true }));
    if (padding >= 0) {
      using row = this.weight.view(padding * dim, [dim]);
      row.fill(0);
    }
    undo.move();
  }

  /** The rows that the index names. */
  override forward(index: Tensor): Tensor {
    return embedding(index, this.weight, { paddingIndex: this.paddingIndex ?? undefined });
  }

  /** `Embedding(num, dim)`. */
  override describe(): string {
    return formatCall("Embedding", this.weight.shape, {
      paddingIndex: this.paddingIndex ?? undefined,
    });
  }
}
