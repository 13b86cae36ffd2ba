import { checkOptions, refuse } from "../../core/options.ts";
import { permutation } from "../../core/random.ts";
import { scope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { rand } from "../../create.ts";
import { ShapeError } from "../../native/errors.ts";
import { clip } from "../../ops/elementwise/unary.ts";
import { minimum } from "../../ops/elementwise/binary.ts";
import { where } from "../../ops/elementwise/where.ts";
import { checkDType, floats } from "../../ops/_operands.ts";
import { slice } from "../../ops/shape/slice.ts";
import type { Tensor } from "../../tensor.ts";
import { constants } from "../_constants.ts";
import { inFloats } from "./_floats.ts";
import { type Span, spanOf } from "./_span.ts";
import type { Transform } from "./transform.ts";
import { sizesOf } from "./_windows.ts";

/** Options of {@linkcode colorJitter}. A number v is the range [max(0, 1 - v), 1 + v]. */
export interface ColorJitterOptions {
  /** The range of what pixels are multiplied by. Default 0, no change. */
  brightness?: number | Span | undefined;
  /** The range of the share of each image, beside that of its mean gray. Default 0, no change. */
  contrast?: number | Span | undefined;
  /** The range of the share of each pixel, beside that of its gray. Default 0, no change. */
  saturation?: number | Span | undefined;
  /**
   * How far colors turn around the circle: up to so many turns either way, at most 0.5, or a range.
   * Default 0, no change.
   */
  hue?: number | Span | undefined;
}

type Kind = "brightness" | "contrast" | "saturation" | "hue";
const kinds: readonly Kind[] = ["brightness", "contrast", "saturation", "hue"];

/**
 * Brightness, contrast, saturation and hue of each image changed, by factors of its own, in an
 * order that is drawn for the batch. As torchvision's ColorJitter. Images are floats from 0 to 1,
 * and stay so, of one channel, which has no saturation or hue, or three, red, green and blue: so
 * before normalize(). 16-bit ones by way of float32; the format stays.
 *
 *     brightness: f x    contrast: f x + (1 - f) mean gray    saturation: f x + (1 - f) gray
 *     gray = 0.2989 red + 0.587 green + 0.114 blue
 *
 * @throws {ShapeError} when images have not one or three channels.
 *
 * ```ts
 * import { data, rand } from "@cudeno/cudeno";
 * const jitter = data.transforms.colorJitter({ brightness: 0.4, saturation: 0.4, hue: 0.1 });
 * console.log(jitter(rand([8, 3, 32, 32])).shape); // [8, 3, 32, 32]
 * ```
 */
export function colorJitter(options: ColorJitterOptions): Transform {
  const op = "colorJitter";
  checkOptions(op, options, kinds);
  const spans = kinds.flatMap((kind) => {
    const value = options[kind] ?? 0,
      [middle, least, most] = kind === "hue" ? [0, -0.5, 0.5] : [1, 0, Infinity];
    let [low, high] = spanOf(op, kind, value);
    if (typeof value === "number") [low, high] = [Math.max(least, middle + low), middle + high];
    if (low < least || high > most) {
      refuse(op, kind, value, kind === "hue" ? "within -0.5 and 0.5" : "at least 0");
    }
    return low === middle && high === middle ? [] : [{ kind, low, high }];
  });
  return (x) => {
    checkDType(op, x, floats);
    const [n, channels] = sizesOf(op, x);
    if (channels !== 1 && channels !== 3) {
      throw new ShapeError(
        `${op}: images are ${formatShape(x.shape)}; they must have 1 or 3 channels`,
      );
    }
    const order = permutation(spans.length);
    if (x.size === 0) return x;
    return scope(() =>
      inFloats(x, (x) => {
        for (const i of order) {
          const { kind, low, high } = spans[i]!;
          const factor = rand([n, 1, 1, 1], { low, high, device: x.device }).to(x.dtype);
          x = changes[kind](x, factor);
        }
        return x;
      })
    );
  };
}

const keepDims = { keepDims: true };
const perChannel = constants([[0.2989, 0.587, 0.114], [5, 3, 1]], [1, 3, 1, 1]);

const grayOf = (x: Tensor) => x.shape[1] === 1 ? x : x.mul(perChannel(x)[0]).sum([1], keepDims);

const blended = (x: Tensor, other: Tensor, share: Tensor) =>
  clip(x.mul(share).add(other.mul(share.neg().add(1))), 0, 1);

const changes: Record<Kind, (x: Tensor, factor: Tensor) => Tensor> = {
  brightness: (x, factor) => clip(x.mul(factor), 0, 1),
  contrast: (x, factor) => blended(x, grayOf(x).mean([1, 2, 3], keepDims), factor),
  saturation: (x, factor) => x.shape[1] === 1 ? x : blended(x, grayOf(x), factor),
  // With the hue in sixths of a turn, as HSV has it, and k = (hue + 5, 3, 1) mod 6, a channel is
  // most - (most - least) min(k, 4 - k) with the last factor cut to 0..1.
  hue(x, turn) {
    if (x.shape[1] === 1) return x;
    const [red, green, blue] = [0, 1, 2].map((c) => slice(x, 1, c, c + 1)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const most = x.max([1], keepDims), span = most.sub(x.min([1], keepDims));
    const by = where(span.eq(0), 1, span);
    const part = (a: Tensor, b: Tensor, from: number) => a.sub(b).div(by).add(from);
    const others = where(green.eq(most), part(blue, red, 2), part(red, green, 4));
    const hue = where(red.eq(most), part(green, blue, 0), others).add(turn.mul(6));
    const k = hue.add(perChannel(x)[1]);
    const sixths = k.sub(k.floorDivide(6).mul(6));
    return most.sub(span.mul(clip(minimum(sixths, sixths.neg().add(4)), 0, 1)));
  },
};
