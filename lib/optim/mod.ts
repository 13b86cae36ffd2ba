/** Optimizers, named as in torch.optim, and what goes with them. */
export * from "./adagrad.ts";
export * from "./adam.ts";
export * from "./adamw.ts";
export type * from "./batch.ts";
export * from "./clip_grad.ts";
export * from "./ema.ts";
export * from "./grad_scaler.ts";
export * from "./muon.ts";
export * from "./nadam.ts";
export * from "./optimizer.ts";
export * from "./rmsprop.ts";
export * from "./sgd.ts";
/** Learning rate schedules. */
export * as schedule from "./schedule/mod.ts";
export type { Complete } from "../core/options.ts";
