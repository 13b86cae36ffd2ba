import { writeWindow } from "../../core/layout.ts";
import { checkNumber, checkOptions, refuse } from "../../core/options.ts";
import { keep, scope } from "../../core/scope.ts";
import { rand } from "../../create.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import { where } from "../../ops/elementwise/where.ts";
import type { Tensor } from "../../tensor.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/** Options of {@linkcode randomHorizontalFlip}. */
export interface RandomHorizontalFlipOptions {
  /**
   * Whether every call gets the same images, a whole data set once an epoch, of which those that
   * were mirrored are left as they are the next time, and the others mirrored: so a network sees
   * both sides of each image in any two epochs. p is for the first call. Default false.
   */
  alternate?: boolean | undefined;
}

/**
 * Each image as in a mirror, left and right exchanged, with probability p. As torchvision's
 * RandomHorizontalFlip. Any dtype; the format stays.
 *
 * @throws {ShapeError} with `alternate`, when a call gets another number of images than the first.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const flip = data.transforms.randomHorizontalFlip(1, { alternate: true });
 * const image = tensor([[[[1, 2, 3]]]]);
 * console.log(flip(image).dataSync()); // 3, 2, 1
 * console.log(flip(image).dataSync()); // 1, 2, 3
 * ```
 */
export function randomHorizontalFlip(
  p: number = 0.5,
  options: RandomHorizontalFlipOptions = {},
): Transform {
  const op = "randomHorizontalFlip";
  checkNumber(op, "p", p, 0);
  if (p > 1) refuse(op, "p", p, "a probability, from 0 to 1");
  checkOptions(op, options, ["alternate"]);
  const { alternate = false } = options;
  let last: Tensor | undefined; // which images were mirrored
  return (x) => {
    const [n] = sizesOf(op, x);
    return scope(() => {
      if (alternate && last && last.shape[0] !== n) {
        throw new ShapeError(
          `${op}: ${n} images were given after ${
            last.shape[0]
          }; with alternate, give the same ones ` +
            "at each call, all of a data set rather than a batch",
        );
      }
      const chosen = last?.eq(0) ?? rand([n, 1, 1, 1], { device: x.device }).lt(p);
      if (alternate) {
        last?.dispose();
        last = keep(chosen);
      }
      return where(chosen, mirrored(x), x);
    });
  };
}

// flip() gives row-major images; this keeps their format.
function mirrored(x: Tensor): Tensor {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const { format } = x;
  const y = x.make(x.shape, x.dtype, format);
  const window = format === "channelsLast"
    ? {
      shape: [n * height, width, channels],
      strides: [width * channels, -channels, 1],
      offset: (width - 1) * channels,
    }
    : { shape: [n * channels * height, width], strides: [width, -1], offset: width - 1 };
  if (x.size === 0) return y;
  call(
    "cdn_strided_copy",
    y.stored(format),
    x.stored(format),
    writeWindow(window),
    window.shape.length,
    x.code,
  );
  return y;
}
