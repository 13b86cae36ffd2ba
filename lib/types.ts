// Types of what stands in namespaces, for signatures at the top.
export type { Dataset } from "./data/dataset.ts";
export type { Loss } from "./nn/losses.ts";
export type { LoadResult, Module, StateDict } from "./nn/module.ts";
export type { Batch, ParameterState } from "./optim/batch.ts";
export type { EMA, EMAOptions, EMAState } from "./optim/ema.ts";
export type { GradScaler, GradScalerOptions, GradScalerState } from "./optim/grad_scaler.ts";
export type {
  Group,
  Optimizer,
  OptimizerOptions,
  OptimizerState,
  ParameterGroup,
  Trainable,
} from "./optim/optimizer.ts";
export type { Schedule, ScheduleState } from "./optim/schedule/schedule.ts";
