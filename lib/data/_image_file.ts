// Pictures of files, on the host: no device is needed, so that a Worker may call it.
import { DataError } from "../native/errors.ts";
import { decodeFile, type ImageMode, resizeInto } from "../io/_image.ts";

/** What all pictures of a data set become. */
export interface Picture {
  /** The channels by name. */
  readonly mode: ImageMode;
  /** How many these are. */
  readonly channels: number;
  /** Rows of pixels. */
  readonly height: number;
  /** Pixels of a row. */
  readonly width: number;
  /** Whether those of another size are resized; else they are an error. */
  readonly resize: boolean;
}

/**
 * Writes a picture, a plane for each channel, into `to`: that of a PNG or JPEG file at a path, or
 * of its bytes.
 *
 * @throws {DataError} that names the file, when it cannot be read or decoded.
 */
export function readPicture(
  to: Uint8Array<ArrayBuffer>,
  path: string,
  { mode, height, width, resize }: Picture,
  bytes?: Uint8Array,
): void {
  const image = decodeFile(bytes ?? fileOf(path), path, mode);
  if (image.height === height && image.width === width) to.set(image.data);
  else if (resize) resizeInto(to, height, width, image);
  else {
    throw new DataError(
      `${path}: it has ${image.height} x ${image.width} pixels, and the first picture ` +
        `${height} x ${width}; give { size: [height, width] } to resize them`,
    );
  }
}

/** The bytes of a file; throws a DataError that names it. */
export function fileOf(path: string): Uint8Array<ArrayBuffer> {
  try {
    return Deno.readFileSync(path);
  } catch (cause) {
    throw new DataError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/**
 * A PNG file of the picture in a file of another format, if the platform decodes that.
 *
 * @throws {DataError} that names the file, when it does not.
 */
export async function toPng(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = fileOf(path);
  try {
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("bitmaprenderer")!.transferFromImageBitmap(bitmap);
    return await (await canvas.convertToBlob({ type: "image/png" })).bytes();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : cause;
    throw new DataError(
      `${path}: it is no PNG or JPEG file, and the platform decodes it neither: ${reason}`,
      { cause },
    );
  }
}
