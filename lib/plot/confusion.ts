import { refuse } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { labelOf, namesOf, type Table, tableOf, usable } from "./_axis.ts";
import { checkPlot, colourOf, framed, px, textAt, widthOf } from "./_scene.ts";
import { type Plot, type PlotOptions } from "./plot.ts";

/** Options of {@linkcode confusion}. */
export interface ConfusionOptions extends PlotOptions {
  /** The names of the classes; default 0, 1, 2, … */
  classes?: readonly string[] | undefined;
}

const short = new Intl.NumberFormat("en", { notation: "compact" }); // 12K

/**
 * A confusion matrix, as metrics.confusionMatrix() gives it: in row i and column j how many of
 * class i were taken for j, and their share of the row, which is also the strength of the colour.
 * Of very many cells those with the largest shares are coloured.
 *
 * @throws {ArgumentError} for what is not square, or names of another number.
 *
 * ```ts
 * import { plot } from "@cudeno/cudeno";
 * const picture = plot.confusion([[48, 2], [5, 45]], { classes: ["cat", "dog"] });
 * ```
 */
export function confusion(
  matrix: Table,
  options: ConfusionOptions = {},
): Plot {
  checkPlot("plot.confusion", options, ["classes"]);
  if (!(matrix instanceof Tensor) && !Array.isArray(matrix)) {
    refuse("plot.confusion", "the matrix", matrix, "an array of rows, or a tensor");
  }
  const n = matrix instanceof Tensor ? matrix.shape[0] ?? 0 : matrix.length;
  const flat = tableOf("plot.confusion", "matrix", matrix, n);
  const { classes = Array.from({ length: n }, (_, i) => `${i}`) } = options;
  if (flat.length !== n * n || classes.length !== n) {
    throw new ArgumentError(
      `plot.confusion: the matrix has ${n} classes, and there are ${classes.length} names`,
    );
  }
  const side = Math.min(860, Math.max(260, 90 + 46 * n));
  const sizes = { width: side + widthOf(classes) / 2, height: side };
  const axes = { xLabel: "predicted", yLabel: "actual", ...sizes, ...options };
  const parts = { x: namesOf(classes), y: namesOf(classes) };
  return framed(axes, parts, ({ x, y, left, right, top, bottom }) => {
    const [w, h] = [(right - left) / n, (bottom - top) / n];
    const cells: [share: number, d: string][] = [], gap = Math.min(1, w / 8);
    let texts = "";
    for (let i = 0; i < n; i++) {
      const row = flat.slice(i * n, (i + 1) * n);
      const sum = row.reduce((sum, x) => usable(x) ? sum + x : sum, 0);
      row.forEach((count, j) => {
        const share = usable(count) && sum > 0 ? Math.max(0, Math.min(1, count / sum)) : 0;
        const d = `M${px(x(j) - w / 2 + 0.5)} ${px(y(i) - h / 2 + 0.5)}h${px(w - gap)}` +
          `v${px(h - gap)}h${px(gap - w)}z`;
        if (share >= 0.005) cells.push([share, d]);
        let label = usable(count) ? labelOf(Number(count.toPrecision(6))) : "–";
        if (w < widthOf([label]) && count >= 1000) label = short.format(count);
        if (h < 14 || w < widthOf([label]) || (count === 0 && n > 4)) return;
        const ink = `text-anchor="middle"${share > 0.5 ? ' class="b"' : ""}`;
        const both = h >= 32 && w >= 34;
        texts += textAt(x(j), y(i) + (both ? -2 : 4), label, ink);
        if (both) texts += textAt(x(j), y(i) + 12, `${+(100 * share).toFixed(1)}%`, ink);
      });
    }
    const paths = new Map<string, string>(); // by share
    for (const [share, d] of cells.sort((a, b) => b[0] - a[0]).slice(0, 5000)) {
      paths.set(share.toFixed(2), (paths.get(share.toFixed(2)) ?? "") + d);
    }
    const style = `class="${colourOf(0)}" fill="currentColor"`;
    return [...paths].map(([share, d]) => `<path ${style} fill-opacity="${share}" d="${d}"/>`)
      .join("") + texts;
  });
}
