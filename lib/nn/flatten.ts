import { checkOptions } from "../core/options.ts";
import { flatten } from "../ops/movement.ts";
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
 * Joins axes: [n, 1, 28, 28] becomes [n, 784].
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.Flatten().forward(zeros([8, 1, 28, 28])).shape); // [8, 784]
 * ```
 */
export class Flatten extends Module {
  readonly #start: number;
  readonly #end: number;

  /** Joins axes start..end. */
  constructor(options: FlattenOptions = {}) {
    super();
    checkOptions("Flatten", options, ["start", "end"]);
    this.#start = options.start ?? 1;
    this.#end = options.end ?? -1;
  }

  /** x with the axes joined. */
  override forward(x: Tensor): Tensor {
    return flatten(x, this.#start, this.#end);
  }
}
