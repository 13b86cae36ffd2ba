import type { DeviceName } from "../core/backend.ts";
import { checkInteger, checkList, refuse } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { encodePng } from "../io/encode_png.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { type Numbers, numbersOf, spanOf, type Table, tableOf, usable } from "./_axis.ts";
import { colourOf, cut, px, rectOf, svgOf, textAt, TITLE, widthOf } from "./_scene.ts";
import { checkPlot, Plot, type PlotOptions } from "./plot.ts";

/** Options of {@linkcode image}. */
export interface ImageOptions extends Omit<PlotOptions, "height"> {
  /**
   * Whether what is darkest becomes black and what is brightest white, in each picture by itself, as
   * for filters. Default false: floats are of 0..1.
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
  png: Uint8Array<ArrayBuffer>;
}

const MOST = 256; // pictures in a grid
const GAP = 2; // pixels between those of a PNG

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
  checkImage("plot.image", options);
  return grid([picture], { width: 320, ...options });
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
export async function grid(
  pictures: Tensor | readonly Tensor[],
  options: GridOptions = {},
): Promise<Plot> {
  const op = "plot.grid";
  checkImage(op, options, "columns", "captions");
  const { width = 640, columns = 8, captions } = options;
  checkInteger(op, "columns", columns, 1);
  const all = await pixelsOf(op, pictures, options);
  const n = pictures instanceof Tensor ? pictures.shape[0] : pictures.length;
  if (captions) checkList(op, "captions", captions, (text) => typeof text === "string", "texts");
  if (captions && captions.length !== n) {
    throw new ArgumentError(`${op}: there are ${n} pictures and ${captions.length} captions`);
  }
  const most = (axis: 1 | 2) => all.reduce((most, { shape }) => Math.max(most, shape[axis]), 1);
  const [tall, wide] = [most(1), most(2)];
  const across = Math.max(1, Math.min(columns, all.length)), rows = Math.ceil(all.length / across);
  const cell = (width - 16) / across - 4, zoom = cell / wide;
  const step = tall * zoom + (captions ? 20 : 4);
  const draw = () =>
    all.map((pixels, i) => {
      const [, h, w] = pixels.shape;
      const [x, y] = [10 + (i % across) * (cell + 4), 6 + Math.floor(i / across) * step];
      const caption = captions ? cut(captions[i]!, cell) : "";
      return imageAt(pixels, x, y, w * zoom, h * zoom) + (caption &&
        textAt(x + cell / 2, y + tall * zoom + 13, caption, 'text-anchor="middle"'));
    }).join("");
  return new Plot(svgOf(options, [width, rows * step + 8 + titleOf(options)], draw), async () => {
    const [w, h] = [across * (wide + GAP) - GAP, Math.max(1, rows * (tall + GAP) - GAP)];
    const planes = new Uint8ClampedArray(4 * h * w);
    all.forEach(({ planes: from, shape: [channels, height, width] }, i) => {
      const at = Math.floor(i / across) * (tall + GAP) * w + (i % across) * (wide + GAP);
      for (let y = 0; y < height; y++) {
        for (let c = 0; c < 4; c++) {
          const source = channels < 3 ? (c < 3 ? 0 : channels - 1) : c;
          const solid = c === 3 && channels % 2 === 1;
          const row = (source * height + y) * width;
          const to = c * h * w + at + y * w;
          if (solid) planes.fill(255, to, to + width);
          else planes.set(from.subarray(row, row + width), to);
        }
      }
    });
    const [device] = [pictures].flat().map(({ device }) => device);
    return await encoded(planes, [4, h, w], device);
  });
}

/**
 * A picture with boxes, [n, 4] of left, top, right and bottom in pixels, and what is in them. Boxes
 * that are not finite are left out.
 *
 * @throws {ArgumentError} for boxes, labels or scores that do not fit together.
 *
 * ```ts
 * import { plot, rand } from "@cudeno/cudeno";
 * const found = [[4, 4, 20, 28], [24, 10, 44, 30]];
 * const seen = await plot.boxes(rand([3, 32, 48]), found, { labels: ["cat", "dog"] });
 * ```
 */
export async function boxes(
  picture: Tensor,
  boxes: Table,
  options: BoxesOptions = {},
): Promise<Plot> {
  const op = "plot.boxes";
  checkImage(op, options, "labels", "scores");
  const { width = 640, labels = [] } = options;
  const list = tableOf(op, "boxes", boxes, 4);
  const scores = options.scores && numbersOf(op, "scores", options.scores);
  const n = list.length / 4;
  if ((options.labels ? labels.length : n) !== n || (scores?.length ?? n) !== n) {
    throw new ArgumentError(
      `${op}: there are ${n} boxes, ${labels.length} labels and ${scores?.length ?? 0} scores`,
    );
  }
  const [pixels] = await pixelsOf(op, [picture], options);
  const [, h, w] = pixels!.shape;
  const zoom = width / w, names = [...new Set(labels)];
  const draw = () => {
    let out = imageAt(pixels!, 0, 0, width, h * zoom);
    for (let i = 0; i < n; i++) {
      const box = list.slice(4 * i, 4 * i + 4).map((x) => x * zoom);
      if (!box.every((x) => usable(x))) continue;
      const [left, top, right, bottom] = box as [number, number, number, number];
      const score = usable(scores?.[i]) ? ` ${scores[i]!.toFixed(2)}` : "";
      const label = `${labels[i] ?? ""}${score}`.trim(), wide = widthOf([label]) + 8;
      const paint = `class="${colourOf(Math.max(0, names.indexOf(labels[i]!)))}"`;
      const style = `${paint} fill="none" stroke="currentColor" stroke-width="2"`;
      out += rectOf(left, top, Math.max(0, right - left), Math.max(0, bottom - top), style);
      if (!label) continue;
      const [x, y] = [Math.max(0, Math.min(left - 1, width - wide)), top < 17 ? top : top - 17];
      out += rectOf(x, y, wide, 17, `${paint} fill="currentColor"`) +
        textAt(x + 4, y + 13, label, 'class="b"');
    }
    return out;
  };
  return new Plot(svgOf(options, [width, h * zoom + titleOf(options)], draw));
}

const titleOf = ({ title }: ImageOptions): number => title ? TITLE : 0;

function checkImage(op: string, options: ImageOptions, ...more: string[]): void {
  const { normalize, ...others }: GridOptions & BoxesOptions = options;
  if (normalize !== undefined && typeof normalize !== "boolean") {
    refuse(op, "normalize", normalize, "true or false");
  }
  checkPlot(op, others, ["normalize", ...more]);
}

function imageAt({ png }: Pixels, x: number, y: number, w: number, h: number): string {
  const place = `x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${px(h)}"`;
  return `<image ${place} preserveAspectRatio="none" style="image-rendering:pixelated" ` +
    `href="data:image/png;base64,${png.toBase64()}"/>`;
}

// The first pictures as bytes and as PNG.
async function pixelsOf(
  op: string,
  pictures: Tensor | readonly Tensor[],
  { normalize = false }: ImageOptions,
): Promise<Pixels[]> {
  const list = pictures instanceof Tensor ? [pictures] : pictures;
  checkList(op, "pictures", list, (one) => one instanceof Tensor, "tensors");
  const batch = pictures instanceof Tensor ? 1 : 0;
  const all = await Promise.all(
    list.slice(0, MOST).map(async (one) => {
      const [w = 0, h = 0, c = 1] = one.shape.slice(batch).reverse();
      if (![2, 3].includes(one.rank - batch) || c > 4 || c * h * w === 0) {
        throw new ShapeError(
          `${op}: found ${formatShape(one.shape)}; wanted is ${
            batch ? "[n, " : "["
          }height, width], ` +
            "or with 1 to 4 channels before them, and not empty",
        );
      }
      const data = await one.data(), size = c * h * w, scale = one.dtype === "uint8" ? 1 : 255;
      const count = Math.min(MOST, data.length / size);
      return await Promise.all(Array.from({ length: count }, async (_, i) => {
        const values = Float64Array.from(data.subarray(i * size, (i + 1) * size), Number);
        let [low, high] = [0, 255 / scale];
        if (normalize) ({ low, high } = spanOf([values], false, 0));
        const planes = new Uint8ClampedArray(values.map((x) => (x - low) / (high - low) * 255));
        const shape: Pixels["shape"] = [c, h, w];
        return { planes, shape, png: await encoded(planes, shape, one.device) };
      }));
    }),
  );
  return all.flat();
}

async function encoded(
  planes: Uint8ClampedArray,
  shape: Pixels["shape"],
  device: DeviceName | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  using bytes = tensor(new Uint8Array(planes), { shape, device, dtype: "uint8" });
  return await encodePng(bytes);
}
