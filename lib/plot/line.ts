import { checkState } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { isNumbers, type Numbers, numbersOf } from "./_axis.ts";
import { linesOf } from "./_lines.ts";
import { axisNames, checkPlot, svgOf } from "./_scene.ts";
import { type AxisOptions, Plot } from "./plot.ts";

/** A curve of {@linkcode line}. */
export interface Curve {
  /** Where its points are; default 0, 1, 2, … */
  x?: Numbers | undefined;
  /** Their values. */
  y: Numbers;
}

/**
 * Curves: one of plain numbers, or several by name. NaN and infinities, and on a `"log"` axis what
 * is not above 0, leave gaps. Of very many points those are drawn that show.
 *
 * @throws {ArgumentError} for a curve whose x and y are not equally many.
 *
 * ```ts
 * import { linspace, plot } from "@cudeno/cudeno";
 * const x = linspace(0, 6, 100);
 * const waves = plot.line({ sin: { x, y: x.sin() }, cos: { x, y: x.cos() } }, { xLabel: "x" });
 * const loss = plot.line([2.3, 0.4, 0.1, 0.05], { yScale: "log" });
 * ```
 */
export function line(
  curves: Numbers | Record<string, Numbers | Curve>,
  options: AxisOptions = {},
): Plot {
  checkPlot("plot.line", options, axisNames);
  const one = isNumbers(curves);
  if (!one) checkState("plot.line", curves, "the curves", "numbers, or curves by name");
  const named: Record<string, Numbers | Curve> = one ? { values: curves } : curves;
  const lines = Object.entries(named).map(([name, curve], colour) => {
    if (!isNumbers(curve)) checkState("plot.line", curve, name, "numbers, or { x, y }");
    const { x, y } = isNumbers(curve) ? { y: curve } : curve as Curve;
    const values = numbersOf("plot.line", name, y);
    if (x === undefined) return { y: values, colour };
    const places = numbersOf("plot.line", `${name}'s x`, x);
    if (places.length === values.length) return { x: places, y: values, colour };
    throw new ArgumentError(
      `plot.line: ${name} has ${places.length} x and ${values.length} y; they must be equally many`,
    );
  });
  const { width = 640, height = 400 } = options;
  const legend = one ? [] : Object.keys(named);
  return new Plot(svgOf(options, [width, height], (height) => {
    return linesOf(options, [width, height], lines, legend);
  }));
}
