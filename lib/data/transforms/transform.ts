import type { Tensor } from "../../tensor.ts";

/**
 * From a batch of images [n, channels, height, width] to another one, of the same dtype, format and
 * device. What is random differs from image to image, and comes from the library's random numbers,
 * as manualSeed() starts them.
 */
export type Transform = (images: Tensor) => Tensor;
