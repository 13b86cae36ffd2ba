export * from "./conv1d.ts";
export * from "./conv2d.ts";
export * from "./conv_transpose2d.ts";
export type { Pair } from "../_pair.ts";
export type { Padding, PaddingMode } from "./_window.ts";
