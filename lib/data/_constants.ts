import { computeDType } from "../core/dtype.ts";
import { keep, scope } from "../core/scope.ts";
import type { Shape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Two lists of numbers as tensors of a shape, for operations with another tensor: made once for a
 * device and dtype, so that a batch copies nothing from the host.
 */
export function constants(
  lists: readonly [readonly number[], readonly number[]],
  shape: Shape,
): (like: Tensor) => [Tensor, Tensor] {
  const made = new Map<string, [Tensor, Tensor]>();
  return ({ device, dtype }) => {
    const place = { device, dtype: computeDType(dtype), shape };
    const key = `${device} ${place.dtype}`;
    let both = made.get(key);
    if (!both || both.some((x) => x.disposed)) {
      both = scope(() => lists.map((list) => tensor(Float64Array.from(list), place)))
        .map(keep) as [Tensor, Tensor];
      made.set(key, both);
    }
    return both;
  };
}
