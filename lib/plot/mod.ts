/**
 * Pictures as SVG, without a dependency: curves, points, bars, matrices, images.
 *
 * @module
 */

export type { Numbers, Table } from "./_axis.ts";
export * from "./bar.ts";
export * from "./confusion.ts";
export * from "./image.ts";
export { type Curve, line } from "./line.ts";
export * from "./parallel.ts";
export { type AxisOptions, Plot, type PlotOptions } from "./plot.ts";
export * from "./scatter.ts";
