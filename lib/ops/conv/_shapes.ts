// What the shapes of a convolution's operands make of its options.
import { formatValue } from "../../core/describe.ts";
import { checkInteger } from "../../core/options.ts";
import { precisionOf } from "../../core/precision.ts";
import { formatShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { reshape } from "../shape/movement.ts";
import type { Convolution } from "./_convolution.ts";
import type { Conv2dOptions } from "./conv2d.ts";
import { pairOf } from "../_pair.ts";
import { extentOf, placesOf, sidesOf } from "./_window.ts";

/** Throws unless there is a bias for each of `channels`, or none. */
export function checkBias(op: string, bias: Tensor | null | undefined, channels: number): void {
  if (bias && (bias.rank !== 1 || bias.shape[0] !== channels)) {
    throw new ShapeError(`${op}: bias is ${formatShape(bias.shape)}; it must be [${channels}]`);
  }
}

/** Throws unless x is images and weight filters, of which there is one or more. */
export function checkRanks(op: string, x: Tensor, weight: Tensor): void {
  if (x.rank !== 4) {
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)}; it must be [n, channels, height, width], or one ` +
        "image without n",
    );
  }
  const [k, , r, s] = weight.shape;
  if (weight.rank !== 4 || k === 0 || r === 0 || s === 0) {
    throw new ShapeError(
      `${op}: weight is ${formatShape(weight.shape)}; it must be [${
        op.includes("Transpose") ? "in, out / groups" : "out, in / groups"
      }, height, width], and none of them 0`,
    );
  }
}

/** The number of the method that an option names. */
export function variantNumber(op: string, x: Tensor, name: string | undefined): number {
  if (name === undefined) return 0;
  const names = x.backend.library.convVariants();
  const number = names.indexOf(name);
  if (number >= 0) return number;
  throw new ArgumentError(
    `${op}: there is no variant ${formatValue(name)}; there are ${names.join(", ")}`,
  );
}

/** The convolution of x [n, c, h, w] with weight [k, c / groups, r, s]. */
export function shapesOf(
  op: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null | undefined,
  options: Conv2dOptions,
): Convolution {
  checkRanks(op, x, weight);
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  checkInteger(op, "groups", groups, 1);
  const [n, c, h, w] = x.shape as Four;
  const [k, each, r, s] = weight.shape as Four;
  if (c % groups !== 0 || k % groups !== 0 || each !== c / groups) {
    const reason = c % groups !== 0
      ? `${c} channels are no multiple of ${groups} groups`
      : k % groups !== 0
      ? `${k} filters are no multiple of ${groups} groups`
      : `the weight's axis 1 must be ${c / groups}, the channels of ${
        groups > 1 ? "a group" : "the input"
      }, which are its axis 1 too: [n, channels, height, width]`;
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)} and weight is ${
        formatShape(weight.shape)
      }; ${reason}`,
    );
  }
  checkBias(op, bias, k);
  const steps = pairOf(op, "stride", stride, 1), apart = pairOf(op, "dilation", dilation, 1);
  const extent = [extentOf(r, apart[0]), extentOf(s, apart[1])] as const;
  const { top, bottom, left, right } = sidesOf(op, padding, extent, steps);
  const along = (axis: "height" | "width", size: number, i: 0 | 1, before: number, after: number) =>
    placesOf(op, axis, size, { before, after, extent: extent[i], stride: steps[i] }, x.shape);
  return {
    input: x.shape,
    weight: weight.shape,
    output: [n, k, along("height", h, 0, top, bottom), along("width", w, 1, left, right)],
    stride: steps,
    padding: [top, left],
    dilation: apart,
    groups,
    precision: precisionOf(op, options.precision),
    variant: variantNumber(op, x, options.variant),
  };
}
type Four = [number, number, number, number];

/** What pad() is to add around images, by axis. */
export function bordersOf(
  op: string,
  x: Tensor,
  weight: Tensor,
  { stride = 1, padding = 0, dilation = 1 }: Conv2dOptions,
): (readonly [number, number])[] {
  checkRanks(op, x, weight);
  const [r, s] = weight.shape.slice(2) as [number, number];
  const apart = pairOf(op, "dilation", dilation, 1);
  const extent = [extentOf(r, apart[0]), extentOf(s, apart[1])] as const;
  const sides = sidesOf(op, padding, extent, pairOf(op, "stride", stride, 1));
  return [[0, 0], [0, 0], [sides.top, sides.bottom], [sides.left, sides.right]];
}

/** One image as a batch of one, and the other way round. */
export const withBatch = (x: Tensor): Tensor => reshape(x, [1, ...x.shape]);
/** The only one of a batch. */
export const withoutBatch = (y: Tensor): Tensor => reshape(y, y.shape.slice(1));
