import { checkOptions } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { AttentionForwardOptions } from "./attention.ts";
import { MultiHeadAttention } from "./attention.ts";
import { Dropout } from "./dropout.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./row_norm.ts";
import { TransformerLayer, type TransformerLayerOptions } from "./transformer_layer.ts";

/** What a decoder may not look at, in x and in the memory. */
export interface DecoderMasks extends Omit<AttentionForwardOptions, "cache"> {
  /** As `mask`, for the keys of the memory. */
  memoryMask?: Tensor | null | undefined;
  /** As `keyPaddingMask`, for the keys of the memory. */
  memoryKeyPaddingMask?: Tensor | null | undefined;
}

/**
 * One layer of a transformer's decoder: attention of a sequence to itself, then to the memory that
 * an encoder made, then two linear layers, each with a way around and a normalisation. As
 * torch.nn.TransformerDecoderLayer, of which it has the parameters: `self_attn.*`,
 * `multihead_attn.*`, `linear1.*`, `linear2.*`, `norm1.*`, `norm2.*`, `norm3.*`. What keeps a
 * position from those after it is `causal: true`.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.TransformerDecoderLayer(16, 4, { feedForward: 32, batchFirst: true });
 * const [x, memory] = [rand([2, 5, 16]), rand([2, 7, 16])];
 * console.log(layer.forward(x, memory, { causal: true }).shape); // [2, 5, 16]
 * ```
 */
export class TransformerDecoderLayer extends TransformerLayer {
  /** To the memory. */
  multihead_attn: MultiHeadAttention;
  /** Of the linear layers. */
  norm3: LayerNorm;
  /** After the linear layers. */
  dropout3: Dropout;

  constructor(dModel: number, heads: number, options: TransformerLayerOptions = {}) {
    super("TransformerDecoderLayer", dModel, heads, options);
    const { dropout = 0.1, batchFirst, layerNormEps: eps = 1e-5, bias, device, dtype } = options;
    const place = { device, dtype, bias };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.multihead_attn = new MultiHeadAttention(dModel, heads, { ...place, dropout, batchFirst });
    this.norm3 = new LayerNorm(dModel, { ...place, eps });
    this.dropout3 = new Dropout({ p: dropout });
    undo.move();
  }

  /**
   * x [sequence, batch, dModel] and memory [length, batch, dModel], or with the batch first; the
   * result is of x's shape. Default: memory is x.
   */
  override forward(x: Tensor, memory: Tensor = x, masks: DecoderMasks = {}): Tensor {
    const { memoryMask: mask, memoryKeyPaddingMask: keyPaddingMask, ...own } = masks;
    const { self_attn, multihead_attn, norm1, norm2, norm3 } = this;
    x = this.around(norm1, this.dropout1, x, (x) => self_attn.forward(x, x, x, own));
    const others = { mask, keyPaddingMask };
    x = this.around(norm2, this.dropout2, x, (x) => {
      return multihead_attn.forward(x, memory, memory, others);
    });
    return this.around(norm3, this.dropout3, x, (x) => this.feed(x));
  }
}

/**
 * Layers of a decoder one after another, and a normalisation at the end if one is given. As
 * torch.nn.TransformerDecoder; see {@linkcode TransformerEncoder} about the layers.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = () => new nn.TransformerDecoderLayer(16, 4, { feedForward: 32 });
 * const decoder = new nn.TransformerDecoder([layer(), layer()], { norm: new nn.LayerNorm(16) });
 * console.log(decoder.forward(rand([5, 2, 16]), rand([7, 2, 16]), { causal: true }).shape);
 * ```
 */
export class TransformerDecoder extends Module {
  /** In their order. */
  layers: TransformerDecoderLayer[];
  /** At the end, or null. */
  norm: Module | null;

  constructor(
    layers: readonly TransformerDecoderLayer[],
    options: { norm?: Module | null | undefined } = {},
  ) {
    super();
    checkOptions("TransformerDecoder", options, ["norm"]);
    if (!Array.isArray(layers) || layers.some((x) => !(x instanceof TransformerDecoderLayer))) {
      throw new ArgumentError("TransformerDecoder: layers must be an array of decoder layers");
    }
    this.layers = [...layers];
    this.norm = options.norm ?? null;
  }

  /** x through all layers, each with the same memory and masks. */
  override forward(x: Tensor, memory: Tensor = x, masks: DecoderMasks = {}): Tensor {
    for (const layer of this.layers) x = layer.forward(x, memory, masks);
    return this.norm ? this.norm.forward(x) : x;
  }
}
