import type { DeviceName } from "../core/backend.ts";
import { fileBytes } from "../core/host.ts";
import { checkOptions } from "../core/options.ts";
import { tensor } from "../create.ts";
import type { Tensor } from "../tensor.ts";
import { checkMode, decodeFile, type ImageKind, type ImageMode } from "./_image.ts";

export type { ImageMode } from "./_image.ts";

/** Options of {@linkcode decodePng}, {@linkcode decodeJpeg} and {@linkcode decodeImage}. */
export interface DecodeImageOptions {
  /**
   * The channels of the result. `"unchanged"` (default): those of the file; `"grey"` or `"gray"`:
   * 1, brightness 0.299 R + 0.587 G + 0.114 B; `"rgb"`: 3, alpha is dropped; `"rgba"`: 4, alpha is
   * 255 where the file has none.
   */
  mode?: ImageMode | undefined;
  /** Where to put the tensor. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/**
 * The picture in a PNG file as uint8 of shape [channels, height, width], as torchvision has it:
 * 1 channel for grey, 2 with alpha, 3 for RGB, 4 with alpha. Every PNG is read: bits 1 to 16 a
 * sample (16 are rounded to 8, fewer are stretched to 0..255), palettes, transparency, interlacing.
 * Checksums are verified. Divide by 255 for a network.
 *
 * @throws {DataError} when the file is damaged, truncated, no PNG, or of more than 2^28 pixels.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.encodePng(tensor([[0, 255], [128, 7]], { dtype: "uint8" }));
 * console.log(io.decodePng(bytes).shape); // [1, 2, 2]
 * console.log(io.decodePng(bytes, { mode: "rgb" }).shape); // [3, 2, 2]
 * ```
 */
export function decodePng(
  bytes: ArrayBufferView | ArrayBufferLike,
  options: DecodeImageOptions = {},
): Tensor {
  return decoded("decodePng", bytes, options, "PNG");
}

/**
 * The picture in a JPEG file as uint8 of shape [channels, height, width], as torchvision has it:
 * 1 channel for grey, else 3. Baseline and progressive files of 8 bits are read, of grey, YCbCr,
 * RGB, CMYK and YCCK; pixels are those of libjpeg, with EXIF's orientation applied.
 *
 * @throws {DataError} when the file is damaged, truncated, no JPEG, one with arithmetic codes or 12
 * bits, or of more than 2^28 pixels.
 *
 * ```ts
 * import { io } from "@cudeno/cudeno";
 * async function brightness(path: string) {
 *   const photo = io.decodeJpeg(await Deno.readFile(path), { mode: "grey" });
 *   return photo.to("float32").mean().item();
 * }
 * ```
 */
export function decodeJpeg(
  bytes: ArrayBufferView | ArrayBufferLike,
  options: DecodeImageOptions = {},
): Tensor {
  return decoded("decodeJpeg", bytes, options, "JPEG");
}

/**
 * The picture in a PNG or JPEG file, told apart by their first bytes: {@linkcode decodePng} or
 * {@linkcode decodeJpeg}.
 *
 * @throws {DataError} when the file is neither, or damaged.
 *
 * ```ts
 * import { io, zeros } from "@cudeno/cudeno";
 * const bytes = await io.encodePng(zeros([3, 20, 30]));
 * console.log(io.decodeImage(bytes).shape); // [3, 20, 30]
 * ```
 */
export function decodeImage(
  bytes: ArrayBufferView | ArrayBufferLike,
  options: DecodeImageOptions = {},
): Tensor {
  return decoded("decodeImage", bytes, options);
}

function decoded(
  op: string,
  bytes: ArrayBufferView | ArrayBufferLike,
  options: DecodeImageOptions,
  kind?: ImageKind,
): Tensor {
  checkOptions(op, options, ["mode", "device"]);
  const { mode = "unchanged", device } = options;
  checkMode(op, mode);
  const { data, channels, height, width } = decodeFile(fileBytes(op, bytes), op, mode, kind);
  return tensor(data, { shape: [channels, height, width], ...(device && { device }) });
}
