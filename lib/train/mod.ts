export * from "./callbacks.ts";
export * from "./gradcheck_model.ts";
export type * from "./history.ts";
export * from "./trainer.ts";
/** Measures of predictions, for a Trainer and by themselves. */
export * as metrics from "./metrics/mod.ts";
