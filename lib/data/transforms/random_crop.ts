import { checkChoice, checkOptions } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import { paddingModes } from "../../ops/conv/_window.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { type Pair, pairOf } from "../../ops/_pair.ts";
import { pad } from "../../ops/shape/pad.ts";
import type { Tensor } from "../../tensor.ts";
import type { Transform } from "./transform.ts";
import { framed, randomWindows, type Size, sizesOf } from "./_windows.ts";

/** Options of {@linkcode randomCrop}. */
export interface RandomCropOptions {
  /** Pixels added above and below, and beside, before the crop. Default 0. */
  padding?: Pair | undefined;
  /** What they are: as for nn.Conv2d. Default `"zeros"`. */
  paddingMode?: "zeros" | "reflect" | "replicate" | "circular" | undefined;
}

/**
 * Of each image a part of a size, [size, size] or [height, width], at a random place, all places
 * being equally likely. As torchvision's RandomCrop. Any dtype; the format stays.
 *
 * @throws {ShapeError} when images, with their padding, are smaller than the size.
 *
 * ```ts
 * import { data, rand } from "@cudeno/cudeno";
 * const crop = data.transforms.randomCrop(32, { padding: 4, paddingMode: "reflect" });
 * console.log(crop(rand([8, 3, 32, 32])).shape); // [8, 3, 32, 32]
 * ```
 */
export function randomCrop(size: Pair, options: RandomCropOptions = {}): Transform {
  const op = "randomCrop";
  checkOptions(op, options, ["padding", "paddingMode"]);
  const wanted = pairOf(op, "size", size, 1);
  const [above, beside] = pairOf(op, "padding", options.padding ?? 0, 0);
  const { paddingMode = "zeros" } = options;
  checkChoice(op, "paddingMode", paddingMode, paddingModes);
  return (x) => {
    const [n, , height, width] = sizesOf(op, x);
    const whole: Size = [height + 2 * above, width + 2 * beside];
    if (wanted[0] > whole[0] || wanted[1] > whole[1]) {
      throw new ShapeError(
        `${op}: images are ${formatShape(x.shape)}, with padding ${formatShape(whole)}; the size, ${
          formatShape(wanted)
        }, must not be larger`,
      );
    }
    return scope(() => {
      const padded = above + beside === 0
        ? x
        : paddingMode === "zeros"
        ? framed(x, whole, [above, beside], 0)
        : bordered(x, [above, beside], paddingMode);
      return randomWindows(padded, n, wanted);
    });
  };
}

function bordered(x: Tensor, [above, beside]: Size, mode: "reflect" | "replicate" | "circular") {
  const pads = [[0, 0], [0, 0], [above, above], [beside, beside]] as const;
  const { dtype } = x;
  const wide = dtype === "uint8" ? "float32" : dtype === "int32" ? "float64" : dtype;
  return cast(pad(cast(x, wide), pads, { mode }), dtype);
}
