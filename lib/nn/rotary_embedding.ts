import { formatCall } from "../core/describe.ts";
import { checkInteger, checkNumber, checkOptions, refuse } from "../core/options.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { arange } from "../create.ts";
import { ShapeError } from "../native/errors.ts";
import { add, mul, sub } from "../ops/elementwise/binary.ts";
import { cos, exp, sin } from "../ops/elementwise/unary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { stack } from "../ops/shape/concat.ts";
import { reshape, unsqueeze } from "../ops/shape/movement.ts";
import { select } from "../ops/shape/select.ts";
import { checkDType, floats, inFloat32 } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode RotaryEmbedding}. */
export interface RotaryEmbeddingOptions {
  /** The frequencies are base^(-2i / dim). Default 10000. */
  base?: number | undefined;
  /**
   * Whether features 2i and 2i + 1 turn together, as in GPT-J; else i and i + dim / 2, as in Llama.
   * Default false.
   */
  interleaved?: boolean | undefined;
}

/**
 * Rotary positions (Su et al., "RoFormer", 2021) for queries and keys [..., positions, dim]: each
 * pair of features (a, b) of position p turns by the angle p base^(-2i / dim), to (a cos - b sin,
 * a sin + b cos), so that products of queries and keys depend on their distance alone. It has no
 * parameters. Angles are computed in float64.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const rotary = new nn.RotaryEmbedding(8);
 * const queries = rand([2, 4, 5, 8]); // [batch, heads, positions, dim]
 * console.log(rotary.forward(queries).shape); // [2, 4, 5, 8]
 * console.log(rotary.forward(rand([2, 4, 1, 8]), 5).shape); // of the sixth position
 * ```
 */
export class RotaryEmbedding extends Module {
  readonly #dim: number;
  readonly #base: number;
  readonly #interleaved: boolean;

  constructor(dim: number, options: RotaryEmbeddingOptions = {}) {
    super();
    checkOptions("RotaryEmbedding", options, ["base", "interleaved"]);
    const { base = 10000, interleaved = false } = options;
    checkInteger("RotaryEmbedding", "dim", dim, 2);
    if (dim % 2 !== 0) refuse("RotaryEmbedding", "dim", dim, "even");
    checkNumber("RotaryEmbedding", "base", base, 1);
    this.#dim = dim;
    this.#base = base;
    this.#interleaved = interleaved;
  }

  /** x turned; `offset` is the place of its first position, as a cache's length is. Default 0. */
  override forward(x: Tensor, offset: number = 0): Tensor {
    checkDType("RotaryEmbedding", x, floats);
    checkInteger("RotaryEmbedding", "offset", offset, 0);
    if (x.rank < 2 || x.shape.at(-1) !== this.#dim) {
      throw new ShapeError(
        `RotaryEmbedding: x is ${formatShape(x.shape)}; it must be [..., positions, ${this.#dim}]`,
      );
    }
    const [positions, half] = [x.shape.at(-2)!, this.#dim / 2];
    const place = { dtype: "float64", device: x.device } as const;
    const frequencies = exp(mul(arange(0, half, 1, place), -Math.log(this.#base) / half));
    const angles = mul(unsqueeze(arange(offset, offset + positions, 1, place), 1), frequencies);
    // [..., positions, half, 2], or with the pair's axis before the other
    const at = this.#interleaved ? 3 : 2;
    const shape = [sizeOf(x.shape.slice(0, -2)), positions, half].toSpliced(at, 0, 2);
    return inFloat32([x], (x) => {
      const [c, s] = [cast(cos(angles), x.dtype), cast(sin(angles), x.dtype)];
      const pairs = reshape(x, shape);
      const [a, b] = [select(pairs, at, 0), select(pairs, at, 1)];
      const turned = [sub(mul(a, c), mul(b, s)), add(mul(a, s), mul(b, c))];
      return reshape(stack(turned, at), x.shape);
    });
  }

  /** `RotaryEmbedding(dim)`. */
  override describe(): string {
    return formatCall("RotaryEmbedding", [this.#dim], {
      base: this.#base === 10000 ? undefined : this.#base,
      interleaved: this.#interleaved || undefined,
    });
  }
}
