import type { DeviceName } from "./core/backend.ts";
import { checkInteger, checkOptions } from "./core/options.ts";
import { blocksOf, drawRandom, type RandomBlocks } from "./core/random.ts";
import { scope } from "./core/scope.ts";
import { empty } from "./_empty.ts";
import { call } from "./native/call.ts";
import { argsort } from "./ops/index/sort.ts";
import type { Tensor } from "./tensor.ts";

/** Options of {@linkcode randperm}. */
export interface RandpermOptions {
  /** For the same order each time. Default: the library's random numbers, as manualSeed() says. */
  seed?: number | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
}

/**
 * The numbers 0 to n - 1 in a random order, int32 [n], made on the device: all orders are about
 * equally likely. The same on every device for one seed. As torch.randperm.
 *
 * ```ts
 * import { rand, randperm } from "@cudeno/cudeno";
 * const x = rand([4, 3]);
 * console.log(x.indexSelect(0, randperm(4, { seed: 7 })).shape); // [4, 3]: its rows, shuffled
 * ```
 */
export function randperm(n: number, options: RandpermOptions = {}): Tensor {
  checkOptions("randperm", options, ["seed", "device"]);
  checkInteger("randperm", "n", n, 0);
  return randomOrder("randperm", n, options.device, blocksOf("randperm", options.seed));
}

/** Random blocks that an order of n takes. */
export const blocksOfOrder = (n: number): number => Math.ceil(n / 2);

/** The same from these random blocks, or the process's. */
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
