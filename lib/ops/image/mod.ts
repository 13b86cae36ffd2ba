export * from "./affine_grid.ts";
export * from "./fold.ts";
export * from "./grid_sample.ts";
export * from "./pixel_shuffle.ts";
export * from "./upsample.ts";
