import { checkList, checkOptions } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import { checkDType, floats, inFloat32 } from "../../ops/_operands.ts";
import { constants } from "../_constants.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/** Options of {@linkcode normalize}. */
export interface NormalizeOptions {
  /** Of each channel. */
  mean: readonly number[];
  /** Of each channel; above 0. */
  std: readonly number[];
}

/**
 * (x - mean) / std by channel. As torchvision's Normalize. Floats, 16-bit ones by way of float32;
 * the format stays. Batches of a TensorDataset are floats in 0..1, unless it was told otherwise.
 *
 * @throws {ShapeError} when images have another number of channels.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const normalize = data.transforms.normalize({ mean: [0.5], std: [0.25] });
 * console.log(normalize(tensor([[[[0, 0.5, 1]]]])).dataSync()); // -2, 0, 2
 * ```
 */
export function normalize(options: NormalizeOptions): Transform {
  const op = "normalize";
  checkOptions(op, options, ["mean", "std"]);
  const { mean, std } = options;
  checkList(op, "mean", mean, Number.isFinite, "a number for each channel");
  const positive = (s: unknown) => Number.isFinite(s) && (s as number) > 0;
  checkList(op, "std", std, positive, "a number above 0 for each channel");
  if (mean.length !== std.length) {
    throw new ShapeError(`${op}: there are ${mean.length} means and ${std.length} deviations`);
  }
  const constantsFor = constants([[...mean], [...std]], [1, mean.length, 1, 1]);
  return (x) => {
    checkDType(op, x, floats);
    const [, channels] = sizesOf(op, x);
    if (channels !== mean.length) {
      throw new ShapeError(
        `${op}: images are ${formatShape(x.shape)}; there are means of ${mean.length} channels`,
      );
    }
    return scope(() =>
      inFloat32([x], (x) => {
        const [mean, std] = constantsFor(x);
        return x.sub(mean).div(std);
      })
    );
  };
}
