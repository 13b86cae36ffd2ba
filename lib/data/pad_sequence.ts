import { checkValue } from "../core/dtype.ts";
import { checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { checkShape, formatShape, sameShape } from "../core/shape.ts";
import { full } from "../create.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { autocasted, checkSameDevice, checkSameDType } from "../ops/_operands.ts";
import { concat } from "../ops/shape/concat.ts";
import type { Tensor } from "../tensor.ts";

/** Options of {@linkcode padSequence}. */
export interface PadSequenceOptions {
  /** Whether the result is [n, longest, ...], or else [longest, n, ...]. Default true. */
  batchFirst?: boolean | undefined;
  /** What the shorter ones are filled with. Default 0. */
  paddingValue?: number | undefined;
}

/**
 * Sequences [length, ...] of different lengths as one tensor [n, longest, ...], the shorter ones
 * filled up at their ends. One dtype, any. Gradients go back to the sequences. As
 * torch.nn.utils.rnn.pad_sequence, whose batch_first is false where this one's is true.
 *
 * @throws {ShapeError} when sequences differ in more than their lengths.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const words = [[5, 6, 7], [8]].map((ids) => tensor(ids, { dtype: "int32" }));
 * const batch = data.padSequence(words, { paddingValue: -1 });
 * console.log(batch.shape, batch.dataSync()); // [2, 3]; 5, 6, 7, 8, -1, -1
 * ```
 */
export function padSequence(
  sequences: readonly Tensor[],
  options: PadSequenceOptions = {},
): Tensor {
  const op = "padSequence";
  checkOptions(op, options, ["batchFirst", "paddingValue"]);
  const { batchFirst = true, paddingValue = 0 } = options;
  if (!Array.isArray(sequences) || sequences.length === 0) {
    throw new ArgumentError(`${op}: wanted is an array of one sequence or more`);
  }
  return scope(() => {
    const [first, ...others] = autocasted("widest", ...sequences as [Tensor, ...Tensor[]]);
    checkSameDevice(op, first, ...others);
    checkSameDType(op, first, ...others);
    const { dtype, device, rank } = first, all = [first, ...others];
    checkValue(op, paddingValue, dtype);
    const rest = first.shape.slice(1);
    for (const x of all) {
      if (rank > 0 && x.rank === rank && sameShape(x.shape.slice(1), rest)) continue;
      throw new ShapeError(
        `${op}: sequences are ${formatShape(first.shape)} and ${formatShape(x.shape)}; they must ` +
          "have an axis, and differ in their lengths, the first one, only",
      );
    }
    const lengths = all.map(({ shape }) => shape[0]!);
    const [least, most] = lengths.reduce(
      ([least, most], n) => [Math.min(least, n), Math.max(most, n)],
      [Infinity, 0],
    );
    const shape = [all.length, most, ...rest];
    checkShape(op, shape);
    const filler = full([most - least, ...rest], paddingValue, { dtype, device });
    const pieces = all.flatMap((x, i) =>
      lengths[i]! < most ? [x, filler.view(0, [most - lengths[i]!, ...rest])] : [x]
    );
    const padded = concat(pieces).reshape(shape);
    return batchFirst ? padded : padded.transpose(0, 1);
  });
}
