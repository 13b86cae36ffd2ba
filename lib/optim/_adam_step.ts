import type { Complete } from "../core/options.ts";
import { call } from "../native/call.ts";
import type { AdamOptions } from "./adam.ts";
import type { Batch } from "./batch.ts";
import { checkBetas, checkRates } from "./_check.ts";
import type { Group } from "./optimizer.ts";

/** Throws for options out of range. */
export function checkAdam(op: string, options: Complete<AdamOptions>): void {
  checkRates(op, options, ["lr", "eps", "weightDecay"]);
  checkBetas(op, options.betas);
}

/** A step of Adam, or of AdamW where the weight decay is decoupled. */
export function updateAdam(batch: Batch<Group<AdamOptions>>, decoupled: boolean): void {
  const { betas: [, beta2], eps, weightDecay, amsgrad, maximize } = batch.group;
  call(
    "cdn_adam_step",
    batch.handles(),
    batch.grads(),
    batch.state("expAvg"),
    batch.state("expAvgSq"),
    amsgrad ? batch.state("maxExpAvgSq") : null,
    batch.sizes(),
    batch.params.length,
    batch.clock(),
    batch.skip,
    beta2,
    eps,
    weightDecay,
    Number(decoupled),
    Number(maximize),
    batch.code,
  );
}
