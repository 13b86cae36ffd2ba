import { call } from "../native/call.ts";
import { dtypeInfo } from "./dtype.ts";
import type { Elements } from "./elements.ts";

/**
 * Copies a tensor's elements into another of its shape and device, in that one's dtype and format:
 * by one kernel for each that differs. Not recorded.
 */
export function convert(from: Elements, to: Elements): void {
  const { shape, code, format } = from;
  const [target, source] = [to.stored(to.format), from.stored(format)];
  if (format === to.format) {
    if (code !== to.code) call("cdn_cast", target, source, from.size, to.code, code);
    else call("cdn_copy", target, source, 0n, 0n, from.size * dtypeInfo(from.dtype).bytes);
  } else if (code !== to.code) {
    using cast = from.make(shape, to.dtype, format);
    convert(from, cast);
    convert(cast, to);
  } else {
    const [batch, channels, pixels] = [shape[0]!, shape[1]!, shape[2]! * shape[3]!];
    const [rows, cols] = format === "contiguous" ? [channels, pixels] : [pixels, channels];
    call("cdn_transpose", target, source, batch, rows, cols, code);
  }
}
