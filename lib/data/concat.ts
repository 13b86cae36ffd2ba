import { refuse } from "../core/options.ts";
import { backendFor } from "../core/backend.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { scope } from "../core/scope.ts";
import { ArgumentError, DeviceError, ShapeError } from "../native/errors.ts";
import { checkDType, checkSameDType } from "../ops/_operands.ts";
import { maximum, minimum, sub } from "../ops/elementwise/binary.ts";
import { lt } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import type { Tensor } from "../tensor.ts";
import { alike, checkDataset, checkedBatch, isDataset, isSamples } from "./_check.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { zipTensors } from "../_structure.ts";

/**
 * Data sets one after another, as one. Their samples must have one shape and dtype, and be on one
 * device. Which data set a sample is of is known on the device only, so that each makes a batch,
 * of which the samples asked for are taken: of k data sets, k times the work of one. They stay the
 * caller's to dispose of. As torch.utils.data.ConcatDataset.
 *
 * @throws {DeviceError} when they are on different devices.
 * @throws {ShapeError} and {DTypeError} as a batch is made, when samples are not alike.
 *
 * ```ts
 * import { data, ones, zeros } from "@cudeno/cudeno";
 * const a = new data.TensorDataset(zeros([2, 3]), zeros([2]));
 * const b = new data.TensorDataset(ones([3, 3]), ones([3]));
 * const all = data.concat(a, b);
 * for (const { target } of new data.DataLoader(all, { batchSize: 5 })) {
 *   console.log(target.dataSync()); // 0, 0, 1, 1, 1
 * }
 * ```
 */
export function concat<Input, Target>(
  ...datasets: readonly Dataset<Input, Target>[]
): Dataset<Input, Target>;
/** The same of data sets that give samples. */
export function concat(...datasets: readonly SampleDataset[]): SampleDataset;
export function concat<Input, Target>(
  ...datasets: readonly (Dataset<Input, Target> | SampleDataset)[]
): Dataset<Input, Target> | SampleDataset {
  const [first] = datasets;
  if (!first) throw new ArgumentError("concat: there are no data sets; wanted is one or more");
  for (const dataset of datasets) checkDataset("concat", dataset);
  if (datasets.every(isSamples)) return samplesOf(datasets);
  const wrong = datasets.find((dataset) => !isDataset(dataset));
  if (wrong) refuse("concat", "a data set", wrong, "one with batch(), as the others are");
  return batchesOf(datasets as Dataset<Input, Target>[]);
}

function samplesOf(datasets: readonly SampleDataset[]): SampleDataset {
  const length = datasets.reduce((sum, dataset) => sum + dataset.length, 0);
  const get: SampleDataset["get"] = (i, random) => {
    for (const dataset of datasets) {
      if (i < dataset.length) return dataset.get(i, random);
      i -= dataset.length;
    }
    return refuse("concat", "the number of a sample", i, `below ${length}`);
  };
  return { ...alike(datasets[0]!), length, get };
}

function batchesOf<Input, Target>(
  datasets: readonly Dataset<Input, Target>[],
): Dataset<Input, Target> {
  const first = datasets[0]!;
  for (const dataset of datasets) {
    if (backendFor(dataset.device) === backendFor(first.device)) continue;
    throw new DeviceError(
      `concat: one data set is on ${first.device}, another on ${dataset.device}; make both on one`,
    );
  }
  let length = 0;
  const parts = datasets.flatMap((dataset) => {
    const start = length;
    length += dataset.length;
    return dataset.length > 0 ? [{ dataset, start, end: length }] : [];
  });
  if (parts.length === 0) parts.push({ dataset: first, start: 0, end: 0 });
  const batch: Dataset<Input, Target>["batch"] = (index) => {
    checkDType("concat: index", index, ["int32"]);
    return scope(() =>
      parts.map(({ dataset, start, end }) => {
        // What is of another data set names any sample of this one; what is of none stays wrong.
        const from = start > 0 ? maximum(sub(index, start), 0) : index;
        const own = end < length ? minimum(from, end - start - 1) : from;
        return checkedBatch("concat", dataset.batch(own));
      }).reduce((before, batch, p) => {
        const earlier = lt(index, parts[p]!.start);
        const pick = (a: Tensor, b: Tensor, place: string) => chosen(place, earlier, a, b);
        const { weight } = before;
        if (!weight !== !batch.weight) {
          throw new ArgumentError("concat: some data sets have weights, others none");
        }
        return {
          input: zipTensors("concat", "inputs", before.input, batch.input, pick),
          target: zipTensors("concat", "targets", before.target, batch.target, pick),
          ...(weight && { weight: pick(weight, batch.weight!, "weights") }),
        };
      })
    );
  };
  return { length, device: first.device, batch };
}

function chosen(what: string, mask: Tensor, a: Tensor, b: Tensor): Tensor {
  if (!sameShape(a.shape, b.shape) || a.shape[0] !== mask.size) {
    throw new ShapeError(
      `concat: ${what} of ${mask.size} samples are ${formatShape(a.shape)} and ${
        formatShape(b.shape)
      }; all data sets must have samples of one shape`,
    );
  }
  checkSameDType(`concat: ${what}`, a, b);
  return where(mask.reshape(a.shape.map((_, d) => (d === 0 ? mask.size : 1))), a, b);
}
