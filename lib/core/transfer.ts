// A tensor's elements on their way from and to the host.
import { call } from "../native/call.ts";
import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import { convert } from "./convert.ts";
import { type DataOf, type DType, dtypeInfo, dtypeOf } from "./dtype.ts";
import type { Elements, Memory } from "./elements.ts";
import { byteLengthOf, bytesOf, type HostArray, plainArray } from "./host.ts";

const out = new Uint32Array(1);

type Bytes = Uint8Array<ArrayBuffer>; // as Deno wants the memory that it passes on

/** Overwrites the elements of a tensor. */
export function write(to: Elements, source: ArrayBufferView): void {
  fill("cdn_write", to, source);
}

/** The same beside what the device computes meanwhile, for what it reads later. */
export function stage(to: Elements, source: ArrayBufferView): void {
  fill("cdn_stage", to, source);
}

function fill(how: "cdn_write" | "cdn_stage", to: Elements, source: ArrayBufferView): void {
  const data = dataFor("copyFrom", to, source);
  const carrier = carrierOf(to);
  try {
    call(how, carrier, data as Bytes, 0n, hostBytes(to));
    if (carrier !== to) convert(carrier, to);
  } finally {
    if (carrier !== to) carrier.dispose();
  }
}

/** The same while the event loop goes on. */
export async function writeAsync(to: Elements, source: ArrayBufferView): Promise<void> {
  const data = bytesOf("copyFromAsync", dataFor("copyFromAsync", to, source))!;
  const { backend } = to;
  const { functions } = backend;
  const bytes = hostBytes(to);
  const carrier = carrierOf(to);
  try {
    // By way of memory that only we have: the caller's may be transferred or shrunk while another
    // thread reads it.
    const most = Math.min(bytes, 1 << 22);
    const piece = new Uint8Array(most);
    for (let at = 0; at < bytes; at += most) {
      if (byteLengthOf(data) !== bytes) {
        throw new ArgumentError(
          "copyFromAsync: the array's buffer was transferred or shrunk before it was copied",
        );
      }
      const size = Math.min(most, bytes - at), count = BigInt(size);
      piece.set(data.subarray(at, at + size));
      call("cdn_write_begin", out, carrier, at, count);
      const ticket = out[0]!;
      await functions.wait_for_write(ticket, piece, count);
      backend.check(functions.cdn_write_end(ticket, count)); // what the wait met, too
    }
    if (carrier !== to) convert(carrier, to);
  } finally {
    if (carrier !== to) carrier.dispose();
  }
}

/** The elements of a tensor. */
export function read<D extends DType>(from: Elements): DataOf<D> {
  const data = dtypeInfo(from.dtype).make(from.size);
  const source = readable(from);
  try {
    call("cdn_read", data as Bytes, source, 0n, hostBytes(from));
  } finally {
    if (source !== from) source.dispose();
  }
  return data as DataOf<D>;
}

/** The same once the device has computed them, while the event loop goes on. */
export async function readAsync<D extends DType>(from: Elements): Promise<DataOf<D>> {
  const data = dtypeInfo(from.dtype).make(from.size);
  const source = readable(from);
  let reading;
  try {
    reading = readBytes(source, 0, data as Bytes, hostBytes(from));
  } finally {
    if (source !== from) source.dispose(); // the read has captured it
  }
  await reading;
  return data as DataOf<D>;
}

/**
 * Fills an array of so many bytes with those of a tensor's memory from `at` on, as they are at the
 * call, once the device has computed them.
 */
export async function readBytes(
  from: Memory,
  at: number,
  bytes: Bytes,
  size: number,
): Promise<Bytes> {
  const { backend } = from;
  const count = BigInt(size);
  call("cdn_read_begin", out, from, at, count);
  const ticket = out[0]!;
  await backend.functions.wait_for_read(ticket);
  backend.check(backend.functions.cdn_read_end(bytes, ticket, count));
  return bytes;
}

// What is not contiguous, and bfloat16, which has no typed array, goes to and from the host by way
// of a contiguous tensor, of float32 then.
function carrierOf(x: Elements): Elements {
  const { host } = dtypeInfo(x.dtype);
  return host === x.dtype && x.format === "contiguous" ? x : x.make(x.shape, host);
}

// What a read reads: the tensor, or its elements in a dtype that has a typed array.
function readable(x: Elements): Elements {
  const carrier = carrierOf(x);
  try {
    if (carrier !== x) convert(x, carrier);
    return carrier;
  } catch (error) {
    carrier.dispose();
    throw error;
  }
}

function dataFor(op: string, x: Elements, source: ArrayBufferView): HostArray {
  const { host } = dtypeInfo(x.dtype);
  const data = plainArray(op, source);
  if (!data || dtypeOf(data) !== host) {
    throw new DTypeError(`${op}: a ${x.dtype} tensor needs the typed array of ${host}`);
  }
  const [found, wanted] = [byteLengthOf(data), hostBytes(x)];
  if (found !== wanted) {
    throw new ShapeError(`${op}: ${found} bytes were given; ${wanted} are wanted`);
  }
  return data;
}

// The bytes of the elements as the host holds them.
function hostBytes(x: Elements): number {
  return x.size * dtypeInfo(dtypeInfo(x.dtype).host).bytes;
}
