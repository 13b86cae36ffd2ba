import { refuse } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { DTypeError, ShapeError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { crc32 } from "./_zip.ts";

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const colourTypes = [0, 4, 2, 6]; // by channels - 1

/**
 * The bytes of a PNG file of 8 bits with this picture: [height, width], or [channels, height,
 * width] of 1 channel for grey, 2 with alpha, 3 for RGB, 4 with alpha. uint8, or floats, of which
 * 0..1 becomes 0..255: they are rounded, and cut off beyond; NaN becomes 0.
 *
 * @throws {ShapeError} for other shapes.
 * @throws {DTypeError} for int32.
 *
 * ```ts
 * import { io, rand } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".png" });
 * await Deno.writeFile(path, await io.encodePng(rand([3, 32, 48]))); // coloured noise
 * await Deno.remove(path);
 * ```
 */
export async function encodePng(image: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  if (!(image instanceof Tensor)) refuse("encodePng", "the image", image, "a tensor");
  const { shape, dtype } = image;
  const [channels, height, width] = shape.length === 2 ? [1, ...shape] : shape;
  if (![2, 3].includes(shape.length) || !(channels! >= 1 && channels! <= 4) || !height || !width) {
    throw new ShapeError(
      `encodePng: the image is ${formatShape(shape)}; it must be [height, width] or ` +
        "[channels, height, width] with 1 to 4 channels, and not empty",
    );
  }
  if (dtype === "int32") {
    throw new DTypeError(
      'encodePng: the image is int32; it must be uint8, as by .to("uint8"), or floats of 0..1',
    );
  }
  const planes = await image.data();
  const pixels = new Uint8ClampedArray(planes.length); // rounds, and cuts off
  const scale = dtype === "uint8" ? 1 : 255;
  const size = height * width!;
  for (let c = 0; c < channels!; c++) {
    for (let i = 0; i < size; i++) pixels[i * channels! + c] = planes[c * size + i]! * scale;
  }
  const lines = filtered(pixels, height, width! * channels!, channels!);
  const stream = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width!);
  view.setUint32(4, height);
  header.set([8, colourTypes[channels! - 1]!], 8);
  return await new Blob([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", await new Response(stream).bytes()),
    chunk("IEND", new Uint8Array(0)),
  ]).bytes();
}

function chunk(type: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, -4)));
  return bytes;
}

// Each line as differences from its neighbours by the one of five filters that leaves the smallest
// ones, as the PNG specification suggests.
function filtered(
  pixels: Uint8ClampedArray,
  height: number,
  stride: number,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const lines = new Uint8Array(height * (stride + 1));
  const tries = Array.from({ length: 5 }, () => new Uint8Array(stride));
  const [plain, toLeft, toUp, toMean, toNearest] = tries as [Uint8Array, ...Uint8Array[]];
  for (let y = 0; y < height; y++) {
    for (let i = 0, at = y * stride; i < stride; i++, at++) {
      const x = pixels[at]!;
      const left = i >= channels ? pixels[at - channels]! : 0;
      const up = y > 0 ? pixels[at - stride]! : 0;
      const corner = i >= channels && y > 0 ? pixels[at - stride - channels]! : 0;
      plain[i] = x;
      toLeft![i] = x - left;
      toUp![i] = x - up;
      toMean![i] = x - ((left + up) >> 1);
      toNearest![i] = x - paeth(left, up, corner);
    }
    const sums = tries.map(sizeOf);
    const best = sums.indexOf(Math.min(...sums));
    lines[y * (stride + 1)] = best;
    lines.set(tries[best]!, y * (stride + 1) + 1);
  }
  return lines;
}

// The sum of a line's differences, of which those from 128 on are negative.
function sizeOf(line: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < line.length; i++) sum += line[i]! < 128 ? line[i]! : 256 - line[i]!;
  return sum;
}

// Of three neighbours the one nearest to left + up - corner.
function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner), toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
