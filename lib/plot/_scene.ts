// What pictures are made of: colours, texts, a frame with axes.
import { checkChoice, checkNumber, checkOptions, refuse } from "../core/options.ts";
import { type At, type Point, scaleOf, type Span, ticksOf } from "./_axis.ts";
import { type AxisOptions, Plot, type PlotOptions } from "./plot.ts";

// After Okabe and Ito: told apart without full sight of colours, on white and on black.
const light = {
  ...{ back: "#fff", ink: "#1f2328", dim: "#59636e", rule: "#d8dee4" },
  series: ["#0072b2", "#d55e00", "#009e73", "#b5539c", "#c98a00", "#3b9fd8", "#6b6b6b", "#9a8f00"],
};
const dark: typeof light = {
  ...{ back: "#0d1117", ink: "#e6edf3", dim: "#9aa4af", rule: "#30363d" },
  series: ["#56b4e9", "#ff8c42", "#2bc79a", "#e6a0c8", "#f0c040", "#a9d6f5", "#bbbbbb", "#f0e442"],
};

const rules = (root: string, { back, ink, dim, rule, series }: typeof light) =>
  [
    `text{fill:${ink};font:12px system-ui,sans-serif}`,
    `.b{fill:${back}}`,
    `.d{fill:${dim}}`,
    `.r{stroke:${rule};fill:none}`,
    `.t{stroke:${back};stroke-width:3px;paint-order:stroke}`,
    ".l,.p{fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round}",
    ".l{stroke-linejoin:round}",
    ".p{stroke-width:6}",
    ".l.k{stroke-dasharray:6 6}",
    ".p.k{stroke-linecap:square}",
    ".f{opacity:.35;stroke-width:1}",
    ".h{font-size:15px;font-weight:600}",
    ...series.map((colour, i) => `.s${i}{color:${colour}}`),
  ].map((one) => one.replace(/(^|,)(?=[.\w]+[,{])/g, `$1${root} `)).join("");

/** The names of {@linkcode AxisOptions}. */
export const axisNames: readonly string[] = ["xLabel", "yLabel", "xScale", "yScale"];

/** Throws for options that are wrong; `more` are names of those besides PlotOptions'. */
export function checkPlot(op: string, options: AxisOptions, more: readonly string[] = []): void {
  checkOptions(op, options, ["title", "width", "height", "theme", ...more]);
  const { theme = "auto", title = "", xLabel = "", yLabel = "" } = options;
  for (const [name, text] of Object.entries({ title, xLabel, yLabel })) {
    if (typeof text !== "string") refuse(op, name, text, "a text");
  }
  const { width = 640, height = 400, xScale = "linear", yScale = "linear" } = options;
  for (const [name, x] of Object.entries({ width, height })) checkNumber(op, name, x, 100);
  checkChoice(op, "theme", theme, { auto: 1, light: 1, dark: 1 });
  checkChoice(op, "xScale", xScale, { linear: 1, log: 1 });
  checkChoice(op, "yScale", yScale, { linear: 1, log: 1 });
}

/** A text as it may stand in XML. */
export const escaped = (text: string): string =>
  text.replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** A number of pixels, to a tenth. */
export const px = (x: number): string => `${Math.round(x * 10) / 10}`;

const COLOURS = light.series.length;
/** The class of the i-th colour; once all are used, of dashed lines and square points. */
export const colourOf = (i: number): string =>
  `s${i % COLOURS}${i % (2 * COLOURS) < COLOURS ? "" : " k"}`;

/** A text at a place, with its attributes: `class="d" text-anchor="end"`. */
export const textAt = (x: number, y: number, text: string, attributes = ""): string =>
  `<text x="${px(x)}" y="${px(y)}"${attributes && ` ${attributes}`}>${escaped(text)}</text>`;

// About the width of a letter; those of East Asia, and pictures, are squares.
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60\u{1f000}-\u{3ffff}]/u;
const letterOf = (letter: string) => wide.test(letter) ? 12.5 : 7.2;

/** How wide the widest of these texts is. */
export const widthOf = (texts: readonly string[]): number =>
  Math.max(0, ...texts.map((text) => [...text].reduce((sum, one) => sum + letterOf(one), 0)));

/** A text cut off where there is no room for more. */
export function cut(text: string, room: number): string {
  if (widthOf([text]) <= room + 1) return text;
  const [first = "", ...letters] = text; // it is there, and as many more as there is room for
  room -= letterOf(first) + 7.2;
  return `${first}${
    letters.slice(0, letters.findIndex((one) => (room -= letterOf(one)) < 0)).join("")
  }…`;
}

/** The height of a title. */
export const TITLE = 26;

/** The whole picture; `draw` gets the height that the title leaves. */
export function svgOf(
  { title, theme = "auto" }: PlotOptions,
  [width, height]: [number, number],
  draw: (height: number) => string,
): string {
  const root = `.cudeno-${theme}`;
  const style = theme === "auto"
    ? `${rules(root, light)}@media(prefers-color-scheme:dark){${rules(root, dark)}}`
    : rules(root, theme === "dark" ? dark : light);
  const top = title ? TITLE : 0;
  const size = `viewBox="0 0 ${px(width)} ${px(height)}" width="${px(width)}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} class="cudeno-${theme}" role="img" ` +
    `style="max-width:100%;height:auto">${title ? `<title>${escaped(title)}</title>` : ""}` +
    `<style>${style}</style><rect class="b" width="100%" height="100%"/>` +
    (title ? textAt(12, 22, cut(title, (width - 24) / 1.3), 'class="h"') : "") +
    `<g transform="translate(0 ${top})">${draw(height - top)}</g></svg>`;
}

