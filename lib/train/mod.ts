export * from "./callbacks.ts";
export type * from "./history.ts";
export * from "./trainer.ts";
