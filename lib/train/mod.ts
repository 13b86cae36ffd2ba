export * from "./callbacks.ts";
export type * from "./history.ts";
export type { MetricName } from "./metrics.ts";
export type { ProgressStream } from "./progress.ts";
export type { StepOptions } from "./stepper.ts";
export * from "./trainer.ts";
