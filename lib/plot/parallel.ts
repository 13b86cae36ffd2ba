import { checkList } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { namesOf, scaleOf, type Span, spanOf, ticksOf, usable } from "./_axis.ts";
import { checkPlot, cut, px, svgOf, textAt, widthOf } from "./_scene.ts";
import { Plot, type PlotOptions } from "./plot.ts";

/** Options of {@linkcode parallel}. */
export interface ParallelOptions extends PlotOptions {
  /** The name whose value colours a line, from blue, low, to orange; default: the last. */
  color?: string | undefined;
}

/**
 * Parallel coordinates, for what a search found: an axis for each name, and a line for each row. An
 * axis of positive numbers over two decades or more is logarithmic, one with texts or booleans has
 * a place for each. What a row does not have, or is not finite, leaves a gap. Of more than 1500
 * rows every second one is drawn, or fewer.
 *
 * @throws {ArgumentError} for a `color` that no row has.
 *
 * ```ts
 * import { plot } from "@cudeno/cudeno";
 * const trials = [
 *   { lr: 0.1, optimizer: "SGD", hidden: 64, loss: 0.41 },
 *   { lr: 0.001, optimizer: "AdamW", hidden: 256, loss: 0.22 },
 * ];
 * const picture = plot.parallel(trials, { color: "loss" });
 * ```
 */
export function parallel(
  rows: readonly Record<string, number | string | boolean | undefined>[],
  options: ParallelOptions = {},
): Plot {
  checkPlot("plot.parallel", options, ["color"]);
  const isRow = (x: unknown) => typeof x === "object" && x !== null;
  checkList("plot.parallel", "rows", rows, isRow, "objects of numbers and texts");
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const { width = 640, height = 400, color = names.at(-1) } = options;
  if (options.color !== undefined && !names.includes(options.color)) {
    throw new ArgumentError(
      `plot.parallel: no row has the color ${options.color}; there are ${names.join(", ")}`,
    );
  }
  const every = Math.ceil(rows.length / 1500);
  const shown = rows.filter((_, i) => i % every === 0);
  const axes = names.filter((name) => name !== color).concat(color ?? []).map((name) => {
    const all = shown.map((row) => wordOf(row[name]));
    const texts = [...new Set(all.filter((x) => typeof x === "string"))];
    const words = texts.length > 0;
    const numbers = words ? [] : all.filter((x): x is number => usable(x));
    const low = numbers.reduce((a, b) => Math.min(a, b), Infinity);
    const log = low > 0 && numbers.some((x) => x >= 100 * low);
    const span = words ? namesOf(texts) : spanOf([numbers], log, 0);
    // its place from 0 to 1
    const at = (row: typeof rows[number]) => {
      const x = wordOf(row[name]);
      const value = typeof x === "string" ? texts.indexOf(x) : words ? NaN : x;
      return usable(value, log) ? scaleOf(span, 0, 1)(value) : undefined;
    };
    return { name, span, at };
  });
  return new Plot(svgOf(options, [width, height], (height) => {
    const [left, right, bottom] = [50, width - 60, height - 16];
    const apart = (right - left) / Math.max(1, axes.length - 1);
    const xOf = (i: number) => left + apart * i;
    // names that are too long for one line stand in two, every second one lower
    const tiers = axes.some(({ name }) => widthOf([name]) > apart - 8) ? 2 : 1;
    const top = 18 + 16 * tiers;
    const yOf = (share: number) => bottom - share * (bottom - top);
    const lines = new Map<string, string>(); // by colour
    for (const row of shown) {
      let d = "", pen = "M";
      axes.forEach(({ at }, i) => {
        const share = at(row);
        if (share !== undefined) d += `${pen}${px(xOf(i))} ${px(yOf(share))}`;
        pen = share === undefined ? "M" : "L";
      });
      const paint = shadeOf(axes.at(-1)!.at(row));
      lines.set(paint, (lines.get(paint) ?? "") + d);
    }
    const paths = [...lines].map(([paint, d]) =>
      `<path ${paint} fill="none" opacity=".6" stroke-width="1.5" d="${d}"/>`
    );
    return paths.join("") + axes.map(({ name, span }, i) => axisOf(name, span, xOf(i), i)).join("");

    function axisOf(name: string, span: Span, x: number, i: number): string {
      const room = apart - 8, last = i === axes.length - 1;
      const title = cut(name, room + apart * (tiers - 1)), half = widthOf([title]) / 2 + 4;
      const middle = Math.max(half, Math.min(x, width - half));
      let out = textAt(middle, 18 + 16 * (i % tiers), title, 'text-anchor="middle"');
      const parts = last ? 20 : 1; // in the last one's own colours
      for (let k = 0; k < parts; k++) {
        const paint = parts > 1 ? `${shadeOf((k + 0.5) / 20)} stroke-width="4"` : 'class="r"';
        out += `<path ${paint} d="M${px(x)} ${px(yOf(k / parts))}V${px(yOf((k + 1) / parts))}"/>`;
      }
      const place = scaleOf(span, bottom, top);
      for (const [value, label] of ticksOf(span, Math.max(2, Math.floor(height / 50)))) {
        const text = cut(label, last ? width - x - 8 : room);
        if (!span.names && text !== label) continue; // a number is whole or not there
        out += textAt(x + 6, place(value) + 4, text, 'class="d t"');
      }
      return out;
    }
  }));
}

const wordOf = (x: unknown) => typeof x === "boolean" ? `${x}` : x;

// From blue to orange in 20 steps, of which all can be seen on white and on black.
function shadeOf(share: number | undefined): string {
  if (share === undefined) return 'stroke="#888"';
  const t = Math.min(19, Math.floor(share * 20)) / 19;
  const mixed = [[30, 235], [120, 125], [200, 20]].map(([a, b]) => Math.round(a! + (b! - a!) * t));
  return `stroke="rgb(${mixed})"`;
}
