export * from "./batch_norm.ts";
export * from "./layer_norm.ts";
export * from "./rms_norm.ts";
