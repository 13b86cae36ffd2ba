/** Learning rate schedules, named as in torch.optim.lr_scheduler. */
export { ChainedScheduler } from "./chained_scheduler.ts";
export { CosineAnnealingLR, type CosineAnnealingLROptions } from "./cosine_annealing_lr.ts";
export {
  CosineAnnealingWarmRestarts,
  type CosineAnnealingWarmRestartsOptions,
} from "./cosine_annealing_warm_restarts.ts";
export { ExponentialLR, type ExponentialLROptions } from "./exponential_lr.ts";
export { LambdaLR, type LambdaLROptions, type LrLambda } from "./lambda_lr.ts";
export {
  LinearLR,
  type LinearLROptions,
  LinearWarmup,
  type LinearWarmupOptions,
} from "./linear_lr.ts";
export { MultiStepLR, type MultiStepLROptions } from "./multi_step_lr.ts";
export { OneCycleLR, type OneCycleLROptions } from "./one_cycle_lr.ts";
export { PolynomialLR, type PolynomialLROptions } from "./polynomial_lr.ts";
export { ReduceLROnPlateau, type ReduceLROnPlateauOptions } from "./reduce_lr_on_plateau.ts";
export { Schedule, type ScheduleState } from "./schedule.ts";
export { SequentialLR, type SequentialLROptions } from "./sequential_lr.ts";
export { StepLR, type StepLROptions } from "./step_lr.ts";
