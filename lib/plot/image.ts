import type { DeviceName } from "../core/backend.ts";
import { checkInteger, checkList, checkState, refuse } from "../core/options.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { encodePng } from "../io/encode_png.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { type Numbers, numbersOf, spanOf, type Table, tableOf, usable } from "./_axis.ts";
import { checkPlot, colourOf, cut, px, rectOf, svgOf, textAt, TITLE, widthOf } from "./_scene.ts";
import { Plot, type PlotOptions } from "./plot.ts";

/** Options of {@linkcode image}. */
export interface ImageOptions extends Omit<PlotOptions, "height"> {
  /**
   * Whether what is darkest becomes black and what is brightest white, in each picture by itself,
   * as for filters. Default false: floats are of 0..1.
   */
  normalize?: boolean | undefined;
}

/** Options of {@linkcode grid}. */
export interface GridOptions extends ImageOptions {
  /** How many stand in a row; default 8. */
  columns?: number | undefined;
  /** What stands below each, such as what a network takes it for. */
  captions?: readonly string[] | undefined;
}

/** Options of {@linkcode boxes}. */
export interface BoxesOptions extends ImageOptions {
  /** What is in each box; those of one name have one colour. */
  labels?: readonly string[] | undefined;
  /** How sure that is. */
  scores?: Numbers | undefined;
}

interface Pixels {
  planes: Uint8ClampedArray;
  shape: [channels: number, height: number, width: number];
  png: string;
}

const MOST = 256; // pictures in a grid
const GAP = 2; // pixels between those of a PNG
const TALL = 4; // times as tall as wide at most

/**
 * One picture, [height, width] or [channels, height, width], as io.encodePng() takes it, with its
 * pixels to be seen.
 *
 * @throws {ShapeError} for other shapes.
 *
 * ```ts
 * import { plot, rand } from "@cudeno/cudeno";
 * const noise = await plot.image(rand([3, 16, 24]), { title: "noise", width: 240 });
 * ```
 */
export function image(picture: Tensor, options: ImageOptions = {}): Promise<Plot> {
  return shown(drawn("plot.image", [picture], { width: 320, ...options }));
}

/**
 * Pictures in rows, the first 256: [n, height, width], [n, channels, height, width], or a list of
 * pictures, each of a size of its own. So samples are shown with what a network takes them for, and
 * with `normalize` the filters of a layer, `conv.weight`.
 *
 * @throws {ShapeError} for other shapes.
 * @throws {ArgumentError} for captions that are not as many.
 *
 * ```ts
 * import { nn, plot } from "@cudeno/cudeno";
 * const conv = new nn.Conv2d(3, 16, 5);
 * const filters = await plot.grid(conv.weight, { normalize: true, title: "filters" });
 * const path = await Deno.makeTempFile({ suffix: ".png" });
 * await filters.save(path); // the pixels alone
 * await Deno.remove(path);
 * ```
 */
export function grid(
  pictures: Tensor | readonly Tensor[],
  options: GridOptions = {},
): Promise<Plot> {
  return shown(drawn("plot.grid", pictures, options, ["columns", "captions"]));
}

/**
 * A picture with boxes, [n, 4] of left, top, right and bottom in pixels, and what is in them. Boxes
 * that are not finite, or wholly beside the picture, are left out; others end where it ends.
 *
 * @throws {ArgumentError} for boxes, labels or scores that do not fit together.
 *
 * ```ts
 * import { plot, rand } from "@cudeno/cudeno";
 * const found = [[4, 4, 20, 28], [24, 10, 44, 30]];
 * const seen = await plot.boxes(rand([3, 32, 48]), found, { labels: ["cat", "dog"] });
 * ```
 */
export function boxes(
  picture: Tensor,
  boxes: Table,
  options: BoxesOptions = {},
): Promise<Plot> {
  return shown(boxed(picture, boxes, options));
}

