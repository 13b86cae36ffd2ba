// Random orders, made on the device.
import type { DeviceName } from "./core/backend.ts";
import { drawRandom, type RandomBlocks } from "./core/random.ts";
import { scope } from "./core/scope.ts";
import { empty } from "./_empty.ts";
import { call } from "./native/call.ts";
import { argsort } from "./ops/index/sort.ts";
import type { Tensor } from "./tensor.ts";

/** Random blocks that an order of n takes. */
export const blocksOfOrder = (n: number): number => Math.ceil(n / 2);

/** The numbers 0 to n - 1 in a random order, by these random blocks or the process's. */
export function randomOrder(
  op: string,
  n: number,
  device: DeviceName | undefined,
  blocks: RandomBlocks = drawRandom(blocksOfOrder(n)),
): Tensor {
  return scope(() => {
    // 53 bits each, of which two hardly ever are alike
    const keys = empty(op, [n], { dtype: "float64", device });
    call("cdn_uniform", keys, blocks.state, n, 0, 1, blocks.seed, blocks.offset, keys.code);
    return argsort(keys);
  });
}
