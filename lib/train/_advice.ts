import type { Batch } from "../data/batch.ts";
import type { AnyModule } from "../nn/module.ts";
import type { Measured } from "./_metrics.ts";

/** Warns, once a model, of what a first step shows to be a mistake. */
export function advise(
  _model: AnyModule,
  _batch: Batch<unknown, unknown>,
  _measured: Measured,
): void {
}
