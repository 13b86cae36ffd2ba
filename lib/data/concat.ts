import { backendFor } from "../core/backend.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { scope } from "../core/scope.ts";
import { ArgumentError, DeviceError, ShapeError } from "../native/errors.ts";
import { checkDType, checkSameDType } from "../ops/_operands.ts";
import { maximum, minimum, sub } from "../ops/elementwise/binary.ts";
import { lt } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import type { Tensor } from "../tensor.ts";
import { checkDataset, checkedBatch } from "./_check.ts";
import type { Dataset } from "./dataset.ts";

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
export function concat(...datasets: readonly Dataset[]): Dataset {
  const [first] = datasets;
  if (!first) throw new ArgumentError("concat: there are no data sets; wanted is one or more");
  for (const dataset of datasets) {
    checkDataset("concat", dataset);
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
  const batch: Dataset["batch"] = (index) => {
    checkDType("concat: index", index, ["int32"]);
    return scope(() =>
      parts.map(({ dataset, start, end }) => {
        // What is of another data set names any sample of this one; what is of none stays wrong.
        const from = start > 0 ? maximum(sub(index, start), 0) : index;
        const own = end < length ? minimum(from, end - start - 1) : from;
        return checkedBatch("concat", dataset.batch(own));
      }).reduce((before, batch, p) => {
        const earlier = lt(index, parts[p]!.start);
        return {
          input: chosen("inputs", earlier, before.input, batch.input),
          target: chosen("targets", earlier, before.target, batch.target),
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
