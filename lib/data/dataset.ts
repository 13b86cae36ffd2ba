import { checkDataset, checkedBatch } from "./_check.ts";
import { permutation } from "../core/random.ts";
import { checkInteger, checkNumber, checkOptions } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { empty } from "../_empty.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { gatherRows } from "../ops/index/gather_rows.ts";
import { checkSameDevice, checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/** Samples that can be had in batches. */
export interface Dataset {
  /** How many samples there are. */
  readonly length: number;
  /** The device that batches are made on. */
  readonly device: Tensor["device"];
  /** The inputs and targets of the samples that an int32 index names. */
  batch(index: Tensor): { input: Tensor; target: Tensor };
}

/** Options of {@linkcode TensorDataset}. */
export interface TensorDatasetOptions {
  /** Multiplies inputs as a batch is gathered; default 1/255 for uint8, else 1. */
  scale?: number | undefined;
  /** Is added to inputs after scaling; default 0. */
  shift?: number | undefined;
}

/**
 * A data set that lives on the device as it is given: inputs [n, ...] and targets [n, ...]. Inputs
 * of uint8, such as images, take a quarter of the memory and become float32, scaled, as a batch is
 * gathered; targets of uint8 become int32.
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
export class TensorDataset implements Dataset {
  /** The inputs as given. */
  readonly inputs: Tensor;
  /** The targets as given. */
  readonly targets: Tensor;
  readonly #scaling: { scale: number; shift: number };

  constructor(inputs: Tensor, targets: Tensor, options: TensorDatasetOptions = {}) {
    checkOptions("TensorDataset", options, ["scale", "shift"]);
    checkTensor("TensorDataset: inputs", inputs);
    checkTensor("TensorDataset: targets", targets);
    const { scale = inputs.dtype === "uint8" ? 1 / 255 : 1, shift = 0 } = options;
    if (inputs.dtype === "int32" && (scale !== 1 || shift !== 0)) {
      throw new ArgumentError(
        "TensorDataset: inputs of int32 are not scaled; leave out scale and shift",
      );
    }
    checkSameDevice("TensorDataset", inputs, targets);
    checkNumber("TensorDataset", "scale", scale);
    checkNumber("TensorDataset", "shift", shift);
    if (inputs.rank === 0 || targets.rank === 0 || inputs.shape[0] !== targets.shape[0]) {
      throw new ShapeError(
        `TensorDataset: inputs are ${formatShape(inputs.shape)}, targets ${
          formatShape(targets.shape)
        }; both must have one entry a sample`,
      );
    }
    this.inputs = keep(inputs);
    this.targets = keep(targets);
    this.#scaling = { scale, shift };
  }

  /** The number of samples. */
  get length(): number {
    return this.inputs.shape[0]!;
  }

  /** Where the data lives. */
  get device(): Tensor["device"] {
    return this.inputs.device;
  }

  /** The inputs and targets that `index` names. */
  batch(index: Tensor): { input: Tensor; target: Tensor } {
    const { inputs, targets } = this;
    const scaling = {
      dtype: inputs.dtype === "uint8" ? "float32" : inputs.dtype,
      ...this.#scaling,
    } as const;
    return scope(() => ({
      input: gatherRows(inputs, index, scaling),
      target: gatherRows(targets, index, targets.dtype === "uint8" ? { dtype: "int32" } : {}),
    }));
  }

  /** Frees the data. */
  dispose(): void {
    this.inputs.dispose();
    this.targets.dispose();
  }
}

/** Options of {@linkcode DataLoader}. */
export interface DataLoaderOptions {
  /** Samples a batch; default 1, as in PyTorch. */
  batchSize?: number | undefined;
  /** Whether to draw a new order each time; default false. */
  shuffle?: boolean | undefined;
  /** Whether to leave out a last batch that is not full; default false. */
  dropLast?: boolean | undefined;
}

/**
 * Batches of a data set, in order or shuffled anew at each iteration. A batch is freed when the
 * next is asked for, or the loop is left; clone() what is to stay.
 *
 * ```ts
 * import { data, rand, zeros } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(rand([10, 3]), zeros([10]));
 * for (const { input } of new data.DataLoader(set, { batchSize: 4 })) {
 *   console.log(input.shape); // [4, 3], [4, 3], [2, 3]
 * }
 * ```
 */
export class DataLoader {
  /** Samples a batch. */
  readonly batchSize: number;
  /** The data. */
  readonly dataset: Dataset;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;

  constructor(dataset: Dataset, options: DataLoaderOptions = {}) {
    checkOptions("DataLoader", options, ["batchSize", "shuffle", "dropLast"]);
    const { batchSize = 1, shuffle = false, dropLast = false } = options;
    checkInteger("DataLoader", "batchSize", batchSize, 1);
    checkDataset("DataLoader", dataset);
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.#shuffle = shuffle;
    this.#dropLast = dropLast;
  }

  /** The number of batches. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** The indices of each batch, views of one order on the device; freed when the iteration ends. */
  *indices(): Generator<Tensor> {
    const n = this.dataset.length;
    const { device } = this.dataset;
    // asks for room before the work
    using all = keep(empty("DataLoader", [n], { dtype: "int32", device }));
    all.copyFrom(this.#shuffle ? permutation(n) : Int32Array.from({ length: n }, (_, i) => i));
    for (let b = 0; b < this.length; b++) {
      const begin = b * this.batchSize;
      using index = keep(all.view(begin, [Math.min(this.batchSize, n - begin)]));
      yield index;
    }
  }

  /** The batches. */
  *[Symbol.iterator](): Generator<{ input: Tensor; target: Tensor }> {
    for (const index of this.indices()) {
      const { input, target } = scope(() => checkedBatch("DataLoader", this.dataset.batch(index)));
      try {
        yield { input, target };
      } finally { // also where the loop is left early
        input.dispose();
        target.dispose();
      }
    }
  }
}
