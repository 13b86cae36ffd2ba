import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkChoice, checkInteger, checkOptions, optionsOf, refuse } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { arange } from "../create.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { seen } from "../nn/_attend.ts";
import { Dropout } from "../nn/dropout.ts";
import { Embedding } from "../nn/embedding.ts";
import * as init from "../nn/init.ts";
import { KVCache } from "../nn/kv_cache.ts";
import { Linear } from "../nn/linear.ts";
import { type AnyModule, type LoadResult, Module, type StateDict } from "../nn/module.ts";
import { LayerNorm } from "../nn/row_norm.ts";
import { checkDType } from "../ops/_operands.ts";
import { add } from "../ops/elementwise/binary.ts";
import { linear } from "../ops/linalg/linear.ts";
import { slice } from "../ops/shape/slice.ts";
import type { Tensor } from "../tensor.ts";
import { checkFlag } from "./_check.ts";
import { GPTBlock } from "./_gpt_block.ts";

/** Options of {@linkcode gpt}. */
export interface GPTOptions {
  /** How many tokens there are. Default 50257. */
  vocabSize?: number | undefined;
  /** The most positions that it has. Default 1024. */
  contextLength?: number | undefined;
  /** Features of each position. Default 768. */
  dModel?: number | undefined;
  /** Blocks. Default 12. */
  layers?: number | undefined;
  /** Heads of attention, which divide dModel. Default dModel / 64, whole, at least 1. */
  heads?: number | undefined;
  /** Features within the blocks' multilayer perceptrons. Default 4 dModel. */
  feedForward?: number | undefined;
  /** The probability of each dropout. Default 0.1. */
  dropout?: number | undefined;
  /** Whether scores are products with the embeddings, and not of a layer's own. Default true. */
  tieWeights?: boolean | undefined;
  /** Default 1e-5. */
  layerNormEps?: number | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** What a {@linkcode GPT} is told beside the tokens. */
export interface GPTForwardOptions {
  /** One for each block, as cache() makes them: tokens go on where the calls before ended. */
  cache?: readonly KVCache[] | null | undefined;
  /** [batch, keys], uint8: anything but 0 hides a key. Keys of a cache count too. */
  keyPaddingMask?: Tensor | null | undefined;
  /** The places of the tokens, int32 [batch, positions]. Default: one after another. */
  positions?: Tensor | null | undefined;
  /** Only the scores after the last token: [batch, 1, vocabSize]. Default false. */
  last?: boolean | undefined;
}

const optionNames = [
  ...["vocabSize", "contextLength", "dModel", "layers", "heads", "feedForward", "dropout"],
  ...["tieWeights", "layerNormEps", "device", "dtype"],
];

/**
 * GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019), as
 * {@linkcode gpt} makes it.
 *
 * ```ts
 * import { models, tensor } from "@cudeno/cudeno";
 * const model = new models.GPT({ vocabSize: 65, contextLength: 32, dModel: 64, layers: 2 });
 * console.log(model.forward(tensor([[1, 2, 3]], { dtype: "int32" })).shape); // [1, 3, 65]
 * ```
 */
export class GPT extends Module {
  /** Embeddings of tokens and places, the blocks and the last normalisation. */
  transformer: { wte: Embedding; wpe: Embedding; drop: Dropout; h: AnyModule[]; ln_f: LayerNorm };
  /** What gives the scores, where that is not the tokens' embedding. */
  lm_head: Linear | null = null;

  /** As gpt() takes them. */
  constructor(options: GPTOptions = {}) {
    super();
    checkOptions("gpt", options, optionNames);
    const { dModel = 768 } = options;
    checkInteger("gpt", "dModel", dModel, 1);
    const all = optionsOf<Omit<GPTOptions, "device" | "dtype">>("gpt", without(options), {
      ...{ vocabSize: 50257, contextLength: 1024, dModel, layers: 12, feedForward: 4 * dModel },
      ...{ heads: Math.max(1, Math.floor(dModel / 64)), dropout: 0.1, tieWeights: true },
      layerNormEps: 1e-5,
    });
    const { vocabSize, contextLength, layers, heads, dropout, tieWeights } = all;
    for (const [name, value] of Object.entries({ vocabSize, contextLength, layers, heads })) {
      checkInteger("gpt", name, value, 1);
    }
    checkInteger("gpt", "feedForward", all.feedForward, 1);
    checkFlag("gpt", "tieWeights", tieWeights);
    if (dModel % heads !== 0) {
      throw new ArgumentError(`gpt: heads is ${heads}; it must divide dModel, ${dModel}`);
    }
    const place = { device: options.device, dtype: options.dtype };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    const own = <M extends Module>(module: M) => undo.adopt(module, (module) => module.dispose());
    const sizes = { dModel, heads, dropout, feedForward: all.feedForward, eps: all.layerNormEps };
    const normal = <M extends { weight: Tensor }>(layer: M) => {
      init.normal(layer.weight, { std: 0.02 });
      return layer;
    };
    this.transformer = {
      wte: normal(own(new Embedding(vocabSize, dModel, place))),
      wpe: normal(own(new Embedding(contextLength, dModel, place))),
      drop: new Dropout({ p: dropout }),
      // the more ways around are added up, the less each starts with
      h: Array.from(
        { length: layers },
        () => own(new GPTBlock(sizes, 0.02 / Math.sqrt(2 * layers), place)),
      ),
      ln_f: own(new LayerNorm(dModel, { ...place, eps: all.layerNormEps })),
    };
    if (!tieWeights) {
      this.lm_head = normal(own(new Linear(dModel, vocabSize, { ...place, bias: false })));
    }
    undo.move();
  }

