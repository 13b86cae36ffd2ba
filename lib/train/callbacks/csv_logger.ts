import { checkOptions, refuse } from "../../core/options.ts";
import { replaceFile } from "../../io/_files.ts";
import type { EpochResult } from "../history.ts";
import type { Callback, FitState } from "./callback.ts";
import { checkFlags, figuresOf } from "./_figures.ts";
import { folderOf, makeFolder, named, pathOf } from "./_files.ts";

/** Options of {@linkcode CSVLogger}. */
export interface CSVLoggerOptions {
  /**
   * Whether to go on in a file that is there, under its header. Default false: it is replaced, and
   * begins with the epochs in the history of a training that goes on.
   */
  append?: boolean | undefined;
  /** The character between cells; default `","`. */
  separator?: string | undefined;
}

/**
 * Writes the figures of each epoch to a line of a CSV file, as it ends: as Keras's CSVLogger.
 *
 * The header is of the first epoch's figures: epoch, loss, accuracy, metrics by their names, lr,
 * valLoss, valAccuracy, `valF1` for f1 on the validation data, seconds, samplesPerSecond. A figure
 * that comes later, such as valLoss where validation is not after each epoch, gets a column at the
 * end: the file is written anew, whole or not at all, with empty cells in the lines before. So it
 * is with `append`, where the file lacks a column; of columns that it has besides, the cells stay
 * empty. A metric that is no number is written as JSON. Folders are made.
 *
 * Throws a DataError, which names the path, where it cannot write.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const path = await Deno.makeTempFile();
 * await trainer.fit(set, { epochs: 3, callbacks: [new callbacks.CSVLogger(path)] });
 * console.log(await Deno.readTextFile(path)); // epoch,loss,seconds,samplesPerSecond …
 * await Deno.remove(path);
 * ```
 */
export class CSVLogger implements Callback {
  readonly #path: string;
  readonly #append: boolean;
  readonly #separator: string;
  #rows: string[][] = []; // of the file, the header first

  constructor(path: string | URL, options: CSVLoggerOptions = {}) {
    checkOptions("CSVLogger", options, ["append", "separator"]);
    checkFlags("CSVLogger", options, "append");
    const { append = false, separator = "," } = options;
    if (typeof separator !== "string" || !/^[^"\r\n]$/.test(separator)) {
      refuse("CSVLogger", "separator", separator, "one character, no quote and no line break");
    }
    this.#path = pathOf("CSVLogger", path);
    this.#append = append;
    this.#separator = separator;
  }

  /** Writes the epochs of a training that goes on, or reads the file that is there. */
  async onFitBegin({ history }: FitState): Promise<void> {
    this.#rows = [];
    await makeFolder("CSVLogger", folderOf(this.#path));
    await named("CSVLogger", this.#path, async () => {
      if (!this.#append) {
        for (const result of history) this.#add(result);
        return await this.#rewrite();
      }
      const text = await Deno.readTextFile(this.#path).catch((error) => {
        if (error instanceof Deno.errors.NotFound) return "";
        throw error;
      });
      this.#rows = rowsOf(text, this.#separator);
      if (text !== "" && !text.endsWith("\n")) await this.#rewrite(); // cut off in a line
    });
  }

  /** Writes a line. */
  async onEpochEnd(result: EpochResult): Promise<void> {
    const before = this.#rows[0]?.length;
    const row = this.#add(result);
    await named("CSVLogger", this.#path, async () => {
      if (before !== row.length) await this.#rewrite();
      else await Deno.writeTextFile(this.#path, this.#line(row), { append: true });
    });
  }

  #add(result: EpochResult): string[] {
    const { epoch, seconds, samplesPerSecond } = result;
    const figures = { epoch, ...figuresOf(result), seconds, samplesPerSecond };
    if (this.#rows.length === 0) this.#rows.push([]);
    const header = this.#rows[0]!;
    header.push(...Object.keys(figures).filter((name) => !header.includes(name)));
    const row = header.map((name) => {
      const value = (figures as Record<string, unknown>)[name];
      return typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
    });
    this.#rows.push(row);
    return row;
  }

  async #rewrite(): Promise<void> {
    const width = Math.max(...this.#rows.map((row) => row.length));
    for (const row of this.#rows) while (row.length < width) row.push("");
    const text = this.#rows.map((row) => this.#line(row)).join("");
    await replaceFile(this.#path, new TextEncoder().encode(text));
  }

  #line(row: readonly string[]): string {
    const quoted = (cell: string) =>
      cell.includes(this.#separator) || /["\r\n]|^\s|\s$/.test(cell)
        ? `"${cell.replaceAll('"', '""')}"`
        : cell;
    return `${row.map(quoted).join(this.#separator)}\n`;
  }
}

// The cells of each line.
function rowsOf(text: string, separator: string): string[][] {
  const rows: string[][] = [[]];
  const sep = `\\u{${separator.codePointAt(0)!.toString(16)}}`;
  const cell = new RegExp(`("(?:[^"]|"")*"?|[^${sep}\\r\\n]*)(\\r?\\n|\\r|${sep}|$)`, "gu");
  for (const [, found, end] of text.matchAll(cell)) {
    const raw = found!;
    rows.at(-1)!.push(raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw);
    if (end === "") break;
    if (end !== separator) rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || row[0]);
}
