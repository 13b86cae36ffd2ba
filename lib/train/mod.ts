export * from "./callbacks.ts";
export * from "./gradcheck_model.ts";
export type * from "./history.ts";
export * from "./trainer.ts";
