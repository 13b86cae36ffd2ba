import { scope } from "../../core/scope.ts";
import { where } from "../../ops/elementwise/where.ts";
import { type Pair, pairOf } from "../../ops/_pair.ts";
import type { Transform } from "./transform.ts";
import { framed, randomWindows, sizesOf } from "./_windows.ts";

/**
 * A patch of zeros in each image, of a size, [size, size] or [height, width], whose middle is any
 * pixel: so part of it may lie outside. As DeVries, Taylor 2017, https://arxiv.org/abs/1708.04552.
 * Any dtype; the format stays. After normalize() a zero is the mean.
 *
 * ```ts
 * import { data, ones } from "@cudeno/cudeno";
 * const y = data.transforms.cutout(2)(ones([1, 1, 3, 3]));
 * console.log(9 - y.sum().itemSync()); // the zeros, 1 to 4
 * ```
 */
export function cutout(size: Pair): Transform {
  const op = "cutout";
  const [tall, wide] = pairOf(op, "size", size, 1);
  return (x) => {
    const [n, , height, width] = sizesOf(op, x);
    if (x.size === 0) return x;
    return scope(() => {
      // One image with the patch in its middle, of which windows show any part: the first one has
      // the patch around its last pixel, the last one around its first.
      const whole = [2 * height - 1, 2 * width - 1] as const;
      const [top, left] = [height - 1 - (tall >> 1), width - 1 - (wide >> 1)];
      const start = [Math.max(0, top), Math.max(0, left)] as const;
      const end = [Math.min(whole[0], top + tall), Math.min(whole[1], left + wide)] as const;
      const extent = [end[0] - start[0], end[1] - start[1]] as const;
      const patch = x.make([1, 1, ...extent], "uint8").fill(1);
      const cut = randomWindows(framed(patch, whole, start, 0), n, [height, width]);
      return where(cut, 0, x);
    });
  };
}
