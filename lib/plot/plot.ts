import { refuse } from "../core/options.ts";
import { pathOf, replaceFile } from "../io/_files.ts";

/** Options of every picture. */
export interface PlotOptions {
  /** What stands above it. */
  title?: string | undefined;
  /** Its width where it is not scaled, in pixels; default 640. */
  width?: number | undefined;
  /** Its height; default 400, or as much as there is to show. */
  height?: number | undefined;
  /** Its colours: by default `"auto"`, as the reader's system has it. */
  theme?: "auto" | "light" | "dark" | undefined;
}

/** Options of pictures with axes. */
export interface AxisOptions extends PlotOptions {
  /** What stands below the horizontal axis. */
  xLabel?: string | undefined;
  /** What stands beside the vertical axis. */
  yLabel?: string | undefined;
  /** Default `"linear"`; `"log"` leaves out what is not above 0. */
  xScale?: "linear" | "log" | undefined;
  /** As `xScale`, of the vertical axis. */
  yScale?: "linear" | "log" | undefined;
}

/**
 * A picture as SVG: without outside resources, with colours for light and dark, of any size that it
 * is shown in. In a notebook it shows itself.
 *
 * ```ts
 * import { plot } from "@cudeno/cudeno";
 * const curve = plot.line([1, 0.5, 0.3, 0.2], { title: "loss" });
 * console.log(`${curve}`.startsWith("<svg")); // true
 * const path = await Deno.makeTempFile({ suffix: ".svg" });
 * await curve.save(path);
 * await Deno.remove(path);
 * ```
 */
export class Plot {
  readonly #svg: string;
  readonly #png: (() => Promise<Uint8Array<ArrayBuffer>>) | undefined;

  constructor(svg: string, png?: () => Promise<Uint8Array<ArrayBuffer>>) {
    this.#svg = svg;
    this.#png = png;
  }

  /** The SVG, which may also stand within a page of HTML. */
  toString(): string {
    return this.#svg;
  }

  /**
   * Writes a file, whole or not at all.
   *
   * @throws {DataError} when it cannot be written.
   */
  async save(path: string | URL): Promise<void> {
    if (!/\.png$/i.test(pathOf(path))) return await replaceFile(path, encode(this.#svg));
    await replaceFile(path, await this.toPng());
  }

  /**
   * The pixels of image() and grid() as a PNG file, one to one and without texts; save() writes it
   * to a path that ends in .png.
   *
   * @throws {ArgumentError} for the other pictures, which have no pixels.
   */
  toPng(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#png) return this.#png();
    refuse("plot", "the picture", this, "one of image() or grid(); others are SVG alone");
  }

  // Names of methods have to be plain for an importer's isolatedDeclarations.
  static {
    Object.defineProperty(this.prototype, Symbol.for("Jupyter.display"), {
      value(this: Plot): Record<string, string> {
        const [, title = "picture"] = /<title>([^<]*)/.exec(this.#svg) ?? [];
        const plain = title.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code));
        return { "image/svg+xml": this.#svg, "text/plain": `Plot: ${plain}` };
      },
    });
  }
}

const encode = (text: string) => new TextEncoder().encode(text);
