import { checkOptions } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { AttentionForwardOptions, AttentionMasks } from "./attention.ts";
import { Module } from "./module.ts";
import { TransformerLayer, type TransformerLayerOptions } from "./transformer_layer.ts";

/** Options of {@linkcode TransformerEncoderLayer}. */
export type TransformerEncoderLayerOptions = TransformerLayerOptions;

/**
 * One layer of a transformer's encoder: attention of a sequence to itself, then two linear layers,
 * each with a way around and a normalisation. "Attention is all you need", Vaswani et al. 2017; as
 * torch.nn.TransformerEncoderLayer, of which it has the parameters: `self_attn.*`, `linear1.*`,
 * `linear2.*`, `norm1.*`, `norm2.*`.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.TransformerEncoderLayer(16, 4, { feedForward: 32, batchFirst: true });
 * console.log(layer.forward(rand([2, 5, 16])).shape); // [2, 5, 16]
 * ```
 */
export class TransformerEncoderLayer extends TransformerLayer {
  constructor(dModel: number, heads: number, options: TransformerEncoderLayerOptions = {}) {
    super("TransformerEncoderLayer", dModel, heads, options);
  }

  /**
   * x [sequence, batch, dModel], or [batch, sequence, dModel] with batchFirst; the result is of the
   * same shape.
   */
  override forward(x: Tensor, options: AttentionForwardOptions = {}): Tensor {
    const { self_attn, norm1, norm2, dropout1, dropout2 } = this;
    x = this.around(norm1, dropout1, x, (x) => self_attn.forward(x, x, x, options));
    return this.around(norm2, dropout2, x, (x) => this.feed(x));
  }
}

/**
 * Layers of an encoder one after another, and a normalisation at the end if one is given. As
 * torch.nn.TransformerEncoder, with the parameters `layers.0.*`, `layers.1.*`, …, `norm.*`; but the
 * layers are given, not copied, so that each starts from random numbers of its own.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = () => new nn.TransformerEncoderLayer(16, 4, { feedForward: 32, normFirst: true });
 * const encoder = new nn.TransformerEncoder([layer(), layer()], { norm: new nn.LayerNorm(16) });
 * console.log(encoder.forward(rand([5, 2, 16]), { causal: true }).shape); // [5, 2, 16]
 * ```
 */
export class TransformerEncoder extends Module {
  /** In their order. */
  layers: TransformerEncoderLayer[];
  /** At the end, or null. */
  norm: Module | null;

  constructor(
    layers: readonly TransformerEncoderLayer[],
    options: { norm?: Module | null | undefined } = {},
  ) {
    super();
    checkOptions("TransformerEncoder", options, ["norm"]);
    if (!Array.isArray(layers) || layers.some((x) => !(x instanceof TransformerEncoderLayer))) {
      throw new ArgumentError("TransformerEncoder: layers must be an array of layers");
    }
    this.layers = [...layers];
    this.norm = options.norm ?? null;
  }

  /** x through all layers, each with the same masks. */
  override forward(x: Tensor, masks: AttentionMasks = {}): Tensor {
    checkOptions("TransformerEncoder", masks, ["mask", "keyPaddingMask", "causal"]);
    for (const layer of this.layers) x = layer.forward(x, masks);
    return this.norm ? this.norm.forward(x) : x;
  }
}
