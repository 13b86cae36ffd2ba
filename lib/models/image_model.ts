import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";

/** Options that models of images have in common. */
export interface ImageModelOptions {
  /** How many classes there are: the outputs. Default 1000, ImageNet's. */
  classes?: number | undefined;
  /** Of the images. Default 3. */
  channels?: number | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** Options of models that drop units of the classifier. */
export interface DropoutModelOptions extends ImageModelOptions {
  /** The probability with which units of the classifier are dropped in training. */
  dropout?: number | undefined;
}
