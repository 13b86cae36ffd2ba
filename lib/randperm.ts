import type { DeviceName } from "./core/backend.ts";
import { checkInteger, checkOptions } from "./core/options.ts";
import { blocksOf } from "./core/random.ts";
import { randomOrder } from "./_random_order.ts";
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
