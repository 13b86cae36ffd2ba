import { checkInteger, checkState, refuse } from "../core/options.ts";
import { isNumbers, labelOf, namesOf, type Numbers, numbersOf, spanOf, usable } from "./_axis.ts";
import { checkPlot, colourOf, framed, rectOf, textAt, widthOf } from "./_scene.ts";
import { type AxisOptions, type Plot, type PlotOptions } from "./plot.ts";

/** Options of {@linkcode histogram}. */
export interface HistogramOptions extends Omit<AxisOptions, "xScale" | "yScale"> {
  /** How many intervals of one length; default 2 * cbrt(n), at most 60. */
  bins?: number | undefined;
}

/**
 * How many of the numbers lie in each interval; of several lists by name, one before the other. NaN
 * and infinities are left out.
 *
 * ```ts
 * import { plot, randn } from "@cudeno/cudeno";
 * const weights = plot.histogram({ before: randn([500]), after: randn([500]).mul(2) });
 * ```
 */
export function histogram(
  values: Numbers | Record<string, Numbers>,
  options: HistogramOptions = {},
): Plot {
  const op = "plot.histogram";
  checkPlot(op, options, ["xLabel", "yLabel", "bins"]);
  const one = isNumbers(values);
  if (!one) checkState(op, values, "the values", "numbers, or lists of numbers by name");
  const named: Record<string, Numbers> = one ? { values } : values;
  const lists = Object.entries(named).map(([name, list]) => numbersOf(op, name, list));
  const most = lists.reduce((most, { length }) => Math.max(most, length), 0);
  const { bins = Math.max(1, Math.min(60, Math.ceil(2 * Math.cbrt(most)))) } = options;
  checkInteger(op, "bins", bins, 1);
  const x = spanOf(lists, false, 0);
  const counts = lists.map((list) => {
    const counts = new Float64Array(bins);
    for (let i = 0; i < list.length; i++) {
      if (!usable(list[i])) continue;
      const at = Math.floor((list[i]! - x.low) / (x.high - x.low) * bins);
      counts[Math.min(at, bins - 1)]!++;
    }
    return counts;
  });
  const y = { ...spanOf([[0, 1], ...counts]), low: 0, whole: true };
  return framed(options, { x, y, legend: one ? [] : Object.keys(named) }, (inside) => {
    const width = (inside.right - inside.left) / bins;
    return counts.map((list, i) => {
      const style = `class="${colourOf(i)}" fill="currentColor" opacity="${one ? 0.85 : 0.55}"`;
      return Array.from(list, (count, bin) => {
        const top = inside.y(count), left = inside.left + bin * width;
        return count && rectOf(left + 0.5, top, Math.max(1, width - 1), inside.bottom - top, style);
      }).filter(Boolean).join("");
    }).join("");
  });
}

/**
 * A bar for each name, which lie so that names of any length can be read, with its number. NaN and
 * infinities have a name, and no bar; so has what is not above 0 where `xScale` is `"log"`.
 *
 * ```ts
 * import { plot } from "@cudeno/cudeno";
 * const recall = plot.bar({ cat: 0.91, dog: 0.87, "polar bear": 0.99 }, { xLabel: "recall" });
 * ```
 */
export function bar(
  values: Record<string, number>,
  options: PlotOptions & Pick<AxisOptions, "xLabel" | "yLabel" | "xScale"> = {},
): Plot {
  checkPlot("plot.bar", options, ["xLabel", "yLabel", "xScale"]);
  checkState("plot.bar", values, "the values", "numbers by name");
  for (const [name, x] of Object.entries(values)) {
    if (typeof x !== "number") refuse("plot.bar", name, x, "a number");
  }
  const [names, numbers] = [Object.keys(values), Object.values(values)];
  const height = Math.max(100, 80 + 26 * Math.min(names.length, 100));
  const log = options.xScale === "log";
  const parts = { x: spanOf(log ? [numbers] : [[0], numbers], log), y: namesOf(names) };
  if (!log && numbers.every((x) => !(x < 0))) parts.x.low = 0;
  return framed({ height, ...options }, parts, ({ x, y, left, right, top, bottom }) => {
    const thick = Math.max(1, 0.7 * (bottom - top) / Math.max(1, names.length));
    return numbers.map((value, i) => {
      if (!usable(value, log)) return "";
      const zero = log ? left : x(0);
      const [from, to] = [Math.min(zero, x(value)), Math.max(zero, x(value))];
      const style = `class="${colourOf(0)}" fill="currentColor"`;
      const label = thick > 11 ? labelOf(Number(value.toPrecision(4))) : "";
      // at its end: within the bar where there is room, else beyond it, else on the other side
      const needed = widthOf([label]) + 12, within = to - from > needed, up = value >= 0;
      const beyond = up ? right + 12 - to > needed : from - left > needed;
      const start = within ? !up : up === beyond;
      const at = start === within ? from : to;
      const how = `text-anchor="${start ? "start" : "end"}" class="${within ? "b" : "d t"}"`;
      return rectOf(from, y(i) - thick / 2, to - from, thick, style) +
        textAt(start ? at + 5 : at - 5, y(i) + 4, label, how);
    }).join("");
  });
}
