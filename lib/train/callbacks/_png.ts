// The least that makes a PNG file: 8 bits a channel, no filter.
import { crc32 } from "../../io/_zip.ts";
import { type Bytes, joined } from "./_protobuf.ts";

/** The PNG file of an image, row by row, with 1 (grey), 2 (alpha too), 3 or 4 channels. */
export async function encodePng(
  image: { width: number; height: number; channels: number; data: Uint8Array },
): Promise<Bytes> {
  const { width, height, channels, data } = image;
  const stride = width * channels;
  const lines = new Uint8Array((stride + 1) * height); // before each its filter, 0
  for (let y = 0; y < height; y++) {
    lines.set(data.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  }
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = [0, 4, 2, 6][channels - 1]!; // the type of colour
  return joined([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("IDAT", await new Response(packed).bytes()),
    chunk("IEND", new Uint8Array()),
  ]);
}

function chunk(type: string, data: Bytes): Bytes {
  const bytes = joined([
    new Uint8Array(4),
    new TextEncoder().encode(type),
    data,
    new Uint8Array(4),
  ]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  view.setUint32(bytes.length - 4, crc32(bytes.subarray(4, -4)));
  return bytes;
}
