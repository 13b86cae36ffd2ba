import { checkNumber } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { optionsOf } from "./_check.ts";

/** From the number of a step to the factor of the base rate. */
export type LrLambda = (step: number) => number;

/** Options of {@linkcode LambdaLR}. */
export interface LambdaLROptions {
  /** One function, or one for each group. */
  lrLambda: LrLambda | readonly LrLambda[];
}

/**
 * lr = base lrLambda(t). As torch.optim.lr_scheduler.LambdaLR. The functions are not part of
 * stateDict().
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const lrLambda = (t: number) => 1 / Math.sqrt(t + 1);
 * const schedule = new optim.schedule.LambdaLR(optimizer, { lrLambda });
 * for (let t = 0; t < 3; t++) schedule.step();
 * console.log(optimizer.lr); // 0.5
 * ```
 */
export class LambdaLR extends Schedule {
  readonly #lambdas: readonly LrLambda[];

  constructor(optimizer: Optimizer, options: LambdaLROptions) {
    super(optimizer);
    const { lrLambda } = optionsOf("LambdaLR", options, {
      lrLambda: undefined as unknown as LrLambda,
    });
    this.#lambdas = Array.isArray(lrLambda) ? lrLambda : optimizer.groups.map(() => lrLambda);
    if (this.#lambdas.length !== optimizer.groups.length) {
      throw new ArgumentError(
        `LambdaLR: there are ${this.#lambdas.length} functions; the optimizer has ` +
          `${optimizer.groups.length} groups`,
      );
    }
    if (this.#lambdas.some((f) => typeof f !== "function")) {
      throw new ArgumentError(
        "LambdaLR: lrLambda must be a function, or an array of one for each group",
      );
    }
    this.start();
  }

  /** @ignore */
  protected override rate(_lr: number, baseLr: number, group: number): number {
    const factor = this.#lambdas[group]!(this.count);
    checkNumber("LambdaLR", `lrLambda(${this.count})`, factor, 0);
    return baseLr * factor;
  }
}
