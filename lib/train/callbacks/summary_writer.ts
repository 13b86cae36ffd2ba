import { checkInteger, refuse } from "../../core/options.ts";
import { ArgumentError, DataError } from "../../native/errors.ts";
import { checkTensor } from "../../ops/_operands.ts";
import type { Tensor } from "../../tensor.ts";
import { newEventFile, valueRecord } from "./_event_file.ts";
import { pathOf } from "./_files.ts";
import { encodePng } from "../../io/encode_png.ts";
import { type Bytes, doubleField, field, floatField, intField, joined } from "./_protobuf.ts";

const BINS = 64;
const ENOUGH = 1 << 20; // bytes that wait to be written

/**
 * Writes what TensorBoard shows: an event file in a folder, which is the run. The file is made when
 * something is written first. Values are kept until flush(), or until there is a megabyte of them.
 * Two writers in one folder have a file each; TensorBoard shows them as one run.
 *
 * As torch.utils.tensorboard.SummaryWriter. A tag is a name; `"loss/train"` and `"loss/validation"`
 * stand together. Steps are whole numbers, 0 or more. Throws a DataError, which names the folder,
 * where it cannot write, and an ArgumentError after close().
 *
 * ```ts
 * import { callbacks, rand } from "@cudeno/cudeno";
 * const folder = await Deno.makeTempDir();
 * using writer = new callbacks.SummaryWriter(`${folder}/run1`);
 * for (let step = 0; step < 10; step++) writer.addScalar("loss/train", 1 / (step + 1), step);
 * await writer.addHistogram("weights", rand([100]), 10);
 * await writer.addImage("noise", rand([3, 16, 16]), 10);
 * writer.flush(); // tensorboard --logdir FOLDER
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class SummaryWriter implements Disposable {
  readonly #folder: string;
  #path: string | undefined;
  #waiting: Bytes[] = [];
  #size = 0;
  #closed = false;

  constructor(folder: string | URL) {
    this.#folder = pathOf("SummaryWriter", folder).replace(/(?<=.)[/\\]+$/, "");
  }

  /** The event file, once there is one. */
  get path(): string | undefined {
    return this.#path;
  }

  /** A number. */
  addScalar(tag: string, value: number, step: number): void {
    if (typeof value !== "number") refuse("SummaryWriter", "the value", value, "a number");
    this.#add(tag, step, [floatField(2, value)]);
  }

  /**
   * How the elements of a tensor are spread, in 64 equal bins from the least to the largest; those
   * that are no finite numbers are left out, and nothing is written where there are no others.
   */
  async addHistogram(tag: string, values: Tensor, step: number): Promise<void> {
    checkTensor("SummaryWriter", values);
    this.#check(tag, step);
    const histogram = histogramOf(await values.data());
    if (histogram) this.#add(tag, step, [field(5, histogram)]);
  }

  /**
   * An image [channels, height, width] of 1 (grey), 2 (grey, alpha), 3 or 4 channels, or a grey one
   * [height, width]: uint8 as it is, floats from 0 to 1.
   */
  async addImage(tag: string, image: Tensor, step: number): Promise<void> {
    checkTensor("SummaryWriter", image);
    this.#check(tag, step);
    const png = await encodePng(image);
    const [channels, height, width] = image.rank === 2 ? [1, ...image.shape] : image.shape;
    const size = [intField(1, height!), intField(2, width!), intField(3, channels!)];
    this.#add(tag, step, [field(4, [...size, field(4, png)])]);
  }

  /** A text, which TensorBoard shows as Markdown. */
  addText(tag: string, text: string, step: number): void {
    if (typeof text !== "string") refuse("SummaryWriter", "the text", text, "a text");
    const shape = field(2, field(2, intField(1, 1))); // one dimension of 1
    const strings = field(8, [intField(1, 7), shape, field(8, text)]); // DT_STRING
    this.#add(tag, step, [strings, field(9, field(1, field(1, "text")))]); // the plugin's name
  }

  #check(tag: string, step: number): void {
    if (typeof tag !== "string" || tag === "") {
      refuse("SummaryWriter", "the tag", tag, 'a name such as "loss/train"');
    }
    checkInteger("SummaryWriter", "step", step, 0);
    if (this.#closed) throw new ArgumentError("SummaryWriter: it is closed; make another one");
  }

  #add(tag: string, step: number, value: readonly Bytes[]): void {
    this.#check(tag, step);
    const bytes = valueRecord(step, [field(1, tag), ...value]);
    this.#waiting.push(bytes);
    this.#size += bytes.length;
    if (this.#size > ENOUGH) this.flush();
  }

  /** Writes what there is to the file, where TensorBoard finds it. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    try {
      this.#path ??= newEventFile(this.#folder);
      Deno.writeFileSync(this.#path, joined(this.#waiting), { append: true, create: false });
    } catch (cause) {
      this.#path = undefined; // TensorBoard reads no further than a record that is cut off
      const why = cause instanceof Error ? cause.message : cause;
      throw new DataError(`SummaryWriter: ${this.#folder} cannot be written: ${why}`, { cause });
    } finally {
      this.#waiting = []; // never twice
      this.#size = 0;
    }
  }

  /** As flush(); nothing can be added after it. */
  close(): void {
    this.#closed = true;
    this.flush();
  }

  /** The same as close(). */
  [Symbol.dispose](): void {
    this.close();
  }
}

// The fields of a HistogramProto.
function histogramOf(values: ArrayLike<number>): Bytes[] | undefined {
  let [min, max, count, sum, squares] = [Infinity, -Infinity, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    count++;
    sum += value;
    squares += value * value;
  }
  if (count === 0) return undefined;
  const bins = min === max ? 1 : BINS;
  const limits = Float64Array.from({ length: bins }, (_, i) => min + (max - min) * (i + 1) / bins);
  limits[bins - 1] = max;
  const counts = new Float64Array(bins);
  for (let i = 0; i < values.length; i++) {
    const share = (values[i]! - min) / (max - min || 1);
    if (Number.isFinite(share)) counts[Math.min(bins - 1, Math.floor(share * bins))]!++;
  }
  return [
    ...[min, max, count, sum, squares].map((value, i) => doubleField(i + 1, value)),
    field(6, limits),
    field(7, counts),
  ];
}
