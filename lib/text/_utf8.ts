// Bytes that may be no UTF-8.

/** The parts of bytes that are UTF-8, as text, and those that are not, in their order. */
export function* textIn(bytes: Uint8Array): Generator<string | Uint8Array> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let start = 0, valid = true;
  for (let at = 0; at <= bytes.length;) {
    const length = at < bytes.length ? lengthAt(bytes, at) : 0;
    if (at > start && (at === bytes.length || length > 0 !== valid)) {
      const part = bytes.subarray(start, at);
      yield valid ? decoder.decode(part) : part;
      start = at;
    }
    valid = length > 0;
    at += length || 1;
  }
}

// How many bytes the character there has, 0 if it is none.
function lengthAt(bytes: Uint8Array, at: number): number {
  const a = bytes[at]!, b = bytes[at + 1] ?? 0;
  if (a < 0x80) return 1;
  const length = a < 0xc2 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : a < 0xf5 ? 4 : 0;
  for (let i = 1; i < length; i++) if ((bytes[at + i] ?? 0) >> 6 !== 2) return 0;
  // too long, surrogates, beyond U+10FFFF
  const wrong = a === 0xe0 && b < 0xa0 || a === 0xed && b > 0x9f || a === 0xf0 && b < 0x90 ||
    a === 0xf4 && b > 0x8f;
  return wrong ? 0 : length;
}