async function boxed(picture: Tensor, boxes: Table, options: BoxesOptions): Promise<Plot> {
  const op = "plot.boxes";
  const list = tableOf(op, "boxes", boxes, 4), n = list.length / 4;
  const { labels = Array<string>(n).fill("") } = options, names = [...new Set(labels)];
  const scores = numbersOf(op, "scores", options.scores ?? new Float64Array(n).fill(NaN));
  if (labels.length !== n || scores.length !== n) {
    const found = `${n} boxes, ${labels.length} labels and ${scores.length} scores`;
    throw new ArgumentError(`${op}: there are ${found}`);
  }
  return await drawn(
    op,
    [picture],
    options,
    ["labels", "scores"],
    (zoom, wide, tall) => {
      const frames: string[] = [], texts: string[] = [], placed: number[][] = [];
      labels.forEach((name, i) => {
        const box = list.slice(4 * i, 4 * i + 4).map((x) => x * zoom);
        if (!box.every((x) => usable(x))) return;
        const ends = box.map((x, k) => Math.max(0, Math.min(x, k % 2 ? tall : wide)));
        const [left, top, right, bottom] = ends as [number, number, number, number];
        if (left === wide || top === tall || right === 0 || bottom === 0) return;
        const score = usable(scores[i]) ? scores[i]!.toFixed(2) : "";
        const label = cut(`${name} ${score}`.trim(), wide - 8), long = widthOf([label]) + 8;
        const paint = `class="${colourOf(names.indexOf(name))}"`;
        const style = `${paint} fill="none" stroke="currentColor" stroke-width="2"`;
        const [w, h] = [Math.max(0, right - left), Math.max(0, bottom - top)];
        frames.push(rectOf(left, top, w, h, style));
        if (!label) return;
        const x = Math.max(0, Math.min(left - 1, wide - long));
        let y = top < 17 ? top : top - 17;
        const hidden = () =>
          placed.some(([x1, y1, x2]) => Math.abs(y1! - y) < 17 && x1! < x + long && x < x2!);
        while (y + 34 <= tall && hidden()) y += 17;
        placed.push([x, y, x + long]);
        texts.push(rectOf(x, y, long, 17, `${paint} fill="currentColor"`));
        texts.push(textAt(x + 4, y + 13, label, 'class="b"'));
      });
      return frames.concat(texts).join("");
    },
  );
}

// In a notebook what is promised shows itself, without await.
function shown(plot: Promise<Plot>): Promise<Plot> {
  const display = Symbol.for("Jupyter.display");
  const value = async () => Reflect.get(await plot, display).call(await plot);
  return Object.defineProperty(plot, display, { value });
}

