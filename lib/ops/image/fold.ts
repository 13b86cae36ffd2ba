import { checkShape, formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { linearMap } from "./_linear_map.ts";
import { pairOf } from "../_pair.ts";
import { checkImages } from "./_images.ts";
import { checkWindows, windowsOf } from "./_windows.ts";

/** Options of {@linkcode unfold}: each a number, or [height, width]. */
export interface UnfoldOptions {
  /** The extents of a window. */
  kernelSize: number | readonly [height: number, width: number];
  /** The steps from one element of a window to the next. Default 1. */
  dilation?: number | readonly [height: number, width: number] | undefined;
  /** Rows and columns of 0 on each side. Default 0. */
  padding?: number | readonly [height: number, width: number] | undefined;
  /** The steps from one window to the next. Default 1. */
  stride?: number | readonly [height: number, width: number] | undefined;
}

/** Options of {@linkcode fold}. */
export interface FoldOptions extends UnfoldOptions {
  /** The height and width of the images. */
  outputSize: number | readonly [height: number, width: number];
}

/**
 * The windows of images [n, c, h, w] as columns, [n, c kh kw, l]: rows run over the channels and
 * the elements of a window, columns over its l places, row by row. The gradient is
 * {@linkcode fold}. As torch.nn.functional.unfold. Floats.
 *
 * @throws {ShapeError} when x is not [n, channels, height, width], or no window fits.
 *
 * ```ts
 * import { rand, unfold } from "@cudeno/cudeno";
 * console.log(unfold(rand([2, 3, 4, 5]), { kernelSize: [2, 3] }).shape); // [2, 18, 9]
 * ```
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor {
  const op = "unfold";
  const windows = checkWindows(op, options);
  checkDType(op, x, floats);
  checkImages(op, x.shape);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const { kernel, count, there, back } = windowsOf(op, [h, w], windows);
  const shape = [n, c * kernel[0] * kernel[1], count[0]! * count[1]!];
  checkShape(op, shape);
  return linearMap(op, x, shape, "contiguous", there(x.code, n * c), back(x.code, n * c));
}

/**
 * Images [n, c, h, w] with the columns [n, c kh kw, l] added up where their windows lie; what
 * overlaps adds, in a fixed order, so that `fold(unfold(x))` is x times the count of windows over
 * each pixel. The gradient is {@linkcode unfold}. As torch.nn.functional.fold. Floats; sums of
 * 16-bit ones are rounded once.
 *
 * @throws {ShapeError} when x is not [n, c kh kw, l] for the windows of such images.
 *
 * ```ts
 * import { fold, ones } from "@cudeno/cudeno";
 * const y = fold(ones([1, 4, 2]), { outputSize: [2, 3], kernelSize: 2 });
 * console.log(y.dataSync()); // 1, 2, 1, twice
 * ```
 */
export function fold(x: Tensor, options: FoldOptions): Tensor {
  const op = "fold";
  const windows = checkWindows(op, options, "outputSize");
  checkDType(op, x, floats);
  const size = pairOf(op, "outputSize", options.outputSize, 1);
  const { kernel, count, there, back } = windowsOf(op, size, windows);
  const [elements, places] = [kernel[0] * kernel[1], count[0]! * count[1]!];
  const [n, rows, columns] = x.shape as [number, number, number];
  if (x.rank !== 3 || rows % elements !== 0 || columns !== places) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; for these windows it must be [n, channels * ` +
        `${elements}, ${places}]`,
    );
  }
  const shape = [n, rows / elements, ...size];
  checkShape(op, shape);
  const images = n * rows / elements;
  return linearMap(op, x, shape, "contiguous", back(x.code, images), there(x.code, images));
}