  /** The most positions that it has. */
  get contextLength(): number {
    return this.transformer.wpe.weight.shape[0]!;
  }

  /** Empty caches, one for each block, for forward(); the caller disposes of them. */
  cache(): KVCache[] {
    return this.transformer.h.map(() => new KVCache());
  }

  /**
   * The scores of what comes next, [batch, positions, vocabSize], after each of the tokens, int32
   * [batch, positions]; crossEntropy() takes both with their first two axes joined (`flatten(0,
   * 1)`).
   *
   * @throws {ShapeError} for tokens of other axes, or more than contextLength.
   */
  override forward(tokens: Tensor, options: GPTForwardOptions = {}): Tensor {
    checkOptions("GPT", options, ["cache", "keyPaddingMask", "positions", "last"]);
    checkDType("GPT: tokens", tokens, ["int32"]);
    const { cache, keyPaddingMask, positions, last = false } = options;
    const { wte, wpe, drop, h, ln_f } = this.transformer;
    if (cache && (!Array.isArray(cache) || cache.length !== h.length)) {
      refuse("GPT", "cache", cache, `a list of ${h.length}, as model.cache() makes it`);
    }
    const past = cache?.[0]?.length ?? 0;
    const [batch, count] = tokens.shape as [number, number];
    if (tokens.rank !== 2 || past + count > this.contextLength) {
      throw new ShapeError(
        `GPT: tokens are ${formatShape(tokens.shape)}${past ? ` after ${past}` : ""}; they must ` +
          `be [batch, positions], with ${this.contextLength} positions at most`,
      );
    }
    const keys = [batch, past + count];
    if (keyPaddingMask && `${keyPaddingMask.shape}` !== `${keys}`) {
      const found = formatShape(keyPaddingMask.shape);
      throw new ShapeError(`GPT: keyPaddingMask is ${found}; it must be ${formatShape(keys)}`);
    }
    const mask = keyPaddingMask ? seen(keyPaddingMask) : undefined;
    const places = positions ??
      arange(past, past + count, 1, { dtype: "int32", device: tokens.device });
    let x = drop.forward(add(wte.forward(tokens), wpe.forward(places)));
    for (const [i, block] of (h as GPTBlock[]).entries()) {
      x = block.forward(x, { mask, cache: cache?.[i] });
    }
    if (last) x = slice(x, 1, -1);
    x = ln_f.forward(x);
    return this.lm_head ? this.lm_head.forward(x) : linear(x, wte.weight);
  }

  /**
   * As {@linkcode Module.loadStateDict}; takes GPT-2's names as Hugging Face's files have them too:
   * without `transformer.`, with masks (`attn.bias`), with or without lm_head.weight.
   */
  override loadStateDict(
    state: StateDict,
    options: { strict?: boolean | undefined } = {},
  ): LoadResult {
    const named = Object.entries(state).map(([name, x]): [string, Tensor] => [
      /^(wte|wpe|h|ln_f)\./.test(name) ? `transformer.${name}` : name,
      x,
    ]).filter(([name]) => !/\.attn\.(masked_)?bias$/.test(name));
    const own = Object.fromEntries(named);
    if (!this.lm_head) delete own["lm_head.weight"];
    else if (own["transformer.wte.weight"]) {
      own["lm_head.weight"] ??= own["transformer.wte.weight"];
    }
    return super.loadStateDict(own, options);
  }
}

function without({ device: _device, dtype: _dtype, ...options }: GPTOptions) {
  return options;
}

/**
 * A GPT with GPT-2's architecture, parameters and start: tokens' and places' embeddings, blocks of
 * causal attention and of a multilayer perceptron with gelu (by tanh), each after a normalisation
 * and with a way around; 124,439,808 parameters. Its keys are Hugging Face's:
 * transformer.wte.weight, transformer.h.0.attn.c_attn.weight ([in, out]), …
 *
 * ```ts
 * import { crossEntropy, models, tensor } from "@cudeno/cudeno";
 * const model = models.gpt({ vocabSize: 65, contextLength: 32, dModel: 64, layers: 2 });
 * const text = tensor([[5, 1, 8, 8, 9]], { dtype: "int32" });
 * const scores = model.forward(text.slice(1, 0, -1));
 * const loss = crossEntropy(scores.flatten(0, 1), text.slice(1, 1).flatten());
 * console.log(scores.shape, loss.itemSync()); // [1, 4, 65], about ln(65) = 4.2
 * ```
 */
export function gpt(options: GPTOptions = {}): GPT {
  return new GPT(options);
}

const sizes = {
  "124M": { dModel: 768, layers: 12, heads: 12 },
  "355M": { dModel: 1024, layers: 24, heads: 16 },
  "774M": { dModel: 1280, layers: 36, heads: 20 },
  "1558M": { dModel: 1600, layers: 48, heads: 25 },
};

/**
 * {@linkcode gpt} of one of the sizes that GPT-2 was published in. Its weights, Hugging Face's
 * model.safetensors, are for loadStateDict():
 *
 * ```ts ignore
 * import { io, models } from "@cudeno/cudeno";
 * const model = models.gpt2("124M");
 * model.loadStateDict(await io.loadSafetensors("gpt2/model.safetensors"));
 * ```
 */
export function gpt2(
  size: "124M" | "355M" | "774M" | "1558M" = "124M",
  options: Omit<GPTOptions, "dModel" | "layers" | "heads"> = {},
): GPT {
  checkChoice("gpt2", "size", size, sizes);
  return gpt({ ...options, ...sizes[size] });
}
