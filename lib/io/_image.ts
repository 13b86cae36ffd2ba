// Pictures on the host: files decoded and resized by the native library, without a device.
import { checkChoice } from "../core/options.ts";
import { DataError, NativeError } from "../native/errors.ts";
import { hostLibrary, type Library } from "../native/library.ts";

/**
 * What channels a picture is decoded to: those of the file, or grey (brightness), RGB, or RGB and
 * alpha.
 */
export type ImageMode = "unchanged" | "grey" | "gray" | "rgb" | "rgba";

const channelsOf = { unchanged: 0, grey: 1, gray: 1, rgb: 3, rgba: 4 } as const;

/** Throws unless mode is one. */
export function checkMode(op: string, mode: ImageMode): void {
  checkChoice(op, "mode", mode, channelsOf);
}

/** The format of a file of pictures. */
export type ImageKind = "PNG" | "JPEG";

/** What the header of a picture says. */
export interface ImageInfo {
  kind: ImageKind;
  channels: number;
  height: number;
  width: number;
}

/** A picture on the host. */
export interface HostImage {
  /** Plane by plane, row by row. */
  data: Uint8Array<ArrayBuffer>;
  channels: number;
  height: number;
  width: number;
}

const unsupported = 5;

// Runs a function of the library, which says what is wrong with the file of this name.
function attempt(name: string, call: (functions: Library["functions"]) => number): void {
  const library = hostLibrary();
  try {
    library.check(call(library.functions));
  } catch (error) {
    if (!(error instanceof NativeError) || error.status > unsupported) throw error;
    const found = error.message.replace(/^\w+: /, "");
    throw new DataError(`${name}: ${found}`, { cause: error });
  }
}

// Another thread may write to shared memory while the library looks at it.
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : bytes.slice();
}

/** What the header of a PNG or JPEG file says, which messages call `name`. */
export function imageInfo(bytes: Uint8Array, name: string): ImageInfo {
  const info = new BigInt64Array(5);
  const file = own(bytes);
  attempt(name, (f) => f.cdn_image_info(info, file, BigInt(file.length)));
  const [kind, channels, height, width] = Array.from(info, Number) as [number, ...number[]];
  return { kind: kind === 1 ? "PNG" : "JPEG", channels, height, width } as ImageInfo;
}

/** The picture in a PNG or JPEG file. */
export function decodeFile(
  bytes: Uint8Array,
  name: string,
  mode: ImageMode = "unchanged",
  wanted?: ImageKind,
): HostImage {
  const file = own(bytes);
  const { kind, height, width, channels: found } = imageInfo(file, name);
  if (wanted !== undefined && kind !== wanted) {
    throw new DataError(
      `${name}: this is a ${kind} file, not ${wanted}; io.decodeImage takes either`,
    );
  }
  const channels = channelsOf[mode] || found;
  const data = new Uint8Array(channels * height * width);
  attempt(name, (f) =>
    f.cdn_image_decode(
      ...[data, file, BigInt(file.length), BigInt(channels)] as const,
      ...[BigInt(height), BigInt(width)] as const,
    ));
  return { data, channels, height, width };
}

/** Writes a picture into `to`, resized to what that is to have. */
export function resizeInto(
  to: Uint8Array<ArrayBuffer>,
  height: number,
  width: number,
  from: HostImage,
): void {
  const sizes = [from.channels, height, width, from.height, from.width].map(BigInt);
  const [channels, ...rest] = sizes as [bigint, bigint, bigint, bigint, bigint];
  attempt("resize", (f) => f.cdn_image_resize(to, from.data, channels, ...rest));
}
