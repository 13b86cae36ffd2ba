/**
 * Pictures as SVG, without a dependency: curves, points, bars, matrices, images.
 *
 * @module
 */

export type { Numbers, Table } from "./_axis.ts";
export * from "./bar.ts";
export * from "./confusion.ts";
export * from "./image.ts";
export * from "./line.ts";
export * from "./parallel.ts";
export * from "./plot.ts";
export * from "./scatter.ts";
