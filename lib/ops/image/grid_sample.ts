import { checkChoice, checkOptions } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  floats,
  inFloat32,
} from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { add, mul } from "../elementwise/binary.ts";
import { indexSelect } from "../index/index_select.ts";
import { permute, reshape } from "../shape/movement.ts";
import { select } from "../shape/select.ts";
import { checkImages } from "./_images.ts";
import { places } from "./_places.ts";
import { tapsOf } from "./_sampling.ts";

/** Options of {@linkcode gridSample}. */
export interface GridSampleOptions {
  /** How pixels are weighted. Default "bilinear". */
  mode?: "bilinear" | "nearest" | "bicubic" | undefined;
  /**
   * What stands beyond the borders: zeros, the pixels at the border, or the image mirrored at it.
   * Default "zeros".
   */
  paddingMode?: "zeros" | "border" | "reflection" | undefined;
  /** Whether -1 and 1 are the middles of the corner pixels, not the borders. Default false. */
  alignCorners?: boolean | undefined;
}

/**
 * Images x [n, channels, h, w] read at the places of a grid [n, out h, out w, 2] of (x, y), from -1
 * at the left and top to 1: [n, channels, out h, out w]. Gradients for both; that of x adds up what
 * meets in a pixel in a fixed order. Made of operations: a selection of pixels, with all their
 * channels, for each of the 1, 4 or 16 that are weighted. Floats; 16-bit ones compute in float32.
 * As torch.nn.functional.grid_sample.
 *
 * @throws {ShapeError} when x is not [n, channels, height, width] with pixels, or the grid not [n,
 * height, width, 2].
 *
 * ```ts
 * import { gridSample, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[[1, 2], [3, 4]]]]);
 * const grid = tensor([[[[0, 0], [-0.5, 0.5]]]]); // the middle, and the pixel at the bottom left
 * console.log(gridSample(x, grid).dataSync()); // 2.5, 3
 * ```
 */
export function gridSample(x: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  const op = "gridSample";
  checkOptions(op, options, ["mode", "paddingMode", "alignCorners"]);
  const { mode = "bilinear", paddingMode = "zeros", alignCorners = false } = options;
  checkChoice(op, "mode", mode, { bilinear: 0, nearest: 0, bicubic: 0 });
  checkChoice(op, "paddingMode", paddingMode, { zeros: 0, border: 0, reflection: 0 });
  checkDType(op, x, floats);
  [x, grid] = autocasted("widest", x, grid);
  checkSameDevice(op, x, grid);
  checkSameDType(op, x, grid);
  checkImages(op, x.shape);
  const [n, channels, h, w] = x.shape as [number, number, number, number];
  if (grid.rank !== 4 || grid.shape[0] !== n || grid.shape[3] !== 2 || h * w === 0) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}, the grid ${formatShape(grid.shape)}; it must be ` +
        `[${n}, height, width, 2], and x have pixels`,
    );
  }
  if (n * h * w > 2 ** 31 - 1) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; its pixels are more than int32 counts`,
    );
  }
  const [, height, width] = grid.shape as [number, number, number];
  return inFloat32([x, grid], (x, grid) => {
    const pixels = reshape(permute(x, [0, 2, 3, 1]), [n * h * w, channels]);
    const axis = (extent: number) => ({ extent, padding: paddingMode, align: alignCorners });
    const flat = reshape(grid, [n, height * width, 2]);
    const along = tapsOf(mode, select(flat, 2, 0), axis(w));
    const down = tapsOf(mode, select(flat, 2, 1), axis(h));
    const image = reshape(mul(places(grid, n, "int32"), h * w), [n, 1]);
    let sum: Tensor | undefined;
    for (const y of down) {
      const line = add(image, mul(y.index, w));
      for (const x of along) {
        const index = reshape(add(line, x.index), [n * height * width]);
        const weight = reshape(mul(y.weight, x.weight), [n * height * width, 1]);
        const part = weigh(indexSelect(pixels, 0, index), weight);
        sum = sum ? add(sum, part) : part;
      }
    }
    return permute(reshape(sum!, [n, height, width, channels]), [0, 3, 1, 2]);
  });
}
