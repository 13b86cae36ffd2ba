// Where gridSample() reads along one axis, and with what weights; in operations on the coordinates,
// so that their gradients follow.
import type { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, floorDivide, mul, sub } from "../elementwise/binary.ts";
import { eq, gt, le, lt, ne } from "../elementwise/compare.ts";
import { abs, neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import type { GridSampleOptions } from "./grid_sample.ts";

/** An axis of the images. */
export interface SampledAxis {
  extent: number;
  padding: NonNullable<GridSampleOptions["paddingMode"]>;
  align: boolean;
}

/** One pixel for each place of the grid. */
export interface Tap {
  /** int32, within the image. */
  index: Tensor;
  /** 0 where the pixel is outside of the image. */
  weight: Tensor;
}

const floor = (x: Tensor) => floorDivide(x, 1);
const less = (a: number, x: Tensor) => add(neg(x), a);

/** In pixels: -1 and 1 are the borders of the image, or with `align` the middles of its ends. */
function pixelOf(x: Tensor, { extent, align }: SampledAxis): Tensor {
  const scaled = mul(add(x, 1), (align ? extent - 1 : extent) / 2);
  return align ? scaled : sub(scaled, 0.5);
}

/** Moved into the image, unless that has zeros around it. */
function moved(at: Tensor, { extent, padding, align }: SampledAxis): Tensor {
  if (padding === "zeros") return at;
  if (padding === "reflection") {
    const [low, span] = align ? [0, extent - 1] : [-0.5, extent];
    if (span === 0) return mul(at, 0);
    const far = abs(sub(at, low));
    const times = floorDivide(far, span).detach();
    const rest = sub(far, mul(times, span));
    const odd = ne(sub(times, mul(floor(mul(times, 0.5)), 2)), 0);
    at = add(where(odd, less(span, rest), rest), low);
  }
  // Not clip(), which has a gradient at its ends.
  return where(gt(at, 0), where(lt(at, extent - 1), at, extent - 1), 0);
}

/** The pixel at a whole place, which may be outside; its weight is 1 where that is left out. */
function tapAt(place: Tensor, { extent }: SampledAxis, weight?: Tensor): Tap {
  const middle = (extent - 1) / 2;
  const inside = le(abs(sub(place.detach(), middle)), middle);
  return {
    index: cast(where(inside, place.detach(), 0), "int32"),
    weight: weight ? where(inside, weight, 0) : cast(inside, place.dtype),
  };
}

function nearestTaps(at: Tensor, axis: SampledAxis): Tap[] {
  const below = floor(at);
  const share = sub(at, below);
  const even = mul(floor(mul(add(below, 1), 0.5)), 2); // where a half goes
  const place = where(gt(share, 0.5), add(below, 1), where(eq(share, 0.5), even, below));
  return [tapAt(place, axis)];
}

function linearTaps(at: Tensor, axis: SampledAxis): Tap[] {
  const below = floor(at).detach();
  const share = sub(at, below);
  return [tapAt(below, axis, less(1, share)), tapAt(add(below, 1), axis, share)];
}

// Keys' cubic convolution, of distances up to 1 and from there to 2.
const A = -0.75;
const near = (d: Tensor) => add(mul(mul(sub(mul(d, A + 2), A + 3), d), d), 1);
const far = (d: Tensor) => sub(mul(add(mul(sub(mul(d, A), 5 * A), d), 8 * A), d), 4 * A);

function cubicTaps(at: Tensor, axis: SampledAxis): Tap[] {
  const below = floor(at).detach();
  const t = sub(at, below);
  const weights = [far(add(t, 1)), near(t), near(less(1, t)), far(less(2, t))];
  return weights.map((weight, j) => tapAt(moved(add(below, j - 1), axis), axis, weight));
}

/** The pixels of an axis that coordinates in [-1, 1] read. */
export function tapsOf(
  mode: "nearest" | "bilinear" | "bicubic",
  x: Tensor,
  axis: SampledAxis,
): Tap[] {
  const at = pixelOf(x, axis);
  if (mode === "bicubic") return cubicTaps(at, axis);
  const place = moved(at, axis);
  return mode === "nearest" ? nearestTaps(place, axis) : linearTaps(place, axis);
}
