import type { DeviceName } from "../core/backend.ts";
import { checkInteger, checkOptions, refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { arange, tensor } from "../create.ts";
import { ShapeError } from "../native/errors.ts";
import { add } from "../ops/elementwise/binary.ts";
import { take } from "../ops/index/take.ts";
import { unsqueeze } from "../ops/shape/movement.ts";
import { slice } from "../ops/shape/slice.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import type { Dataset } from "./dataset.ts";

/** Options of {@linkcode TokenDataset}. */
export interface TokenDatasetOptions {
  /** The tokens of a sample. */
  contextLength: number;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
}

/**
 * Pieces of a text to learn a language model on: sample i is the contextLength tokens from place i
 * on, and its target those one place further on. The text lives on the device once.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const set = new data.TokenDataset([5, 6, 7, 8, 9], { contextLength: 3 });
 * const { input, target } = set.batch(tensor([1], { dtype: "int32" }));
 * console.log(set.length, input.dataSync(), target.dataSync()); // 2, [6, 7, 8], [7, 8, 9]
 * ```
 */
export class TokenDataset implements Dataset {
  /** All tokens, int32. */
  readonly tokens: Tensor;
  /** The tokens of a sample. */
  readonly contextLength: number;

  constructor(tokens: ArrayLike<number>, options: TokenDatasetOptions) {
    checkOptions("TokenDataset", options, ["contextLength", "device"]);
    const { contextLength, device } = options;
    checkInteger("TokenDataset", "contextLength", contextLength, 1);
    if (typeof tokens?.length !== "number" || typeof tokens === "string") {
      refuse(
        "TokenDataset",
        "tokens",
        tokens,
        "a list of numbers, as a tokenizer's encode() gives",
      );
    }
    // As an int32, what is no token would be another one: a word that no table has, 0.
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i]!;
      if (Number.isInteger(token) && token >= 0 && token < 2 ** 31) continue;
      refuse("TokenDataset", `tokens[${i}]`, token, "a whole number, at least 0, of int32");
    }
    if (tokens.length <= contextLength) {
      throw new ShapeError(
        `TokenDataset: there are ${tokens.length} tokens; of pieces of ${contextLength} with the ` +
          "tokens that follow there must be one more at least",
      );
    }
    this.tokens = keep(tensor(Int32Array.from(tokens), { dtype: "int32", device }));
    this.contextLength = contextLength;
  }

  /** How many places samples begin at. */
  get length(): number {
    return this.tokens.size - this.contextLength;
  }

  /** Where the tokens live. */
  get device(): DeviceName {
    return this.tokens.device;
  }

  /** The pieces that begin at the places `index`, [n]: both are int32 [n, contextLength]. */
  batch(index: Tensor): Batch {
    if (index.rank !== 1) {
      throw new ShapeError(`TokenDataset: the index is ${formatShape(index.shape)}, not [n]`);
    }
    return scope(() => {
      const { device } = this;
      const steps = arange(0, this.contextLength + 1, 1, { dtype: "int32", device });
      const pieces = take(this.tokens, add(unsqueeze(index, 1), steps));
      return { input: slice(pieces, 1, 0, -1), target: slice(pieces, 1, 1) };
    });
  }

  /** Frees the tokens. */
  dispose(): void {
    this.tokens.dispose();
  }
}
