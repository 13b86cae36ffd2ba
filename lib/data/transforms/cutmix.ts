import { where } from "../../ops/elementwise/where.ts";
import { philox, takeRandom } from "../../core/random.ts";
import { type BatchTransform, mixing, type MixOptions } from "./_mixing.ts";
import { framed, sizesOf } from "./_windows.ts";

/**
 * In each image of a batch a box of the one before it, in the first one of the last. The box is
 * that of a share 1 - Beta(alpha, alpha) of an image, around any pixel, cut off at the borders, and
 * the same for a batch; targets, which become probabilities [n, classes], are mixed by the pixels
 * that are left. As Yun et al. 2019, https://arxiv.org/abs/1905.04899, and torchvision's CutMix.
 * Images [n, channels, height, width] of any dtype, whose format stays; targets as for
 * {@linkcode mixup}.
 *
 * @throws {ShapeError} when inputs are no images, or targets not of as many.
 *
 * ```ts
 * import { data, rand, tensor } from "@cudeno/cudeno";
 * const batch = { input: rand([2, 3, 8, 8]), target: tensor([0, 1], { dtype: "int32" }) };
 * const { input, target } = data.transforms.cutmix({ classes: 2 })(batch);
 * console.log(input.shape, target.sum(1).dataSync()); // [2, 3, 8, 8], 1, 1
 * ```
 */
export function cutmix(options: MixOptions = {}): BatchTransform {
  return mixing("cutmix", options, (x, other, share) => {
    const [, , height, width] = sizesOf("cutmix", x);
    if (x.size === 0) return [x, 1];
    const { seed, offset } = takeRandom(1);
    const [across, down] = philox(seed, offset).map((word) => word / 2 ** 32) as [number, number];
    const spanOf = (extent: number, draw: number) => {
      const middle = Math.floor(draw * extent);
      const half = Math.trunc(0.5 * Math.sqrt(1 - share) * extent);
      return [Math.max(middle - half, 0), Math.min(middle + half, extent)] as const;
    };
    const [left, right] = spanOf(width, across), [top, bottom] = spanOf(height, down);
    const box = [bottom - top, right - left] as const;
    if (box[0] * box[1] === 0) return [x, 1];
    const cut = framed(
      x.make([1, 1, ...box], "uint8").fill(1),
      [height, width],
      [top, left],
      0,
    );
    return [where(cut, other, x), 1 - box[0] * box[1] / (height * width)];
  });
}
