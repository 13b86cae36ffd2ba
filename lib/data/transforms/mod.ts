/** Random changes to batches of images, on the device; named as torchvision's. */
export * from "./color_jitter.ts";
export * from "./compose.ts";
export * from "./cutmix.ts";
export * from "./cutout.ts";
export * from "./mixup.ts";
export * from "./normalize.ts";
export * from "./random_affine.ts";
export * from "./random_crop.ts";
export * from "./random_horizontal_flip.ts";
export * from "./resize.ts";
export type { BatchTransform, MixOptions } from "./_mixing.ts";
export type { Span } from "./_span.ts";
export type { Transform } from "./transform.ts";
