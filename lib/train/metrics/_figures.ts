import { checkChoice, checkInteger, checkOptions } from "../../core/options.ts";
import { zeros } from "../../create.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { eq } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { indexAdd } from "../../ops/index/index_add.ts";
import { binaryOf, yesOf } from "./_binary.ts";
import { rowsOf } from "./_classes.ts";
import { checkBinaryOptions, checkClassOptions } from "./_options.ts";
import type { Metric } from "./metric.ts";
import { accumulator } from "./_accumulator.ts";
import type { Numbers } from "./_state.ts";
import type { Average, PrecisionOptions } from "./precision_recall.ts";

/** A figure of a class, or of all, by its sums of weights. */
export type Figure = (right: number, found: number, wanted: number) => number;
const averages: Record<Average, true> = {
  binary: true,
  micro: true,
  macro: true,
  weighted: true,
  none: true,
};
/** A part of a whole; 0 of nothing. */
export const share = (part: number, whole: number): number => whole === 0 ? 0 : part / whole;
const total = (x: readonly number[]) => x.reduce((a, b) => a + b, 0);

function averaged(figure: Figure, average: Average, read: Numbers): number | number[] {
  const { right = [], predicted: found = [], counted: wanted = [] } = read;
  if (average === "micro") return figure(total(right), total(found), total(wanted));
  const all = right.map((n, i) => figure(n, found[i]!, wanted[i]!));
  if (average === "none") return all;
  if (average === "binary") return all[1]!;
  const weights = average === "weighted"
    ? wanted
    : wanted.map((n, i) => n !== 0 || found[i] !== 0 ? 1 : 0);
  return share(total(all.map((x, i) => x * weights[i]!)), total(weights));
}

/** The metric of a figure, averaged. */
export function figures(
  op: string,
  figure: Figure,
  options: PrecisionOptions,
): Metric<number | number[]> {
  if (typeof options !== "object" || options === null) checkOptions(op, options, ["average"]);
  const { average = "macro", classes, name } = options;
  checkChoice(`${op}`, "average", average, averages);
  const binary = average === "binary";
  if (binary) checkBinaryOptions(op, options, "average");
  else checkClassOptions(op, options, "average", "classes");
  if (classes !== undefined) checkInteger(op, "classes", classes, 1);
  return accumulator(op, name, {
    add(state, ...batch) {
      const rows = binary ? binaryOf(op, state, batch) : rowsOf(op, state, options, batch);
      const found = "found" in rows ? rows.found : cast(yesOf(state, rows, options), "int32");
      const wanted = cast(rows.wanted, "int32");
      const none = zeros(["classes" in rows ? rows.classes : 2], {
        dtype: "float64",
        device: wanted.device,
      });
      const right = where(eq(found, wanted), rows.counts, 0);
      state.add("right", indexAdd(none, 0, wanted, right));
      state.add("predicted", indexAdd(none, 0, found, rows.counts));
      state.add("counted", indexAdd(none, 0, wanted, rows.counts));
    },
    value: (read) => averaged(figure, average, read),
  });
}
