import { formatValue } from "../../core/describe.ts";
import { checkInteger } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";

/** The padding row counted from the front; -1 for none. */
export function checkPadding(op: string, paddingIndex: number | undefined, num: number): number {
  if (paddingIndex === undefined) return -1;
  checkInteger(op, "paddingIndex", paddingIndex, -num);
  if (paddingIndex >= num) {
    throw new ArgumentError(
      `${op}: paddingIndex is ${
        formatValue(paddingIndex)
      }; with ${num} rows it must be in ${-num}..${num - 1}`,
    );
  }
  return paddingIndex < 0 ? paddingIndex + num : paddingIndex;
}
