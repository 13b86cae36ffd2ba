import { record } from "../../core/autograd.ts";
import type { MemoryFormat } from "../../core/layout.ts";
import type { RandomBlocks } from "../../core/random.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * With random numbers that are given, and a tensor like x that is added to the result: linear in x,
 * and so its own gradient, if that goes through memory in the same order.
 */
export function drop(
  x: Tensor,
  p: number,
  from: RandomBlocks,
  format: MemoryFormat,
  residual?: Tensor,
): Tensor {
  const y = x.make(x.shape, x.dtype, format);
  const { state, seed, offset } = from;
  const [to, own, more] = [y, x, residual ?? null].map((x) => x && x.stored(format));
  call("cdn_dropout", to!, own!, more!, state, x.size, p, seed, offset, x.code);
  return record(
    y,
    "dropout",
    residual ? [x, residual] : [x],
    (grad) => [drop(grad, p, from, format), ...residual ? [grad] : []],
  );
}
