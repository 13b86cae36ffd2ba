import { checkChoice, checkInteger, checkOptions } from "../core/options.ts";
import type { FusedActivation } from "../core/node.ts";
import { activations } from "../ops/elementwise/_gate.ts";
import type { Tensor } from "../tensor.ts";
import { MultiHeadAttention, type MultiHeadAttentionOptions } from "./attention.ts";
import { Dropout } from "./dropout.ts";
import { activated } from "./_fused.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./row_norm.ts";

/** Options of layers of transformers. */
export interface TransformerLayerOptions
  extends Omit<MultiHeadAttentionOptions, "kdim" | "vdim" | "kvHeads"> {
  /** The features between the two linear layers. Default 2048. */
  feedForward?: number | undefined;
  /** The probability of each dropout. Default 0.1. */
  dropout?: number | undefined;
  /** Between the two linear layers: one by name, or a function. Default `"relu"`. */
  activation?: FusedActivation | ((x: Tensor) => Tensor) | undefined;
  /** Normalise before attention and linear layers, not after them. Default false. */
  normFirst?: boolean | undefined;
  /** The epsilon of the normalisations. Default 1e-5. */
  layerNormEps?: number | undefined;
}

/** What layers of encoders and decoders have in common. */
export abstract class TransformerLayer extends Module {
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
  /** Of what comes next. */
  norm2: LayerNorm;
  /** After attention. */
  dropout1: Dropout;
  /** After what comes next. */
  dropout2: Dropout;
  readonly #activation: FusedActivation | ((x: Tensor) => Tensor);
  readonly #normFirst: boolean;

  constructor(op: string, dModel: number, heads: number, options: TransformerLayerOptions) {
    super();
    checkOptions(op, options, [
      ...["feedForward", "dropout", "activation", "normFirst", "layerNormEps"],
      ...["bias", "batchFirst", "device", "dtype"],
    ]);
    const { feedForward = 2048, dropout = 0.1, activation = "relu", batchFirst = false } = options;
    const { normFirst = false, layerNormEps: eps = 1e-5, bias, device, dtype } = options;
    checkInteger(op, "feedForward", feedForward, 1);
    if (typeof activation !== "function") checkChoice(op, "activation", activation, activations);
    const place = { device, dtype, bias };
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

  /** x + inner(x), with the normalisation before or after. */
  protected around(
    norm: LayerNorm,
    dropout: Dropout,
    x: Tensor,
    inner: (x: Tensor) => Tensor,
  ): Tensor {
    if (this.#normFirst) return dropout.forward(inner(norm.forward(x)), x);
    return norm.forward(dropout.forward(inner(x), x));
  }

  /** The two linear layers. */
  protected feed(x: Tensor): Tensor {
    const activation = this.#activation, named = typeof activation === "string";
    const inner = (named ? activated(this.linear1, activation, x) : undefined) ??
      (named ? activations[activation] : activation)(this.linear1.forward(x));
    return this.linear2.forward(this.dropout.forward(inner));
  }
}
