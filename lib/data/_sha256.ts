/**
 * The SHA-256 fingerprint of a file's bytes.
 *
 * @module
 */

/**
 * The SHA-256 of `bytes` (FIPS 180-4) as 64 lower-case hexadecimal digits. The work is done by
 * Web Crypto, off the JavaScript thread.
 */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  // Web Crypto refuses shared memory, so those bytes, and only those, are copied.
  const own = bytes.buffer instanceof ArrayBuffer;
  const input = own ? bytes as Uint8Array<ArrayBuffer> : bytes.slice();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", input)).toHex();
}
