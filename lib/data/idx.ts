/**
 * The IDX format, in which MNIST and its relatives are published.
 *
 * @module
 */

import { fileBytes } from "../core/host.ts";
import { refuse } from "../core/options.ts";
import { type IdxArray, inflateIdx, parseIdx } from "./_idx_format.ts";
import { isGzip } from "./_inflate.ts";

export type { IdxArray, IdxData, IdxDType } from "./_idx_format.ts";

/**
 * Reads an IDX file, plain or gzip-compressed.
 *
 * The format is: two zero bytes, the code of the element type, the rank, then the sizes as
 * big-endian unsigned 32-bit numbers, then the elements in row-major order, big-endian. See
 * "The IDX file format" at <http://yann.lecun.com/exdb/mnist/>.
 *
 * A plain file of bytes is not copied: the array is then a view on `bytes`. A compressed one is
 * inflated no further than its header says, and to 2 GiB at most.
 *
 * @param bytes the whole file; compressed when it begins with gzip's `1f 8b`.
 * @param name what messages call the file.
 * @throws DataError when the file is damaged, truncated, too long or no IDX file. The message
 * says what was found and what was expected.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * const file = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9); // bytes, one axis of 3
 * console.log((await data.readIdx(file)).data); // 7, 8, 9
 * ```
 */
export async function readIdx(
  bytes: ArrayBufferView | ArrayBufferLike,
  name: string = "IDX file",
): Promise<IdxArray> {
  if (typeof name !== "string") refuse("readIdx", "name", name, "a string");
  const file = fileBytes("readIdx", bytes);
  return parseIdx(isGzip(file) ? await inflateIdx(file, name) : file, name);
}
