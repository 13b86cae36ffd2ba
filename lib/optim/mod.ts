/** Optimizers, named as in torch.optim, and what goes with them. */
export { Adagrad, type AdagradOptions } from "./adagrad.ts";
export { Adam, type AdamOptions } from "./adam.ts";
export { AdamW } from "./adamw.ts";
export type { Batch, ParameterState } from "./batch.ts";
export { clipGradNorm, type ClipGradNormOptions, clipGradValue } from "./clip_grad.ts";
export { EMA, type EMAOptions, type EMAState } from "./ema.ts";
export { GradScaler, type GradScalerOptions, type GradScalerState } from "./grad_scaler.ts";
export { Muon, type MuonOptions } from "./muon.ts";
export { NAdam, type NAdamOptions } from "./nadam.ts";
export {
  type Group,
  Optimizer,
  type OptimizerOptions,
  type ParameterGroup,
  type Trainable,
} from "./optimizer.ts";
export { RMSprop, type RMSpropOptions } from "./rmsprop.ts";
export { SGD, type SGDOptions } from "./sgd.ts";
/** Learning rate schedules. */
export * as schedule from "./schedule/mod.ts";
export type { OptimizerState } from "./state.ts";
export type { Complete } from "../core/options.ts";
