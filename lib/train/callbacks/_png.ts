// The least that makes a PNG file: 8 bits a channel, no filter.
import { crc32 } from "../../io/_zip.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { type Bytes, joined } from "./_protobuf.ts";

/** The PNG file of [channels, height, width] or [height, width]; uint8, or floats of 0..1. */
export async function encodePng(image: Tensor): Promise<Bytes> {
  const [channels, height, width] = image.rank === 2 ? [1, ...image.shape] : image.shape;
  if (image.rank > 3 || !(channels! <= 4) || !(image.size > 0) || width === undefined) {
    throw new ShapeError(
      `encodePng: the image is ${formatShape(image.shape)}; it must be [height, width] or ` +
        "[channels, height, width] with 1 to 4 channels, and not empty",
    );
  }
  const planes = await image.data();
  const scale = image.dtype === "uint8" ? 1 : 255;
  const [stride, area] = [width * channels! + 1, height! * width];
  const lines = new Uint8ClampedArray(stride * height!); // before each line its filter, 0
  for (let i = 0; i < planes.length; i++) {
    const [channel, y, x] = [Math.floor(i / area), Math.floor(i % area / width), i % width];
    lines[y * stride + 1 + x * channels! + channel] = scale * planes[i]!;
  }
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height!);
  header.set([8, [0, 4, 2, 6][channels! - 1]!], 8); // bits, and the type of colour
  return joined([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("IDAT", await new Response(packed).bytes()),
    chunk("IEND", new Uint8Array()),
  ]);
}

function chunk(type: string, data: Bytes): Bytes {
  const room = new Uint8Array(4);
  const bytes = joined([room, new TextEncoder().encode(type), data, room]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  view.setUint32(bytes.length - 4, crc32(bytes.subarray(4, -4)));
  return bytes;
}
