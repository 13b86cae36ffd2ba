// How a window goes over images: the options that convolutions share, checked.
import { refuse } from "../../core/options.ts";
import { formatShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Pair } from "../_pair.ts";

/**
 * Zeros around an image: on all sides, above and below and beside it, or on each side; `"same"`: as
 * many as give the result the image's size, an odd one after it; `"valid"`: none.
 */
export type Padding =
  | Pair
  | readonly [readonly [top: number, bottom: number], readonly [left: number, right: number]]
  | "same"
  | "valid";

/** What is added around an image. */
export type PaddingMode = "zeros" | "reflect" | "replicate" | "circular";

export const paddingModes: Record<PaddingMode, true> = {
  zeros: true,
  reflect: true,
  replicate: true,
  circular: true,
};

/** What lies around an image on its four sides. */
export interface Sides {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** The padding of a window of `extent` places, [height, width]. */
export function sidesOf(
  op: string,
  padding: Padding,
  extent: readonly [number, number],
  stride: readonly [number, number],
): Sides {
  if (padding === "valid") return { top: 0, bottom: 0, left: 0, right: 0 };
  if (padding === "same") {
    if (stride[0] !== 1 || stride[1] !== 1) {
      refuse(op, "padding", padding, `numbers where the stride is ${formatShape(stride)}, not 1`);
    }
    const [top, left] = extent.map((x) => Math.floor((x - 1) / 2)) as [number, number];
    return { top, bottom: extent[0] - 1 - top, left, right: extent[1] - 1 - left };
  }
  const wanted = "an integer of at least 0, [height, width], [[top, bottom], [left, right]], " +
    '"same" or "valid"';
  const two: readonly unknown[] = Array.isArray(padding) ? [...padding] : [padding, padding];
  const four = two.map((x) => Array.isArray(x) ? [...x] : [x, x]) as unknown[][]; // without holes
  const whole = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 0;
  if (four.length !== 2 || !four.every((side) => side.length === 2 && side.every(whole))) {
    refuse(op, "padding", padding, wanted);
  }
  const [[top, bottom], [left, right]] = four as [[number, number], [number, number]];
  return { top, bottom, left, right };
}

/** How many places a window of `taps` taps spans. */
export const extentOf = (taps: number, dilation: number): number => (taps - 1) * dilation + 1;

/** The size of the result along one axis. */
export function placesOf(
  op: string,
  axis: "height" | "width",
  size: number,
  { before, after, extent, stride }: {
    before: number;
    after: number;
    extent: number;
    stride: number;
  },
  shape: Shape,
): number {
  const padded = size + before + after;
  if (extent > padded) {
    const around = before + after > 0 ? ` with ${before} + ${after} of padding` : "";
    throw new ShapeError(
      `${op}: the window is ${extent} in ${axis}, more than the ${size} of the input ` +
        `${formatShape(shape)}${around}; take a smaller kernelSize or dilation, or more padding`,
    );
  }
  return Math.floor((padded - extent) / stride) + 1;
}
