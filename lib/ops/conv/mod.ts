export * from "./conv1d.ts";
export * from "./conv2d.ts";
export * from "./conv_transpose2d.ts";
export type { Padding, PaddingMode, Pair } from "./_window.ts";
