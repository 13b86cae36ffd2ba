import { checkChoice, checkNumber, checkOptions, refuse } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { rand } from "../../create.ts";
import { ArgumentError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { affineGrid } from "../../ops/image/affine_grid.ts";
import { gridSample, type GridSampleOptions } from "../../ops/image/grid_sample.ts";
import { stack } from "../../ops/shape/concat.ts";
import type { Tensor } from "../../tensor.ts";
import { inFloats } from "./_floats.ts";
import { type Span, spanOf } from "./_span.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/** Options of {@linkcode randomAffine}. */
export interface RandomAffineOptions {
  /** Turns by an angle from -degrees to degrees, or in a range; clockwise. */
  degrees: number | Span;
  /**
   * Shifts by whole pixels, up to these shares of the width and of the height either way. Default
   * none.
   */
  translate?: readonly [x: number, y: number] | undefined;
  /** Scales by a factor in this range. Default [1, 1]. */
  scale?: Span | undefined;
  /**
   * Shears along x by an angle from -shear to shear, or in a range; along y as well where two more
   * numbers say so. In degrees. Default 0.
   */
  shear?: number | Span | readonly [x0: number, x1: number, y0: number, y1: number] | undefined;
  /** How pixels are weighted. Default "bilinear"; torchvision's is nearest. */
  mode?: GridSampleOptions["mode"];
  /** What stands beyond the borders: as for gridSample(). Default "zeros". */
  paddingMode?: GridSampleOptions["paddingMode"];
  /** What stands there in place of zeros. Default 0. */
  fill?: number | undefined;
}

/**
 * Each image turned, shifted, scaled and sheared around its middle, by numbers of its own, all
 * equally likely. As torchvision's RandomAffine. Any dtype, whole numbers being rounded; the format
 * stays.
 *
 * ```ts
 * import { data, rand } from "@cudeno/cudeno";
 * const { randomAffine } = data.transforms;
 * const move = randomAffine({ degrees: 10, translate: [0.1, 0.1], scale: [0.9, 1.1] });
 * console.log(move(rand([8, 3, 32, 32])).shape); // [8, 3, 32, 32]
 * ```
 */
export function randomAffine(options: RandomAffineOptions): Transform {
  const op = "randomAffine";
  const names = ["degrees", "translate", "scale", "shear", "mode", "paddingMode", "fill"];
  checkOptions(op, options, names);
  const { degrees, translate = [0, 0], scale = [1, 1], shear = 0, fill = 0 } = options;
  const { mode = "bilinear", paddingMode = "zeros" } = options;
  checkChoice(op, "mode", mode, { bilinear: 0, nearest: 0, bicubic: 0 });
  checkChoice(op, "paddingMode", paddingMode, { zeros: 0, border: 0, reflection: 0 });
  checkNumber(op, "fill", fill);
  if (fill !== 0 && paddingMode !== "zeros") {
    throw new ArgumentError(`${op}: fill is for paddingMode zeros, not for ${paddingMode}`);
  }
  if (!Array.isArray(translate) || translate.length !== 2 || !translate.every(isShare)) {
    refuse(op, "translate", translate, "[x, y], two numbers from 0 to 1");
  }
  const [across, down] = translate as [number, number];
  const radians = (name: string, value: unknown) =>
    spanOf(op, name, value).map((angle) => angle * Math.PI / 180) as unknown as Span;
  const turns = radians("degrees", degrees);
  const scales = spanOf(op, "scale", scale);
  if (scales[0] <= 0) refuse(op, "scale", scale, "a range above 0");
  const both = Array.isArray(shear) && shear.length === 4;
  const [shearX, shearY] = both
    ? [radians("shear", shear.slice(0, 2)), radians("shear", shear.slice(2))]
    : [radians("shear", shear), [0, 0] as const];
  return (x) => {
    const [n, channels, h, w] = sizesOf(op, x);
    if (x.size === 0) return x;
    const draw = ([low, high]: Span) => rand([n], { low, high, device: x.device });
    const shift = (most: number) => draw([-most, most]).add(0.5).floorDivide(1);
    return scope(() => {
      // the inverse of a turn, a shear along y and one along x, times the scale
      const angle = draw(turns);
      const [right, below] = [shift(across * w), shift(down * h)];
      const by = draw(scales);
      const [alongX, alongY] = [tan(draw(shearX)), tan(draw(shearY))];
      const [sin, cos] = [angle.sin(), angle.cos()];
      const p = cos.add(sin.mul(alongY)), q = sin.sub(cos.mul(alongY));
      const xx = cos.sub(q.mul(alongX)).div(by), xy = p.mul(alongX).add(sin).div(by);
      const yx = q.div(by).neg(), yy = p.div(by);
      const moved = (a: Tensor, b: Tensor) => a.mul(right).add(b.mul(below)).neg();
      // from pixels to -1..1
      const rows = [xx, xy.mul(h / w), moved(xx, xy).mul(2 / w)];
      rows.push(yx.mul(w / h), yy, moved(yx, yy).mul(2 / h));
      const theta = stack(rows, 1).reshape([n, 2, 3]);
      return inFloats(x, (x) => {
        const grid = affineGrid(cast(theta, x.dtype), [n, channels, h, w]);
        const sampled = gridSample(fill ? x.sub(fill) : x, grid, { mode, paddingMode });
        return fill ? sampled.add(fill) : sampled;
      });
    });
  };
}

const tan = (x: Tensor) => x.sin().div(x.cos());
const isShare = (x: unknown) => Number.isFinite(x) && (x as number) >= 0 && (x as number) <= 1;
