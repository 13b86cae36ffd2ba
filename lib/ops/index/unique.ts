import { checkNoGradient } from "../../core/autograd.ts";
import { scope } from "../../core/scope.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { sub } from "../elementwise/binary.ts";
import { ne } from "../elementwise/compare.ts";
import { cumsum } from "../reduce/cumsum.ts";
import { flatten, reshape } from "../shape/movement.ts";
import { pad } from "../shape/pad.ts";
import { slice } from "../shape/slice.ts";
import { counting, scattered } from "./_scatter.ts";
import { indexSelect } from "./index_select.ts";
import { sort } from "./sort.ts";

/** What {@linkcode unique} gives. */
export interface Unique {
  /** The values, each once, in ascending order, [n]. */
  values: Tensor;
  /** For each element of x the place of its value among those, int32, of the shape of x. */
  inverse: Tensor;
  /** How often each value is there, int32 [n]. */
  counts: Tensor;
}

// The elements in order, the number of the value of each, and where each was.
function grouped(x: Tensor) {
  checkTensor("unique", x);
  checkNoGradient("unique", x);
  const line = flatten(x), n = line.size;
  const { values, indices } = sort(line);
  const steps = n === 0 ? line : ne(slice(values, 0, 1), slice(values, 0, 0, n - 1));
  const group = pad(cumsum(cast(steps, "int32"), 0), [[n === 0 ? 0 : 1, 0]]);
  return { values, indices, group, largest: slice(group, 0, -1) };
}

function summary(x: Tensor, { values, indices, group }: ReturnType<typeof grouped>, n: number) {
  const { cdn_scatter: kernel } = calls;
  const inverse = scattered(kernel, null, group.shape, 0, indices, group, 2);
  // Of equal ones the last stays.
  const ends = scattered(kernel, null, [n], 0, group, counting(group, group.size), 0);
  const before = pad(slice(ends, 0, 0, -1), [[1, 0]], { value: -1 });
  return {
    values: indexSelect(values, 0, ends),
    inverse: reshape(inverse, x.shape),
    counts: sub(ends, before),
  };
}

/**
 * The values that there are in x, each once, in ascending order, where each element's is among
 * them, and how often each is there. Any dtype; no gradient. NaN equals nothing, so that each is a
 * value of its own, behind all others. How many there are has to be read, which this waits for, as
 * data() does; {@linkcode uniqueSync} waits at once. As torch.unique with return_inverse and
 * return_counts.
 *
 * ```ts
 * import { tensor, unique } from "@cudeno/cudeno";
 * const { values, inverse, counts } = await unique(tensor([3, 1, 3, 2]));
 * console.log(values.dataSync(), inverse.dataSync()); // 1, 2, 3; 2, 0, 2, 1
 * console.log(counts.dataSync()); // 1, 1, 2
 * ```
 */
export function unique(x: Tensor): Promise<Unique> {
  return scope(async () => {
    const found = grouped(x);
    return summary(x, found, x.size && await found.largest.item() + 1);
  });
}

/**
 * As {@linkcode unique}, but waits here.
 *
 * ```ts
 * import { tensor, uniqueSync } from "@cudeno/cudeno";
 * console.log(uniqueSync(tensor([3, 1, 3, 2])).values.dataSync()); // 1, 2, 3
 * ```
 */
export function uniqueSync(x: Tensor): Unique {
  return scope(() => {
    const found = grouped(x);
    return summary(x, found, x.size && found.largest.itemSync() + 1);
  });
}
