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
  type Span,
  spanOf,
  type Table,
  tableOf,
  usable,
} from "./_axis.ts";
import { axisNames, checkPlot, colourOf, dots, framed, type Inside, px } from "./_scene.ts";
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
export function scatter(points: Table, options: ScatterOptions = {}): Plot {
  const op = "plot.scatter";
  checkPlot(op, options, [...axisNames, "labels", "classes", "regions"]);
  const { classes = [], regions } = options;
  if (regions !== undefined) checkFunction(op, "regions", regions);
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
    const across = Math.ceil((inside.right - inside.left) / 6);
    const down = Math.ceil((inside.bottom - inside.top) / 6);
    const cells = regions && scope(() => {
      const grid = Array.from({ length: across * down }, (_, i) => [
        valueAt(x, (i % across + 0.5) / across),
        valueAt(y, 1 - (Math.floor(i / across) + 0.5) / down),
      ]);
      const { dtype = "float32", device } = points instanceof Tensor ? points : {};
      const made = tensor(grid, { dtype: /float/.test(dtype) ? dtype : "float32", device });
      return classesOf(op, noGrad(() => regions(made)), across * down);
    });
    const shown = groups.map((group, i) => {
      const places = group.map(([x, y]): Point => [inside.x(x), inside.y(y)]);
      return dots(places, i, Math.max(10, 8000 * group.length / n));
    });
    return (cells ? ground(cells, across, inside) : "") + shown.join("");
  });
}

function valueAt({ low, high, log }: Span, share: number): number {
  const at = low + (high - low) * share;
  return log ? 10 ** at : at;
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
    if (width === 1 && whole) return row[0]! < 0 ? -1 : row[0]! * 8 + 6;
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
    const begin = i - i % across, x = px(left + (i - begin) * w), y = top + begin / across * h;
    while (j < begin + across && cells[j] === cells[i]) j++;
    const d = `M${x} ${px(y)}H${px(left + (j - begin) * w)}V${px(y + h)}H${x}z`;
    paths.set(cells[i]!, (paths.get(cells[i]!) ?? "") + d);
  }
  paths.delete(-1);
  return [...paths].map(([cell, d]) => {
    const colour = `class="${colourOf(cell >> 3)}" fill="currentColor"`;
    const how = `fill-opacity="${(cell % 8) * 0.06}" shape-rendering="crispEdges"`;
    return `<path ${colour} ${how} d="${d}"/>`;
  }).join("");
}
