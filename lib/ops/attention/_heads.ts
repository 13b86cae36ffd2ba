// Attention of several heads, of which each has a range of columns in the projections. Products
// read them there, and the gradients are written to the same ranges: nothing is copied to part or
// join heads.
import { withoutAutocast } from "../../core/autocast.ts";
import { gradEnabled, record } from "../../core/autograd.ts";
import { grad as gradientsOf, throughOps } from "../../core/backward.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { precisionOf } from "../../core/precision.ts";
import { drawRandom } from "../../core/random.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/binary.ts";
import { cast } from "../elementwise/_cast.ts";
import { type Matrices, matricesOf, multiplyInto } from "../linalg/_product.ts";
import { matmul } from "../linalg/matmul.ts";
import { drop } from "../random/_drop.ts";
import { permute, reshape } from "../shape/movement.ts";
import { slice } from "../shape/slice.ts";
import { weightsOf } from "./_weights.ts";

/** Columns of a projection: as many from `column` on as all heads have features. */
export interface Columns {
  readonly x: Tensor;
  readonly column: number;
}

// What headAttention() is told.
interface HeadOptions {
  readonly heads: number;
  /** Features of all heads. */
  readonly width: number;
  /** Projections are [batch, sequence, columns], not [sequence, batch, columns]. */
  readonly batchFirst: boolean;
  /** As scaledDotProductAttention() takes it, and of its dtypes. */
  readonly mask: Tensor | undefined;
  readonly causal: boolean;
  /** The probability that a weight becomes 0. */
  readonly dropout: number;
}

/**
 * The heads' results side by side, [batch, sequence, width], or sequence first as the projections.
 * What queries, keys and values are columns of may be one tensor; it has no other columns.
 */
export function headAttention(parts: readonly Columns[], options: HeadOptions): Tensor {
  return withoutAutocast(() => {
    const [{ x: first }] = parts as [Columns];
    const short = dtypeInfo(first.dtype).bytes === 2; // whose scores and weights are float32
    const sources = [...new Set(parts.map(({ x }) => x))];
    const wide = sources.map((x) => (short ? cast(x, "float32") : x));
    const at = parts.map(({ x, column }) => ({ source: sources.indexOf(x), column }));
    return cast(new Heads(at, options, short).attend(wide), first.dtype);
  });
}

/** Columns of one of the tensors that a list has. */
interface Place {
  readonly source: number;
  readonly column: number;
}

class Heads {
  readonly #at: readonly Place[];
  readonly #options: HeadOptions;
  readonly #precision;
  readonly #scale: number;

  constructor(at: readonly Place[], options: HeadOptions, short: boolean) {
    this.#at = at;
    this.#options = options;
    // 16-bit floats have no digits that this precision would lose.
    this.#precision = short ? "tf32" as const : precisionOf("scaledDotProductAttention");
    this.#scale = 1 / Math.sqrt(options.width / options.heads);
  }

  attend(sources: readonly Tensor[]): Tensor {
    const { heads, width, mask, causal, dropout: p } = this.#options;
    const [q, k, v] = this.#matrices(sources);
    const [batch, queries, keys] = [this.#batch(q.x), this.#length(q.x), this.#length(k.x)];
    const sizes = { batch: [batch, heads], precision: this.#precision };
    const features = width / heads;

    const scores = q.x.make([batch, heads, queries, keys]);
    const alpha = this.#scale;
    const products = { ...sizes, m: queries, n: keys, k: features, transposeB: true };
    multiplyInto(matricesOf(scores), q, k, { ...products, alpha });
    // What follows is recorded for itself, so that it has its gradient by the operations it is of.
    const inputs = mask?.requiresGrad ? [...sources, mask] : sources;
    const recorded = gradEnabled() && inputs.some((x) => x.requiresGrad);
    scores.requiresGrad = recorded;
    const leaf = mask?.requiresGrad ? mask.detach() : mask;
    if (leaf && leaf !== mask) leaf.requiresGrad = recorded;
    const random = p > 0 ? drawRandom(Math.ceil(scores.size / 4)) : undefined;
    const dropped = (x: Tensor) => random ? drop(x, p, random, "contiguous") : x;
    const weights = dropped(weightsOf(scores, leaf, causal));

    const y = q.x.make(q.x.shape.with(-1, width));
    const result = { ...sizes, m: queries, n: features, k: keys };
    multiplyInto(this.#placed(y, 0), matricesOf(weights), v, result);
    return record(y, "attention", inputs, (grad) => {
      if (gradEnabled()) {
        const composed = (...inputs: Tensor[]) => {
          const given = mask?.requiresGrad ? inputs.at(-1) : mask;
          return this.#composed(inputs, (scores) => dropped(weightsOf(scores, given, causal)));
        };
        return throughOps(composed, inputs, grad);
      }
      const dy = this.#placed(grad, 0);
      const dweights = grad.make(weights.shape);
      multiplyInto(matricesOf(dweights), dy, v, products);
      const leaves = leaf?.requiresGrad ? [scores, leaf] : [scores];
      const [dscores, dmask] = gradientsOf(weights, leaves, {
        gradOutputs: dweights,
        retainGraph: true,
      });
      const gradients = sources.map((x) => x.make(x.shape));
      const [dq, dk, dv] = this.#matrices(gradients);
      const [w, ds] = [matricesOf(weights), matricesOf(mul(dscores!, alpha))];
      multiplyInto(dq, ds, k, result);
      const turned = { ...result, m: keys, k: queries, transposeA: true };
      multiplyInto(dk, ds, q, turned);
      multiplyInto(dv, w, dy, turned);
      return [...gradients, ...(dmask ? [dmask] : [])];
    });
  }

  #matrices(sources: readonly Tensor[]): [Matrices, Matrices, Matrices] {
    const placed = this.#at.map(({ source, column }) => this.#placed(sources[source]!, column));
    return placed as [Matrices, Matrices, Matrices];
  }

  // The heads' matrices of features, from a column on.
  #placed(x: Tensor, column: number): Matrices {
    const { heads, width, batchFirst } = this.#options;
    const columns = x.shape[2]!;
    const [along, across] = [columns, x.shape[1]! * columns];
    const [ld, batch] = batchFirst ? [along, across] : [across, along];
    return { x, offset: column, ld, strides: [batch, width / heads] };
  }

  #batch = (x: Tensor) => x.shape[this.#options.batchFirst ? 0 : 1]!;
  #length = (x: Tensor) => x.shape[this.#options.batchFirst ? 1 : 0]!;

  // The same of differentiable operations, for gradients that shall have gradients.
  #composed(sources: readonly Tensor[], weights: (scores: Tensor) => Tensor): Tensor {
    const { heads, width, batchFirst } = this.#options;
    const precision = this.#precision;
    const [q, k, v] = this.#at.map(({ source, column }) => {
      const x = slice(sources[source]!, 2, column, column + width);
      const split = reshape(x, [x.shape[0]!, x.shape[1]!, heads, width / heads]);
      return permute(split, batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3]);
    }) as [Tensor, Tensor, Tensor];
    const scores = matmul(mul(q, this.#scale), k, { transposeB: true, precision });
    const found = matmul(weights(scores), v, { precision });
    const rows = permute(found, batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3]);
    return reshape(rows, sources[this.#at[0]!.source]!.shape.with(-1, width));
  }
}
