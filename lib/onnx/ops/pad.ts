// Padding.
import { normalizeAxis } from "../../core/shape.ts";
import { pad as padOf, type PadOptions } from "../../ops/shape/mod.ts";
import type { Context, Family } from "./_operator.ts";

// Negative pads cut off, before anything is mirrored.
function padded(c: Context, pads: readonly number[], value: number) {
  const { x } = c;
  const axes = c.has(3) ? c.numbers(3) : x.shape.map((_, d) => d);
  if (pads.length !== 2 * axes.length) c.fail(`${pads.length} pads for ${axes.length} axes`);
  const pairs = x.shape.map((): [number, number] => [0, 0]);
  axes.forEach((axis, i) => {
    pairs[normalizeAxis("Pad", axis, x.rank)] = [pads[i]!, pads[i + axes.length]!];
  });
  const mode = c.string("mode", "constant") as PadOptions["mode"];
  if (mode === "constant") return padOf(x, pairs, { value });
  const limited = (limit: typeof Math.min) =>
    pairs.map(([before, after]) => [limit(before, 0), limit(after, 0)] as const);
  return padOf(padOf(x, limited(Math.min)), limited(Math.max), { mode });
}

/** Padding. */
export const pad: Family = {
  Pad: {
    1: (c) => padded(c, c.ints(c.opset < 2 ? "paddings" : "pads"), c.float("value", 0)),
    11: (c) => padded(c, c.numbers(1), c.number(2, 0)),
  },
};
