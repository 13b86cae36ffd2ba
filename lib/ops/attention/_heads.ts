// Attention of several heads, of which each has a range of columns in the projections. They are
// read there, and the gradients are written to the same ranges: nothing is copied to part or join
// heads.
import { withoutAutocast } from "../../core/autocast.ts";
import { precisionOf } from "../../core/precision.ts";
import type { Tensor } from "../../tensor.ts";
import { permute, reshape } from "../shape/movement.ts";
import { slice } from "../shape/slice.ts";
import { attend, type Heads, type Place } from "./_attention.ts";

/** Columns of a projection: as many from `column` on as all heads have features. */
export interface Columns {
  readonly x: Tensor;
  readonly column: number;
}

// What headAttention() is told.
interface HeadOptions {
  readonly heads: number;
  /** Of keys and values, a divisor of heads: each serves as many that follow one another. */
  readonly kvHeads?: number | undefined;
  /** Features of all heads. */
  readonly width: number;
  /** Projections are [batch, sequence, columns], not [sequence, batch, columns]. */
  readonly batchFirst: boolean;
  /** As scaledDotProductAttention() takes it, and of its dtypes. */
  readonly mask: Tensor | undefined;
  readonly causal: boolean;
  readonly offset: number;
  /** The probability that a weight becomes 0. */
  readonly dropout: number;
}

/**
 * The heads' results side by side, [batch, sequence, width], or sequence first as the projections.
 * What queries, keys and values are columns of may be one tensor; it has no other columns.
 */
export function headAttention(parts: readonly Columns[], options: HeadOptions): Tensor {
  const { heads, kvHeads = heads, width, batchFirst, causal, mask, offset, dropout } = options;
  const features = width / heads;
  const sources = [...new Set(parts.map(({ x }) => x))];
  const at = parts.map(({ x, column }) => ({ source: sources.indexOf(x), column }));
  const [q, k] = parts as [Columns, Columns];
  const [batchAxis, axis] = batchFirst ? [0, 1] : [1, 0];
  const placed = (shape: readonly number[], offset: number, columns: number): Place => {
    const across = shape[1]! * columns;
    const [batch, row] = batchFirst ? [across, columns] : [columns, across];
    return { offset, strides: [batch, features, row] };
  };
  const shape = q.x.shape.with(-1, width);
  const plan: Heads = {
    parts: at.map(({ source, column }) => {
      const { shape } = sources[source]!;
      return { source, ...placed(shape, column, shape[2]!) };
    }) as unknown as Heads["parts"],
    shape,
    place: placed(shape, 0, width),
    parted: (sources) =>
      at.map(({ source, column }, i) => {
        const x = sources[source]!, count = i === 0 ? heads : kvHeads;
        const own = slice(x, 2, column, column + count * features);
        const split = reshape(own, [x.shape[0]!, x.shape[1]!, count, features]);
        return permute(split, batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3]);
      }) as [Tensor, Tensor, Tensor],
    joined: (y) => reshape(permute(y, batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3]), shape),
  };
  return withoutAutocast(() =>
    attend(sources, plan, {
      ...{ batch: q.x.shape[batchAxis]!, heads, kvHeads },
      ...{ queries: q.x.shape[axis]!, keys: k.x.shape[axis]!, features, outFeatures: features },
      ...{ mask, offset, fromEnd: false, window: [-1, causal ? 0 : -1] as const },
      ...{ scale: 1 / Math.sqrt(features), dropout },
      precision: precisionOf("scaledDotProductAttention"),
    })
  );
}
