import { checkShape, formatShape, type Shape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { linearMap, planesOf } from "./_linear_map.ts";
import { checkImages } from "./_images.ts";
import { checkUpsample, modes } from "./_upsample.ts";

/** Options of {@linkcode upsample}: `size` or `scaleFactor`, and how. */
export interface UpsampleOptions {
  /** The height and width of the result. */
  size?: number | readonly [height: number, width: number] | undefined;
  /** How many times as high and wide it is, rounded down to whole pixels. */
  scaleFactor?: number | readonly [height: number, width: number] | undefined;
  /** Default "nearest". */
  mode?: "nearest" | "bilinear" | "bicubic" | undefined;
  /**
   * Whether the middles of the corner pixels stay where they are, rather than the corners of the
   * images; not for "nearest". Default false.
   */
  alignCorners?: boolean | undefined;
}

/**
 * Images [n, channels, height, width] in another size. An output pixel takes the input at the place
 * where its middle is, scaled (half-pixel coordinates, or with alignCorners the middles of the
 * corners): the nearest pixel below that place in steps of in / out, two by two pixels with linear
 * weights, or four by four with those of Keys' cubic convolution with a = -0.75; pixels beyond the
 * border are those at it. With scaleFactor the places follow from that, not from the sizes. As
 * torch.nn.functional.interpolate. Keeps dtype and memory format; floats, 16-bit ones compute in
 * float32. The gradient gathers, in a fixed order.
 *
 * @throws {ShapeError} when x is not [n, channels, height, width], or it or the result has no
 * pixels.
 *
 * ```ts
 * import { tensor, upsample } from "@cudeno/cudeno";
 * const x = tensor([[[[1, 2]]]]);
 * console.log(upsample(x, { scaleFactor: 2 }).dataSync()); // 1, 1, 2, 2, twice
 * console.log(upsample(x, { size: [1, 4], mode: "bilinear" }).dataSync()); // 1, 1.25, 1.75, 2
 * ```
 */
export function upsample(x: Tensor, options: UpsampleOptions): Tensor {
  const op = "upsample";
  const { size, scaleFactor, mode, alignCorners } = checkUpsample(op, options);
  checkDType(op, x, floats);
  checkImages(op, x.shape);
  const { outer, height, width, inner } = planesOf(x);
  const scales = scaleFactor as [number, number] | 0;
  const [h, w] = scales
    ? [height, width].map((extent, i) => Math.floor(extent * scales[i]!))
    : size as [number, number];
  const shape: Shape = [x.shape[0]!, x.shape[1]!, h!, w!];
  if (height * width === 0 || h! * w! === 0) {
    throw new ShapeError(
      `${op}: ${formatShape(x.shape)} becomes ${formatShape(shape)}; both must have pixels`,
    );
  }
  checkShape(op, shape);
  const sizes = [outer, height, width, h!, w!, inner, modes[mode!], Number(alignCorners)] as const;
  const [scaleH, scaleW] = scales || [0, 0];
  const { code } = x;
  return linearMap(
    op,
    x,
    shape,
    x.format,
    (y, x) => calls.cdn_upsample(y, x, ...sizes, scaleH, scaleW, code),
    (dx, dy) => calls.cdn_upsample_grad(dx, dy, ...sizes, scaleH, scaleW, code),
  );
}

/**
 * {@linkcode upsample} under the name that PyTorch gives it.
 *
 * ```ts
 * import { interpolate, tensor } from "@cudeno/cudeno";
 * console.log(interpolate(tensor([[[[1, 2]]]]), { size: [1, 4] }).dataSync()); // 1, 1, 2, 2
 * ```
 */
export const interpolate: typeof upsample = upsample;
