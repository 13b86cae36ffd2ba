// Padding.
import { normalizeAxis } from "../../core/shape.ts";
import { tensor } from "../../create.ts";
import { indexSelect } from "../../ops/index/mod.ts";
import { pad as padOf, type PadOptions } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
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
  const cut = padOf(x, limited(Math.min));
  const more = limited(Math.max);
  const wide = more.map(([before, after], d) => {
    const most = cut.shape[d]! - (mode === "reflect" ? 1 : 0);
    return mode !== "edge" && cut.shape[d]! > 0 && Math.max(before, after) > most;
  });
  let y = padOf(cut, more.map((pair, d) => wide[d] ? [0, 0] : pair), { mode });
  for (const [d, [before, after]] of more.entries()) {
    if (wide[d]) y = around(y, d, before, after, mode === "reflect");
  }
  return y;
}

// An axis over and over again, there and back or each time from its beginning.
function around(x: Tensor, axis: number, before: number, after: number, back: boolean): Tensor {
  const extent = x.shape[axis]!, period = back ? Math.max(1, 2 * (extent - 1)) : extent;
  const index = new Int32Array(before + extent + after).map((_, i) => {
    const at = (((i - before) % period) + period) % period;
    return at < extent ? at : period - at;
  });
  return indexSelect(x, axis, tensor(index, { device: x.device }));
}

/** Padding. */
export const pad: Family = {
  Pad: {
    1: (c) => padded(c, c.ints(c.opset < 2 ? "paddings" : "pads"), c.float("value", 0)),
    11: (c) => padded(c, c.numbers(1), c.number(2, 0)),
  },
};