// Pictures in rows, `over` the first what there is besides.
async function drawn(
  op: string,
  pictures: Tensor | readonly Tensor[],
  given: GridOptions,
  more: string[] = [],
  over = (_zoom: number, _width: number, _height: number) => "",
): Promise<Plot> {
  checkState(op, given, "what is given", "options");
  const { normalize, columns = 8, captions, ...options } = given;
  checkPlot(op, options, more);
  if (normalize !== undefined && typeof normalize !== "boolean") {
    refuse(op, "normalize", normalize, "true or false");
  }
  checkInteger(op, "columns", columns, 1);
  const all = await pixelsOf(op, pictures, normalize);
  const n = pictures instanceof Tensor ? pictures.shape[0] : pictures.length;
  if (captions) checkList(op, "captions", captions, (text) => typeof text === "string", "texts");
  if (captions && captions.length !== n) {
    throw new ArgumentError(`${op}: there are ${n} pictures and ${captions.length} captions`);
  }
  const { width = 640, title } = options;
  const most = (axis: 1 | 2) => all.reduce((most, { shape }) => Math.max(most, shape[axis]), 1);
  const [tall, wide] = [most(1), most(2)];
  const across = Math.max(1, Math.min(columns, all.length)), rows = Math.ceil(all.length / across);
  const cell = (width - 16) / across - 4, zoom = Math.min(cell / wide, TALL * cell / tall);
  const step = tall * zoom + (captions ? 20 : 4);
  const svg = svgOf(options, [width, rows * step + 8 + (title ? TITLE : 0)], () => {
    const shown = all.map(({ png, shape: [, h, w] }, i) => {
      const [x, y] = [(i % across) * (cell + 4), Math.floor(i / across) * step];
      const [long, high] = [Math.max(3, w * zoom), Math.max(3, h * zoom)]; // to be seen
      const left = x + (cell - long) / 2;
      const place = `x="${px(left)}" y="${px(y)}" width="${px(long)}" height="${px(high)}"`;
      const caption = captions &&
        textAt(x + cell / 2, y + tall * zoom + 13, cut(captions[i]!, cell), 'text-anchor="middle"');
      return `<image ${place} preserveAspectRatio="none" style="image-rendering:pixelated" ` +
        `href="data:image/png;base64,${png}"/>${caption ?? ""}`;
    });
    const side = (cell - wide * zoom) / 2, more = over(zoom, wide * zoom, tall * zoom);
    return `<g transform="translate(10 6)">${shown.join("")}` +
      `<g transform="translate(${px(side)} 0)">${more}</g></g>`;
  });
  return new Plot(svg, async () => {
    const [w, h] = [across * (wide + GAP) - GAP, Math.max(1, rows * (tall + GAP) - GAP)];
    const planes = new Uint8ClampedArray(4 * h * w); // clear where there is nothing
    all.forEach(({ planes: from, shape: [channels, height, width] }, i) => {
      const at = Math.floor(i / across) * (tall + GAP) * w + (i % across) * (wide + GAP);
      for (let row = 0; row < 4 * height; row++) {
        const c = Math.floor(row / height), y = row % height, to = (c * h + y) * w + at;
        const source = channels > 2 ? c : c < 3 ? 0 : 1;
        const place = (source * height + y) * width;
        if (source >= channels) planes.fill(255, to, to + width);
        else planes.set(from.subarray(place, place + width), to);
      }
    });
    return await encoded(planes, [4, h, w], [pictures].flat()[0]?.device);
  });
}

// The first pictures as bytes and as PNG.
async function pixelsOf(
  op: string,
  pictures: Tensor | readonly Tensor[],
  normalize = false,
): Promise<Pixels[]> {
  const batch = pictures instanceof Tensor ? 1 : 0, list = [pictures].flat();
  checkList(op, "pictures", list, (one) => one instanceof Tensor, "tensors");
  const all = list.slice(0, MOST).map(async (one) => {
    const [w = 0, h = 0, c = 1] = one.shape.slice(batch).reverse(), size = c * h * w;
    if (![2, 3].includes(one.rank - batch) || c > 4 || size === 0) {
      throw new ShapeError(
        `${op}: found ${formatShape(one.shape)}; wanted is ${
          batch ? "[n, " : "["
        }height, width], ` +
          "or with 1 to 4 channels before them, and not empty",
      );
    }
    const data = await one.data(), white = one.dtype === "uint8" ? 255 : 1;
    const count = Math.min(MOST, data.length / size);
    return await Promise.all(Array.from({ length: count }, async (_, i) => {
      const values = Float64Array.from(data.subarray(i * size, (i + 1) * size), Number);
      const { low, high } = normalize ? spanOf([values], false, 0) : { low: 0, high: white };
      const planes = new Uint8ClampedArray(values.map((x) => (x - low) / (high - low) * 255));
      const png = (await encoded(planes, [c, h, w], one.device)).toBase64();
      return { planes, shape: [c, h, w], png } satisfies Pixels;
    }));
  });
  return (await Promise.all(all)).flat();
}

async function encoded(planes: Uint8ClampedArray, shape: Shape, device?: DeviceName) {
  using bytes = tensor(new Uint8Array(planes), { shape, device });
  return await encodePng(bytes);
}
