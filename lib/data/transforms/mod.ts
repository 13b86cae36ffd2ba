/** Random changes to batches of images, on the device; named as torchvision's. */
export * from "./compose.ts";
export * from "./cutout.ts";
export * from "./normalize.ts";
export * from "./random_crop.ts";
export * from "./random_horizontal_flip.ts";
export type { Transform } from "./transform.ts";
