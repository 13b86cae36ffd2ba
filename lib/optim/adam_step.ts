import type { Complete } from "../core/options.ts";
import type { AdamOptions } from "./adam.ts";
import type { Batch } from "./batch.ts";
import { checkBetas, checkRates } from "./check.ts";
import type { Group } from "./optimizer.ts";

/** Throws for options out of range. */
export function checkAdam(op: string, options: Complete<AdamOptions>): void {
  checkRates(op, options, ["lr", "eps", "weightDecay"]);
  checkBetas(op, options.betas);
}

/** A step of Adam, or of AdamW where the weight decay is decoupled. */
export function updateAdam(batch: Batch<Group<AdamOptions>>, decoupled: boolean): void {
  const { lr, betas: [beta1, beta2], eps, weightDecay, amsgrad, maximize } = batch.group;
  const { backend, step } = batch;
  backend.check(backend.functions.cdn_adam_step(
    batch.handles(),
    batch.grads(),
    batch.state("expAvg"),
    batch.state("expAvgSq"),
    amsgrad ? batch.state("maxExpAvgSq") : null,
    batch.sizes(),
    batch.params.length,
    lr / (1 - beta1 ** step),
    beta1,
    beta2,
    Math.sqrt(1 - beta2 ** step),
    eps,
    decoupled ? 0 : weightDecay,
    decoupled ? 1 - lr * weightDecay : 1,
    Number(maximize),
    batch.code,
  ));
}
