import { spanOf } from "../plot/_axis.ts";
import { type Line, linesOf } from "../plot/_lines.ts";
import { checkPlot, svgOf } from "../plot/_scene.ts";
import { Plot } from "../plot/plot.ts";
import { figuresOf, ofValidation } from "./callbacks/_figures.ts";
import type { CurvesOptions, History } from "./history.ts";

/**
 * A frame for each figure, with its value on the validation data; behind the loss that of each
 * step. `perEpoch` are the steps of an epoch, where one is under way.
 */
export function curvesOf(
  { epochs, stepLosses }: History,
  options: CurvesOptions = {},
  perEpoch: number = stepLosses.length / epochs.length,
): Plot {
  checkPlot("History.toSVG", options, ["yScale"]);
  const figures = epochs.map((result) => figuresOf(result));
  const names = [...new Set(["loss", ...figures.flatMap((one) => Object.keys(one))])]
    .filter((name) => name === "loss" || figures.some((one) => typeof one[name] === "number"));
  const panelOf = (name: string) =>
    names.find((base) => ofValidation(base) === name) ?? name.replace(/^lr\d+$/, "lr");
  const panels = [...new Set(names.map(panelOf))].slice(0, 12);
  const { width = 640, height = 60 + 200 * panels.length } = options;
  const x = epochs.map(({ epoch }) => epoch), before = (x[0] ?? 1) - 1;
  const steps = stepLosses.map((_, i) => epochs.length ? before + (i + 1) / perEpoch : i + 1);
  return new Plot(svgOf(options, [width, height], (height) => {
    const tall = height / panels.length;
    // frames with one axis of epochs, each below the other
    const parts = { x: { ...spanOf([x, steps], false, 0), whole: true }, gutter: 48 };
    return panels.map((panel, i) => {
      const legend = names.filter((name) => panelOf(name) === panel);
      const lines = legend.map((name, colour): Line => {
        const y = figures.map((one) => one[name]).map((y) => typeof y === "number" ? y : NaN);
        // epochs without validation are no gap
        const there = y.map((_, i) => i).filter((i) => figures[i]![name] !== undefined);
        return { x: there.map((i) => x[i]!), y: there.map((i) => y[i]!), colour };
      });
      if (panel === "loss") lines.unshift({ x: steps, y: stepLosses, colour: 0, faint: true });
      const xLabel = i < panels.length - 1 ? undefined : epochs.length ? "epoch" : "step";
      const yScale = panel === "loss" ? options.yScale : undefined;
      const drawn = linesOf({ xLabel, yScale }, [width, tall], lines, legend, parts);
      return `<g transform="translate(0 ${i * tall})">${drawn}</g>`;
    }).join("");
  }));
}
