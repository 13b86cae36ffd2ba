import { checkInteger, checkNumber, checkOptions, refuse } from "../../core/options.ts";
import type { BinaryMetricOptions, ClassMetricOptions } from "./metric.ts";

/** Throws for options of classes that are none; there are some of the metric's own. */
export function checkClassOptions(
  op: string,
  options: ClassMetricOptions,
  ...own: readonly string[]
): void {
  checkOptions(op, options, [...own, "ignoreIndex", "axis", "name"]);
  checkInteger(op, "ignoreIndex", options.ignoreIndex ?? -100, -(2 ** 31));
  if (options.axis !== undefined) checkInteger(op, "axis", options.axis, -8);
}

/** Throws for options of yes and no that are none; there are some of the metric's own. */
export function checkBinaryOptions(
  op: string,
  options: BinaryMetricOptions,
  ...own: readonly string[]
): void {
  checkOptions(op, options, [...own, "logits", "threshold", "name"]);
  if (options.threshold !== undefined) checkNumber(op, "threshold", options.threshold);
  if (![undefined, true, false].includes(options.logits)) {
    refuse(op, "logits", options.logits, "true or false");
  }
}
