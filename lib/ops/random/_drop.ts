import { record } from "../../core/autograd.ts";
import type { MemoryFormat } from "../../core/layout.ts";
import type { RandomBlocks } from "../../core/random.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * With random numbers that are given: linear in x, and so its own gradient, if that goes through
 * memory in the same order.
 */
export function drop(x: Tensor, p: number, from: RandomBlocks, format: MemoryFormat): Tensor {
  const y = x.make(x.shape, x.dtype, format);
  const { state, seed, offset } = from;
  call("cdn_dropout", y.stored(format), x.stored(format), state, x.size, p, seed, offset, x.code);
  return record(y, "dropout", [x], (grad) => [drop(grad, p, from, format)]);
}
