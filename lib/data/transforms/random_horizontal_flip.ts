import { writeWindow } from "../../core/layout.ts";
import { checkNumber, refuse } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { rand } from "../../create.ts";
import { call } from "../../native/call.ts";
import { where } from "../../ops/elementwise/where.ts";
import type { Tensor } from "../../tensor.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/**
 * Each image as in a mirror, left and right exchanged, with probability p. As torchvision's
 * RandomHorizontalFlip. Any dtype; the format stays.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const flip = data.transforms.randomHorizontalFlip(1);
 * console.log(flip(tensor([[[[1, 2, 3]]]])).dataSync()); // 3, 2, 1
 * ```
 */
export function randomHorizontalFlip(p: number = 0.5): Transform {
  const op = "randomHorizontalFlip";
  checkNumber(op, "p", p, 0);
  if (p > 1) refuse(op, "p", p, "a probability, from 0 to 1");
  return (x) => {
    const [n] = sizesOf(op, x);
    return scope(() => {
      const chosen = rand([n, 1, 1, 1], { device: x.device }).lt(p);
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
