import { type Point, type Span, spanOf, usable } from "./_axis.ts";
import { colourOf, dots, frameOf, px } from "./_scene.ts";
import type { AxisOptions } from "./plot.ts";

/** A curve of a panel. */
export interface Line {
  /** Default: 0, 1, 2, … */
  x?: ArrayLike<number> | undefined;
  y: ArrayLike<number>;
  /** The number of its colour, and of its name in the legend. */
  colour: number;
  /** Whether it stays in the background. */
  faint?: boolean | undefined;
}

const POINTS = 12_000; // in a panel

/** Curves in a frame; `parts` is what is not as the curves have it. */
export function linesOf(
  options: AxisOptions,
  size: [number, number],
  lines: readonly Line[],
  legend: readonly string[],
  parts: { x?: Span; gutter?: number } = {},
): string {
  const [xLog, yLog] = [options.xScale === "log", options.yScale === "log"];
  // what has no place in one direction must not stretch the other
  const shown = lines.map(({ x, y, ...how }) => {
    const places: Point[] = Array.from(y, (value, i) => [x ? x[i]! : i, value]);
    return { ...how, places: places.map((p) => usable(p[0], xLog) && usable(p[1], yLog) && p) };
  });
  const along = (axis: 0 | 1) =>
    shown.map(({ places }) => places.flatMap((p) => p ? [p[axis]] : []));
  const x = { ...spanOf(along(0), xLog, 0), whole: lines.every(({ x }) => !x) };
  return frameOf(
    options,
    size,
    { x, y: spanOf(along(1), yLog), legend, ...parts },
    (inside) =>
      shown.map(({ places, colour, faint }) => {
        const runs: Point[][] = [[]]; // between gaps
        for (const p of places) {
          if (p) runs.at(-1)!.push([inside.x(p[0]), inside.y(p[1])]);
          else if (runs.at(-1)!.length > 0) runs.push([]);
        }
        const most = POINTS / lines.length;
        const alone = runs.filter(({ length }) => length === 1).flat();
        const long = thinnedRuns(runs.filter(({ length }) => length > 1), most);
        const text = (run: Point[]) => `M${run.map(([x, y]) => `${px(x)} ${px(y)}`).join("L")}`;
        const style = `class="l ${colourOf(colour)}${faint ? " f" : ""}"`;
        const path = long.length > 0 ? `<path ${style} d="${long.map(text).join("")}"/>` : "";
        return path + (faint ? "" : dots(alone, colour, most / 2));
      }).join(""),
  );
}

// Of points in one column of pixels the first, the highest, the lowest and the last, which look as
// all do; of what is still too much every second one, or fewer.
function thinnedRuns(runs: Point[][], most: number): Point[][] {
  const count = (runs: Point[][]) => runs.reduce((n, { length }) => n + length, 0);
  if (count(runs) <= most) return runs;
  const kept = runs.map((run) => {
    const points: Point[] = [];
    for (let i = 0, j = 0; i < run.length; i = j) {
      let low = i, high = i;
      for (; j < run.length && Math.floor(run[j]![0]) === Math.floor(run[i]![0]); j++) {
        if (run[j]![1] < run[low]![1]) low = j;
        if (run[j]![1] > run[high]![1]) high = j;
      }
      for (const k of new Set([i, ...[low, high].sort((a, b) => a - b), j - 1])) {
        points.push(run[k]!);
      }
    }
    return points;
  });
  const every = Math.ceil(count(kept) / most);
  return kept.filter((_, i) => kept.length < most / 4 || i % every === 0)
    .map((run) => run.filter((_, i) => run.length < 8 || i % every === 0));
}
