export * from "./batch_norm.ts";
export * from "./group_norm.ts";
export * from "./layer_norm.ts";
export * from "./local_response_norm.ts";
export * from "./rms_norm.ts";
