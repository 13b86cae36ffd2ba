import type { DeviceName } from "../core/backend.ts";
import { checkNumber, checkOptions, isTensor } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { arange } from "../create.ts";
import type { DType } from "../core/dtype.ts";
import { formatShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { gatherRows } from "../ops/index/gather_rows.ts";
import { checkSameDevice, checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch, Sample } from "./batch.ts";
import { mapTensors, samplesIn, tensorsIn } from "../_structure.ts";

/** Samples that can be had in batches, on the device: the fast kind. */
export interface Dataset<Input = Tensor, Target = Tensor> {
  /** How many samples there are. */
  readonly length: number;
  /** The device that batches are made on. */
  readonly device: Tensor["device"];
  /** What a Worker makes the same data set of, where there is such a module. */
  readonly worker?: WorkerModule | undefined;
  /** The inputs and targets of the samples that an int32 index names. */
  batch(index: Tensor): Batch<Input, Target>;
}

/**
 * Samples that can be had one by one, on the host: pictures to decode, say. A
 * {@linkcode DataLoader} makes batches of them, and may leave the work to Workers.
 */
export interface SampleDataset {
  /** How many samples there are. */
  readonly length: number;
  /** The device that batches are put on. Default: that of init(). */
  readonly device?: DeviceName | undefined;
  /** The classes, or how many: says that plain numbers in targets are class numbers. */
  readonly classes?: readonly string[] | number | undefined;
  /** What a Worker makes the same data set of, where there is such a module. */
  readonly worker?: WorkerModule | undefined;
  /**
   * One sample, now or in time. A loader gives it random numbers in [0, 1), which depend on the
   * seed and the sample's place in the epoch alone; so do those of rand() and the like up to the
   * first await. `get(i, random = Math.random)` is for calls without a loader too.
   */
  get(i: number, random?: () => number): Sample | Promise<Sample>;
}

/** A module whose default export, or export `dataset`, is a data set with get(). */
export interface WorkerModule {
  /** A URL, such as `new URL("./photos.ts", import.meta.url)`. */
  readonly module: string | URL;
  /** Where it is a function that gives the data set: what to call it with; is copied. */
  readonly args?: unknown;
}

/**
 * Samples, or with `batchSize: null` ready batches, one after another: what an array, a generator
 * function's result or a stream gives. Each epoch asks for a new iterator, so that one that can be
 * walked only once is for one epoch.
 */
export type IterableDataset<Input = Tensor, Target = Tensor> =
  & (Iterable<Sample | Batch<Input, Target>> | AsyncIterable<Sample | Batch<Input, Target>>)
  & Pick<SampleDataset, "device" | "classes">;

/** What can be trained on. */
export type AnyDataset<Input = Tensor, Target = Tensor> =
  | Dataset<Input, Target>
  | SampleDataset
  | IterableDataset<Input, Target>;

/** Options of {@linkcode TensorDataset}. */
export interface TensorDatasetOptions {
  /** Multiplies inputs as a batch is gathered; default 1/255 for uint8, else 1. */
  scale?: number | undefined;
  /** Is added to inputs after scaling; default 0. */
  shift?: number | undefined;
  /** How much each sample counts in the loss: [n]. Default 1 each. */
  weights?: Tensor | undefined;
}

/**
 * A data set that lives on the device as it is given: inputs [n, ...] and targets [n, ...]. Inputs
 * of uint8, such as images, take a quarter of the memory and become float32, scaled, as a batch is
 * gathered; targets of uint8 become int32. A model of several inputs, or a loss of several targets,
 * gets them as a structure of tensors: `new TensorDataset({ image, age }, label)`.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const xor = new data.TensorDataset(
 *   tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
 *   tensor([0, 1, 1, 0], { dtype: "int32" }),
 * );
 * console.log(xor.length); // 4
 * ```
 */
export class TensorDataset<Input = Tensor, Target = Tensor> implements Dataset<Input, Target> {
  /** The inputs as given. */
  readonly inputs: Input;
  /** The targets as given. */
  readonly targets: Target;
  /** How much each sample counts, where that was given. */
  readonly weights: Tensor | undefined;
  /** The number of samples. */
  readonly length: number;
  readonly #scaling: { scale?: number | undefined; shift: number };

  constructor(inputs: Input, targets: Target, options: TensorDatasetOptions = {}) {
    const op = "TensorDataset";
    checkOptions(op, options, ["scale", "shift", "weights"]);
    const { scale, shift = 0, weights } = options;
    const all = [...tensorsIn(op, "inputs", inputs), ...tensorsIn(op, "targets", targets)];
    if (isTensor(inputs) && all[0]!.dtype === "int32" && ((scale ?? 1) !== 1 || shift !== 0)) {
      throw new ArgumentError(`${op}: inputs of int32 are not scaled; leave out scale and shift`);
    }
    if (weights !== undefined) {
      checkTensor(`${op}: weights`, weights);
      all.push(weights);
    }
    checkSameDevice(op, all[0]!, ...all.slice(1));
    if (scale !== undefined) checkNumber(op, "scale", scale);
    checkNumber(op, "shift", shift);
    this.length = samplesIn(op, "inputs", inputs);
    for (const [name, part] of Object.entries({ targets, ...(weights && { weights }) })) {
      const [first] = tensorsIn(op, name, part);
      if (first!.rank > 0 && samplesIn(op, name, part) === this.length) continue;
      throw new ShapeError(
        `${op}: inputs are ${formatShape(all[0]!.shape)}, ${name} ${
          formatShape(first!.shape)
        }; both must have one entry a sample`,
      );
    }
    for (const x of all) keep(x);
    this.inputs = inputs;
    this.targets = targets;
    this.weights = weights;
    this.#scaling = { scale, shift };
  }

  /** Where the data lives. */
  get device(): Tensor["device"] {
    return this.#tensors[0]!.device;
  }

  get #tensors(): Tensor[] {
    const parts = [this.inputs, this.targets].flatMap((part) =>
      tensorsIn("TensorDataset", "", part)
    );
    return this.weights ? [...parts, this.weights] : parts;
  }

  /** The inputs and targets that `index` names. */
  batch(index: Tensor): Batch<Input, Target> {
    const { inputs, targets, weights } = this;
    return scope(() => ({
      input: mapTensors(inputs, (x) => gatherRows(x, index, this.#scalingOf(x))),
      target: mapTensors(
        targets,
        (x) => gatherRows(x, index, x.dtype === "uint8" ? { dtype: "int32" } : {}),
      ),
      ...(weights && { weight: gatherRows(weights, index) }),
    }));
  }

  /** All samples as one batch, for a test set that is small enough. */
  all(): Batch<Input, Target> {
    const { length, device } = this;
    return scope(() => this.batch(arange(0, length, 1, { dtype: "int32", device })));
  }

  /**
   * What inputs that are one tensor are multiplied by as a batch is gathered, and what is added.
   *
   * @ignore
   */
  get scaling(): { scale: number; shift: number } {
    const { scale = 1, shift = 0 } = this.#scalingOf(this.#tensors[0]!);
    return { scale, shift };
  }

  #scalingOf({ dtype }: Tensor): { dtype?: DType; scale?: number; shift?: number } {
    if (dtype === "int32") return {};
    const { scale = dtype === "uint8" ? 1 / 255 : 1, shift } = this.#scaling;
    return { dtype: dtype === "uint8" ? "float32" as const : dtype, scale, shift };
  }

  /** Frees the data. */
  dispose(): void {
    for (const x of this.#tensors) x.dispose();
  }
}
