import { noGrad } from "../core/autograd.ts";
import { checkFunction } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { tensor } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import {
  type Numbers,
  numbersOf,
  type Point,
  spanOf,
  type Table,
  tableOf,
  usable,
} from "./_axis.ts";
import {
  axisNames,
  checkPlot,
  colourOf,
  dots,
  framed,
  type Inside,
  px,
  thinned,
} from "./_scene.ts";
import { type AxisOptions, type Plot } from "./plot.ts";

/** Options of {@linkcode scatter}. */
export interface ScatterOptions extends AxisOptions {
  /** The class of each point, from 0 on, which colours it. */
  labels?: Numbers | undefined;
  /** The names of the classes, for a legend. */
  classes?: readonly string[] | undefined;
  /**
   * What colours the ground: of points [n, 2] the classes' probabilities [n, classes], that of
   * class 1 alone, [n] or [n, 1], or whole numbers [n], the classes. It runs without gradients;
   * where the model has dropout or batch norm, call eval() before.
   */
  regions?: ((points: Tensor) => Tensor) | undefined;
}

/**
 * Points [n, 2], a tensor or pairs, with a model's decisions behind them: the surer, the stronger
 * the colour. Points with NaN are left out, and of very many those that hide others.
 *
 * @throws {ArgumentError} for points that are no pairs, or labels that are not as many.
 *
 * ```ts
 * import { plot, randn } from "@cudeno/cudeno";
 * const points = randn([200, 2]);
 * const labels = points.slice(1, 0, 1).gt(0).to("int32").reshape([200]);
 * const regions = (x: typeof points) => x.slice(1, 0, 1).mul(3).sigmoid(); // of class 1
 * const picture = plot.scatter(points, { labels, regions, classes: ["left", "right"] });
 * ```
 */
export function scatter(
  points: Table,
  options: ScatterOptions = {},
): Plot {
  const op = "plot.scatter";
  checkPlot(op, options, [...axisNames, "labels", "classes", "regions"]);
  const { classes = [], regions } = options;
  if (regions !== undefined) checkFunction(op, "regions", regions);
  const isTensor = points instanceof Tensor;
  const flat = tableOf(op, "points", points, 2), n = flat.length / 2;
  const labels = numbersOf(op, "labels", options.labels ?? new Int32Array(n));
  if (labels.length !== n) {
    throw new ArgumentError(`${op}: there are ${n} points and ${labels.length} labels`);
  }
  const logs = [options.xScale === "log", options.yScale === "log"] as const;
  const groups: Point[][] = classes.map(() => []);
  for (let i = 0; i < n; i++) {
    const [x, y, label] = [flat[2 * i]!, flat[2 * i + 1]!, labels[i]!];
    if (!usable(x, logs[0]) || !usable(y, logs[1])) continue;
    if (!(Number.isInteger(label) && label >= 0 && label < 1000)) {
      throw new ArgumentError(`${op}: label ${i} is ${label}; it must be a class, from 0 on`);
    }
    while (groups.length <= label) groups.push([]);
    groups[label]!.push([x, y]);
  }
  const along = (axis: 0 | 1) => groups.map((group) => group.map((point) => point[axis]));
  const [x, y] = [spanOf(along(0), logs[0]), spanOf(along(1), logs[1])];
  return framed(options, { x, y, legend: classes }, (inside) => {
    const { left, right, top, bottom } = inside;
    let out = "";
    if (regions) {
      const [across, down] = [Math.ceil((right - left) / 6), Math.ceil((bottom - top) / 6)];
      const value = (span: typeof x, share: number) => {
        const at = span.low + (span.high - span.low) * share;
        return span.log ? 10 ** at : at;
      };
      const grid = Float64Array.from({ length: 2 * across * down }, (_, at) => {
        const cell = at >> 1;
        return at % 2 === 0
          ? value(x, (cell % across + 0.5) / across)
          : value(y, 1 - (Math.floor(cell / across) + 0.5) / down);
      });
      const { dtype, device } = isTensor ? points : {};
      const real = dtype === "int32" || dtype === "uint8" ? "float32" : dtype;
      out = scope(() => {
        const made = tensor(grid, { shape: [across * down, 2], dtype: real ?? "float32", device });
        const scores = noGrad(() => regions(made));
        return ground(classesOf(op, scores, across * down), across, inside);
      });
    }
    const all = groups.reduce((sum, { length }) => sum + length, 0);
    groups.forEach((group, i) => {
      const places = group.map(([x, y]): Point => [inside.x(x), inside.y(y)]);
      out += dots(thinned(places, Math.max(10, 8000 * group.length / all)), i);
    });
    return out;
  });
}

// Of each cell its class and how sure that is, in 6 steps, as class * 8 + step; -1 for none.
function classesOf(op: string, scores: unknown, n: number): Int32Array {
  const found = scores instanceof Tensor ? scores.shape : [];
  const width = found[1] ?? 1;
  if (!(scores instanceof Tensor) || found.length > 2 || found[0] !== n || width === 0) {
    throw new ArgumentError(
      `${op}: regions must give a tensor [${n}] or [${n}, classes], found [${found}]`,
    );
  }
  const data = scores.dataSync();
  const whole = scores.dtype === "int32" || scores.dtype === "uint8";
  return Int32Array.from({ length: n }, (_, i) => {
    const row = Array.from(data.subarray(i * width, (i + 1) * width), Number);
    if (row.some(Number.isNaN)) return -1;
    if (width === 1 && whole) return row[0]! * 8 + 6;
    if (width === 1) row.unshift(1 - row[0]!);
    const best = row.reduce((best, score, k) => score > row[best]! ? k : best, 0);
    const sure = (row[best]! - 1 / row.length) / (1 - 1 / row.length);
    return best * 8 + Math.max(1, Math.min(6, Math.ceil(sure * 6)));
  });
}

// Cells that are alike beside one another are one rectangle.
function ground(cells: Int32Array, across: number, { left, right, top, bottom }: Inside): string {
  const paths = new Map<number, string>();
  const [w, h] = [(right - left) / across, (bottom - top) / (cells.length / across)];
  for (let i = 0, j = 0; i < cells.length; i = j) {
    const row = Math.floor(i / across);
    while (j < (row + 1) * across && cells[j] === cells[i]) j++;
    const [x, y, to] = [
      left + (i - row * across) * w,
      top + row * h,
      left + (j - row * across) * w,
    ];
    const d = `M${px(x)} ${px(y)}H${px(to)}V${px(y + h)}H${px(x)}z`;
    paths.set(cells[i]!, (paths.get(cells[i]!) ?? "") + d);
  }
  paths.delete(-1);
  return [...paths].map(([cell, d]) => {
    const colour = `class="${colourOf(cell >> 3)}" fill="currentColor"`;
    const how = `fill-opacity="${(cell % 8) * 0.06}" shape-rendering="crispEdges"`;
    return `<path ${colour} ${how} d="${d}"/>`;
  }).join("");
}
