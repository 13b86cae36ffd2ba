/** Learning rate schedules, named as in torch.optim.lr_scheduler. */
export * from "./chained_scheduler.ts";
export * from "./cosine_annealing_lr.ts";
export * from "./cosine_annealing_warm_restarts.ts";
export * from "./exponential_lr.ts";
export * from "./lambda_lr.ts";
export * from "./linear_lr.ts";
export * from "./multi_step_lr.ts";
export * from "./one_cycle_lr.ts";
export * from "./polynomial_lr.ts";
export * from "./reduce_lr_on_plateau.ts";
export * from "./schedule.ts";
export * from "./sequential_lr.ts";
export * from "./step_lr.ts";
