import { checkChoice, checkOptions } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { tensor } from "../../create.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import { upsample, type UpsampleOptions } from "../../ops/image/upsample.ts";
import { modes } from "../../ops/image/_upsample.ts";
import { indexSelect } from "../../ops/index/index_select.ts";
import { type Pair, pairOf } from "../../ops/_pair.ts";
import type { Tensor } from "../../tensor.ts";
import { inFloats } from "./_floats.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/** Options of {@linkcode resize}. */
export interface ResizeOptions {
  /** As for upsample(). Default "bilinear". */
  mode?: UpsampleOptions["mode"];
  /**
   * Whether smaller images are means of all pixels under a filter as wide as the scale says, rather
   * than of the nearest ones; for "bilinear" and "bicubic". Default true for those.
   */
  antialias?: boolean | undefined;
}

/**
 * Images of another size, [size, size] or [height, width]. As torchvision's Resize of such a pair.
 * Any dtype, whole numbers being rounded; the format stays. Bicubic antialiasing is Keys' with a =
 * -0.5, as Pillow and PyTorch have it.
 *
 * @throws {ShapeError} when images have no pixels.
 *
 * ```ts
 * import { data, rand } from "@cudeno/cudeno";
 * const small = data.transforms.resize(16);
 * console.log(small(rand([8, 3, 32, 24])).shape); // [8, 3, 16, 16]
 * ```
 */
export function resize(size: Pair, options: ResizeOptions = {}): Transform {
  const op = "resize";
  checkOptions(op, options, ["mode", "antialias"]);
  const to = pairOf(op, "size", size, 1);
  const { mode = "bilinear" } = options;
  checkChoice(op, "mode", mode, modes);
  const { antialias = mode !== "nearest" } = options;
  if (antialias && mode === "nearest") {
    throw new ArgumentError(`${op}: antialias is for bilinear and bicubic, not for nearest`);
  }
  return (x) => {
    const [, , ...from] = sizesOf(op, x);
    if (from.includes(0)) throw new ShapeError(`${op}: images are ${formatShape(x.shape)}: empty`);
    if (from[0] === to[0] && from[1] === to[1]) return x;
    return scope(() =>
      inFloats(x, (x) => {
        const [rows, columns] = to;
        const smaller = rows < from[0]! || columns < from[1]!;
        if (mode === "nearest" || !antialias || !smaller && mode === "bilinear") {
          return upsample(x, { size: to, mode });
        }
        return filtered(filtered(x, 2, rows, mode), 3, columns, mode);
      })
    );
  };
}

const filters = {
  bilinear: { reach: 1, weight: (d: number) => Math.max(0, 1 - d) },
  bicubic: {
    reach: 2,
    weight: (d: number) =>
      d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0,
  },
};

// Along one axis a sum, for each pixel of the result, of as many neighbours as the filter reaches;
// where the border cuts that off, the last ones come again, with a weight of 0.
function filtered(x: Tensor, axis: 2 | 3, out: number, mode: keyof typeof filters): Tensor {
  const { reach, weight } = filters[mode];
  const extent = x.shape[axis]!;
  if (extent === out) return x;
  const scale = extent / out, wide = Math.max(scale, 1), support = reach * wide;
  const taps = Math.ceil(support) * 2 + 1;
  const index = new Int32Array(out * taps), weights = new Float64Array(out * taps);
  for (let o = 0; o < out; o++) {
    const middle = scale * (o + 0.5);
    const first = Math.max(Math.trunc(middle - support + 0.5), 0);
    const end = Math.min(Math.trunc(middle + support + 0.5), extent);
    let sum = 0;
    for (let j = 0; j < taps; j++) {
      index[o * taps + j] = Math.min(first + j, end - 1);
      if (first + j >= end) continue;
      sum += weights[o * taps + j] = weight(Math.abs(first + j - middle + 0.5) / wide);
    }
    for (let j = 0; j < taps; j++) weights[o * taps + j]! /= sum;
  }
  const { device, dtype } = x;
  const split = x.shape.toSpliced(axis, 1, out, taps);
  const along = axis === 2 ? [1, 1, out, taps, 1] : [1, 1, 1, out, taps];
  const gathered = indexSelect(x, axis, tensor(index, { device })).reshape(split);
  return gathered.mul(tensor(weights, { device, dtype, shape: along })).sum([axis + 1]);
}
