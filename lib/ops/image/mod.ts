export * from "./fold.ts";
export * from "./pixel_shuffle.ts";
export * from "./upsample.ts";