/** Where a frame's contents lie. */
export interface Inside extends Record<"left" | "right" | "top" | "bottom", number> {
  x: At;
  y: At;
}

// Names beside their colours, in lines that leave room for what they name: shortened where they are
// too many, and then not all. And the height of it.
function legendOf(legend: readonly string[], width: number, height: number): [string, number] {
  const lines = Math.max(1, Math.floor(height / 60));
  for (let columns = 1;; columns++) {
    const room = (width - 12) / columns - 38;
    let out = "", at = 12, line = 0, fits = true;
    for (const [i, full] of legend.entries()) {
      const name = cut(full, room), long = widthOf([name]) + 16;
      const over = at > 12 && at + long + (i < legend.length - 1 ? 20 : 6) > width;
      fits = !over || line < lines - 1;
      if (!fits || i === 2 * COLOURS) {
        out += textAt(Math.min(at, width - 14), 18 * line + 20, "…");
        break;
      }
      if (over) [at, line] = [12, line + 1];
      const sign = `M${px(at + 3)} ${18 * line + 16}${i < COLOURS ? "h6" : "m-1 0h0m8 0h0"}`;
      out += `<path class="p ${colourOf(i)}" d="${sign}"/>` + textAt(at + 16, 18 * line + 20, name);
      at += long + 16;
    }
    if (fits || columns === 4 || room < 120) return [out, 34 + 18 * line];
  }
}

/** Axes with ticks, `gutter` at least for theirs, a legend, and what `draw` puts within them. */
export function frameOf(
  { xLabel, yLabel }: AxisOptions,
  [width, height]: [number, number],
  { x, y, legend = [], gutter = 0 }: {
    x: Span;
    y: Span;
    legend?: readonly string[];
    gutter?: number;
  },
  draw: (inside: Inside) => string,
): string {
  let [out, top] = legend.length > 0 ? legendOf(legend, width, height) : ["", 12];
  const yTicks = ticksOf(y, Math.max(2, Math.floor((height - top) / 36)));
  const widest = Math.max(gutter, widthOf(yTicks.map(([, label]) => label)));
  const names = y.names ? Math.min(widest, width * 0.35) : widest;
  const left = names + (yLabel ? 34 : 16), right = width - 14;
  let xTicks, needed, count = Math.max(2, Math.floor((right - left) / 80));
  do { // numbers that are too wide are fewer
    xTicks = ticksOf(x, count);
    needed = widthOf(xTicks.map(([, label]) => label));
  } while (!x.names && (xTicks.length - 1) * (needed + 8) > right - left && --count > 0);
  // names that are too wide to stand beside one another are slanted
  const slanted = needed + 8 > (right - left) / Math.max(1, xTicks.length) && x.names;
  const room = slanted ? Math.min(needed * 0.71, height * 0.3) : 0;
  const bottom = Math.max(top + 20, height - 24 - room - (xLabel ? 18 : 0));
  const up = y.names ? scaleOf(y, top, bottom) : scaleOf(y, bottom, top);
  const inside = { ...{ left, right, top, bottom }, x: scaleOf(x, left, right), y: up };
  for (const [value, label] of yTicks) {
    const at = px(inside.y(value));
    if (!y.names) out += `<path class="r" d="M${px(left)} ${at}H${px(right)}"/>`;
    out += textAt(left - 6, Number(at) + 4, cut(label, names), 'class="d" text-anchor="end"');
  }
  for (const [value, label] of xTicks) {
    const line = inside.x(value), half = widthOf([label]) / 2 + 2;
    const at = x.names ? line : Math.max(half, Math.min(line, width - half));
    if (!x.names) out += `<path class="r" d="M${px(line)} ${px(top)}V${px(bottom)}"/>`;
    const turn = `class="d" text-anchor="end" transform="rotate(-45 ${px(at)} ${px(bottom + 12)})"`;
    if (slanted) out += textAt(at, bottom + 14, cut(label, room / 0.7), turn);
    else out += textAt(at, bottom + 16, label, 'class="d" text-anchor="middle"');
  }
  const [x0, y0, middle] = [(left + right) / 2, (top + bottom) / 2, 'text-anchor="middle"'];
  const turn = `${middle} transform="rotate(-90 14 ${px(y0)})"`;
  if (xLabel) out += textAt(x0, height - 7, cut(xLabel, right - left), middle);
  if (yLabel) out += textAt(14, y0, cut(yLabel, bottom - top), turn);
  return out + draw(inside);
}

/** A picture of one frame. */
export function framed(
  options: AxisOptions,
  parts: Parameters<typeof frameOf>[2],
  draw: (inside: Inside) => string,
): Plot {
  const { width = 640, height = 400 } = options;
  const body = (height: number) => frameOf(options, [width, height], parts, draw);
  return new Plot(svgOf(options, [width, height], body));
}

/** Places as dots of the i-th colour; of what is too much, those that hide one another go. */
export function dots(points: readonly Point[], i: number, most: number): string {
  for (let cell = 1; points.length > most; cell *= 1.5) {
    const key = ([x, y]: Point) => Math.floor(x / cell) * 1e5 + Math.floor(y / cell);
    points = [...new Map(points.map((point) => [key(point), point])).values()];
  }
  if (points.length === 0) return "";
  const d = points.map(([x, y]) => `M${px(x)} ${px(y)}h0`).join("");
  return `<path class="p ${colourOf(i)}" d="${d}"/>`;
}

/** A rectangle, with its attributes. */
export const rectOf = (x: number, y: number, w: number, h: number, attributes: string): string =>
  `<rect x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${px(h)}" ${attributes}/>`;
