// PNG images: what a file's header says, its chunks, and the filters of its lines.
import { DataError } from "../native/errors.ts";
import { inflate } from "./_inflate.ts";

/** An image as a PNG file holds it. */
export interface PngImage {
  width: number;
  height: number;
  /** 1 of grey, 2 with alpha; 3 of colours, 4 with alpha. */
  channels: number;
  /** Row by row, the channels of a pixel side by side. */
  data: Uint8Array<ArrayBuffer>;
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const channelsOf = new Map([[0, 1], [2, 3], [4, 2], [6, 4]]); // by the type of colour

/**
 * The pixels of a PNG file with 8 bits a channel, neither interlaced nor with a palette.
 *
 * @throws DataError when it is damaged, truncated, or of another kind.
 */
export async function decodePng(bytes: Uint8Array, name: string): Promise<PngImage> {
  const fault = (found: string) => new DataError(`${name}: ${found}`);
  if (!signature.every((byte, i) => bytes[i] === byte)) throw fault("this is no PNG file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks = chunksOf(bytes, view, fault);
  const [first] = chunks;
  if (first?.type !== "IHDR" || first.data.length !== 13) throw fault("it has no header");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, colour, , , interlaced] = first.data.subarray(8) as unknown as number[];
  const channels = channelsOf.get(colour!);
  if (bits !== 8 || channels === undefined || interlaced !== 0) {
    throw fault(
      `it has ${bits} bits a channel and colours of type ${colour}${
        interlaced ? ", interlaced" : ""
      }; wanted are 8 bits and type 0, 2, 4 or 6, not interlaced`,
    );
  }
  const parts = chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data.slice());
  const packed = await new Blob(parts).bytes();
  const stride = width * channels, size = (1 + stride) * height;
  const lines = await inflate(packed, name, { format: "deflate", head: 0, sizeOf: () => size });
  if (lines.length !== size) throw fault(`its lines have ${lines.length} bytes, not ${size}`);
  return { width, height, channels, data: unfiltered(lines, height, stride, channels, fault) };
}

function chunksOf(bytes: Uint8Array, view: DataView, fault: (found: string) => DataError) {
  const chunks: { type: string; data: Uint8Array }[] = [];
  for (let at = signature.length; chunks.at(-1)?.type !== "IEND";) {
    const size = at + 12 <= bytes.length ? view.getUint32(at) : Infinity;
    if (at + 12 + size > bytes.length) throw fault(`it is truncated, at ${bytes.length} bytes`);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    chunks.push({ type, data: bytes.subarray(at + 8, at + 8 + size) });
    at += 12 + size; // with length, type and checksum
  }
  return chunks;
}

// Each line starts with the filter by which its bytes are differences from their neighbours: to the
// left, above, and above to the left.
function unfiltered(
  lines: Uint8Array,
  height: number,
  stride: number,
  channels: number,
  fault: (found: string) => DataError,
): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1) + 1, to = y * stride;
    const filter = lines[from - 1]!;
    if (filter > 4) throw fault(`line ${y} has the filter ${filter}; there are 0 to 4`);
    for (let i = 0; i < stride; i++) {
      const left = filter !== 2 && i >= channels ? data[to + i - channels]! : 0;
      const up = filter >= 2 && y > 0 ? data[to + i - stride]! : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) {
        guess = paeth(left, up, i >= channels && y > 0 ? data[to + i - stride - channels]! : 0);
      }
      data[to + i] = lines[from + i]! + guess;
    }
  }
  return data;
}

// Of three neighbours the one nearest to left + up - corner.
function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner), toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
