import { checkOptions } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { UnfoldOptions } from "./fold.ts";
import type { Kernel } from "./_linear_map.ts";
import { pairOf } from "../_pair.ts";

type Two = [height: number, width: number];

/** The windows that options name. */
interface Checked {
  kernel: Two;
  step: Two;
  margin: Two;
  spread: Two;
}

/** The windows of images of a size. */
interface Windows {
  kernel: Two;
  /** How many there are, down and along. */
  count: number[];
  there: (code: number, images: number) => Kernel;
  back: (code: number, images: number) => Kernel;
}

/** The options of unfold(), checked; those of fold() but for outputSize, which it has `too`. */
export function checkWindows(op: string, options: UnfoldOptions, ...too: string[]): Checked {
  checkOptions(op, options, [...too, "kernelSize", "dilation", "padding", "stride"]);
  const { kernelSize, dilation = 1, padding = 0, stride = 1 } = options;
  return {
    kernel: pairOf(op, "kernelSize", kernelSize, 1),
    step: pairOf(op, "stride", stride, 1),
    margin: pairOf(op, "padding", padding, 0),
    spread: pairOf(op, "dilation", dilation, 1),
  };
}

/** What unfold() and fold() know of images of a height and a width. */
export function windowsOf(
  op: string,
  [h, w]: Two,
  { kernel, step, margin, spread }: Checked,
): Windows {
  const count = [h, w].map((extent, i) =>
    Math.floor((extent + 2 * margin[i]! - spread[i]! * (kernel[i]! - 1) - 1) / step[i]!) + 1
  );
  if (h < 1 || w < 1 || count.some((n) => n < 1)) {
    throw new ShapeError(
      `${op}: windows of ${formatShape(kernel)}, dilated by ${formatShape(spread)}, do not fit ` +
        `images of ${formatShape([h, w])} with ${formatShape(margin)} of padding`,
    );
  }
  const sizes = [h, w, ...kernel, ...step, ...margin, ...spread] as const;
  return {
    kernel,
    count,
    there: (code, images) => (y, x) => calls.cdn_unfold(y, x, images, ...sizes, code),
    back: (code, images) => (y, x) => calls.cdn_fold(y, x, images, ...sizes, code),
  };
}
