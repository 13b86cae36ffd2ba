import { checkOptions, refuse } from "../core/options.ts";
import { flatten } from "../ops/shape/movement.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode Flatten}. */
export interface FlattenOptions {
  /** The first axis to join; default 1, which leaves the batch alone. */
  start?: number | undefined;
  /** The last axis to join; default -1. */
  end?: number | undefined;
}

/**
 * Joins axes start..end, by default all but the first: [n, 1, 28, 28] becomes [n, 784]. As
 * torch.nn.Flatten.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.Flatten().forward(zeros([8, 1, 28, 28])).shape); // [8, 784]
 * ```
 */
export class Flatten extends Module {
  readonly #start: number;
  readonly #end: number;

  constructor(start: number | FlattenOptions = {}, end: number = -1) {
    super();
    if (typeof start === "number") start = { start, end };
    checkOptions("Flatten", start, ["start", "end"]);
    this.#start = start.start ?? 1;
    this.#end = start.end ?? -1;
    for (const axis of [this.#start, this.#end]) {
      if (!Number.isInteger(axis)) refuse("Flatten", "an axis", axis, "a whole number");
    }
  }

  /** x with the axes joined. */
  override forward(x: Tensor): Tensor {
    return flatten(x, this.#start, this.#end);
  }

  /** `Flatten(1, -1)`. */
  override describe(): string {
    return `Flatten(${this.#start}, ${this.#end})`;
  }
}
