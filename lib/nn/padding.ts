import { formatCall } from "../core/describe.ts";
import { refuse } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { ShapeError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { pad, type PadOptions } from "../ops/shape/pad.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** How much to add on all sides, or on each, in the order of PyTorch. */
export type Padding2d =
  | number
  | readonly [
    left: number,
    right: number,
    top: number,
    bottom: number,
  ];

/** What layers that pad images have in common: they differ in what they add. */
export abstract class Pad2d extends Module {
  readonly #padding: readonly [number, number, number, number];

  constructor(padding: Padding2d) {
    super();
    const list = typeof padding === "number" ? new Array<number>(4).fill(padding) : padding;
    if (!Array.isArray(list) || list.length !== 4 || !list.every(Number.isSafeInteger)) {
      refuse(
        new.target.name,
        "padding",
        padding,
        "a whole number, or [left, right, top, bottom] of such",
      );
    }
    this.#padding = [list[0]!, list[1]!, list[2]!, list[3]!];
  }

  /** The mode of pad(). */
  protected abstract readonly mode: NonNullable<PadOptions["mode"]>;

  /** x, [n, channels, height, width] or without n, padded. */
  override forward(x: Tensor): Tensor {
    const name = this.constructor.name;
    checkTensor(name, x);
    if (x.rank !== 3 && x.rank !== 4) {
      throw new ShapeError(
        `${name}: x is ${formatShape(x.shape)}; it must be [n, channels, height, width]`,
      );
    }
    const [left, right, top, bottom] = this.#padding;
    const others = x.shape.slice(0, -2).map((): [number, number] => [0, 0]);
    return pad(x, [...others, [top, bottom], [left, right]], { mode: this.mode });
  }

  /** Such as `ZeroPad2d(1)`. */
  override describe(): string {
    const [first] = this.#padding, same = this.#padding.every((n) => n === first);
    return formatCall(this.constructor.name, [same ? first : this.#padding]);
  }
}

/**
 * pad() of images with zeros, or with negative numbers without their borders; as
 * torch.nn.ZeroPad2d.
 *
 * ```ts
 * import { nn, ones } from "@cudeno/cudeno";
 * console.log(new nn.ZeroPad2d([1, 1, 0, 0]).forward(ones([1, 1, 1, 1])).dataSync()); // 0, 1, 0
 * ```
 */
export class ZeroPad2d extends Pad2d {
  /** What is added. */
  protected override readonly mode = "constant";
}

/**
 * pad() of images that mirrors them about the pixels at their borders; as
 * torch.nn.ReflectionPad2d.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[[1, 2, 3]]]]);
 * console.log(new nn.ReflectionPad2d([2, 0, 0, 0]).forward(x).dataSync()); // 3, 2, 1, 2, 3
 * ```
 */
export class ReflectionPad2d extends Pad2d {
  /** What is added. */
  protected override readonly mode = "reflect";
}

/**
 * pad() of images that repeats the pixels at their borders; as torch.nn.ReplicationPad2d.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[[1, 2, 3]]]]);
 * console.log(new nn.ReplicationPad2d([2, 0, 0, 0]).forward(x).dataSync()); // 1, 1, 1, 2, 3
 * ```
 */
export class ReplicationPad2d extends Pad2d {
  /** What is added. */
  protected override readonly mode = "replicate";
}

/**
 * pad() of images that goes on at their other end; as torch.nn.CircularPad2d.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[[1, 2, 3]]]]);
 * console.log(new nn.CircularPad2d([2, 0, 0, 0]).forward(x).dataSync()); // 2, 3, 1, 2, 3
 * ```
 */
export class CircularPad2d extends Pad2d {
  /** What is added. */
  protected override readonly mode = "circular";
}
