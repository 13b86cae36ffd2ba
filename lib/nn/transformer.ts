import { checkChoice, checkInteger, checkOptions } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { gelu, relu } from "../ops/elementwise/activations.ts";
import { add } from "../ops/elementwise/binary.ts";
import type { Tensor } from "../tensor.ts";
import {
  type AttentionMasks,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
} from "./attention.ts";
import { Dropout } from "./dropout.ts";
import { Linear } from "./linear.ts";
import { activated } from "./_fused.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./row_norm.ts";

const activations = { relu, gelu: (x: Tensor): Tensor => gelu(x) };

/** Options of {@linkcode TransformerEncoderLayer}. */
export interface TransformerEncoderLayerOptions extends Omit<MultiHeadAttentionOptions, "bias"> {
  /** The features between the two linear layers. Default 2048. */
  feedForward?: number | undefined;
  /** The probability of each dropout. Default 0.1. */
  dropout?: number | undefined;
  /** Between the two linear layers. Default `"relu"`. */
  activation?: "relu" | "gelu" | undefined;
  /** Normalise before attention and linear layers, not after them. Default false. */
  normFirst?: boolean | undefined;
  /** The epsilon of the normalisations. Default 1e-5. */
  layerNormEps?: number | undefined;
}

/**
 * One layer of a transformer's encoder: attention of a sequence to itself, then two linear layers,
 * each with a way around and a normalisation. "Attention is all you need", Vaswani et al. 2017; as
 * torch.nn.TransformerEncoderLayer, of which it has the parameters: self_attn.*, linear1.*,
 * linear2.*, norm1.*, norm2.*.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.TransformerEncoderLayer(16, 4, { feedForward: 32, batchFirst: true });
 * console.log(layer.forward(rand([2, 5, 16])).shape); // [2, 5, 16]
 * ```
 */
export class TransformerEncoderLayer extends Module {
  /** Of the sequence to itself. */
  self_attn: MultiHeadAttention;
  /** To feedForward features. */
  linear1: Linear;
  /** After the activation. */
  dropout: Dropout;
  /** Back from them. */
  linear2: Linear;
  /** Of attention. */
  norm1: LayerNorm;
  /** Of the linear layers. */
  norm2: LayerNorm;
  /** After attention. */
  dropout1: Dropout;
  /** After the linear layers. */
  dropout2: Dropout;
  readonly #activation: "relu" | "gelu";
  readonly #normFirst: boolean;

  constructor(dModel: number, heads: number, options: TransformerEncoderLayerOptions = {}) {
    super();
    const op = "TransformerEncoderLayer";
    checkOptions(op, options, [
      ...["feedForward", "dropout", "activation", "normFirst", "layerNormEps"],
      ...["batchFirst", "device", "dtype"],
    ]);
    const { feedForward = 2048, dropout = 0.1, activation = "relu", batchFirst = false } = options;
    const { normFirst = false, layerNormEps: eps = 1e-5, device, dtype } = options;
    checkInteger(op, "feedForward", feedForward, 1);
    checkChoice(op, "activation", activation, activations);
    const place = { device, dtype };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.self_attn = new MultiHeadAttention(dModel, heads, { ...place, dropout, batchFirst });
    this.linear1 = new Linear(dModel, feedForward, place);
    this.dropout = new Dropout({ p: dropout });
    this.linear2 = new Linear(feedForward, dModel, place);
    this.norm1 = new LayerNorm(dModel, { ...place, eps });
    this.norm2 = new LayerNorm(dModel, { ...place, eps });
    this.dropout1 = new Dropout({ p: dropout });
    this.dropout2 = new Dropout({ p: dropout });
    undo.move();
    this.#activation = activation;
    this.#normFirst = normFirst;
  }

  /**
   * x [sequence, batch, dModel], or [batch, sequence, dModel] with batchFirst; the result is of the
   * same shape.
   */
  override forward(x: Tensor, masks: AttentionMasks = {}): Tensor {
    const attend = (x: Tensor) => this.dropout1.forward(this.self_attn.forward(x, x, x, masks));
    if (this.#normFirst) {
      x = add(x, attend(this.norm1.forward(x)));
      return add(x, this.#feed(this.norm2.forward(x)));
    }
    x = this.norm1.forward(add(x, attend(x)));
    return this.norm2.forward(add(x, this.#feed(x)));
  }

  #feed(x: Tensor): Tensor {
    const inner = activated(this.linear1, this.#activation, x) ??
      activations[this.#activation](this.linear1.forward(x));
    return this.dropout2.forward(this.linear2.forward(this.dropout.forward(inner)));
  }
}

/**
 * Layers of an encoder one after another, and a normalisation at the end if one is given. As
 * torch.nn.TransformerEncoder, with the parameters layers.0.*, layers.1.*, …, norm.*; but the
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
    for (const layer of this.layers) x = layer.forward(x, masks);
    return this.norm ? this.norm.forward(x) : x;
  }
}
