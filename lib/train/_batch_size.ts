// The largest batch that there is memory for.
import { randomPlace, setRandomPlace } from "../core/random.ts";
import { keep, scope } from "../core/scope.ts";
import { zeros } from "../create.ts";
import type { Batch } from "../data/batch.ts";
import { DataLoader } from "../data/data_loader.ts";
import type { AnyDataset } from "../data/dataset.ts";
import { isDataset, isSamples } from "../data/_check.ts";
import { ArgumentError, OutOfMemoryError } from "../native/errors.ts";
import type { AnyModule } from "../nn/module.ts";
import { zeroGradients } from "../optim/_lists.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Tries steps on ever twice as many samples as 32, or half as many, and takes the largest number
 * for which there was memory, for an optimizer's state too. The model, its buffers and random
 * numbers stay as they were.
 */
export async function largestBatch<Input, Target>(
  model: AnyModule,
  data: AnyDataset<Input, Target>,
  loss: (batch: Batch<Input, Target>) => Tensor,
): Promise<number> {
  if (!isDataset(data) && !isSamples(data)) {
    throw new ArgumentError('fit: batchSize "auto" is not for iterable data; give a number');
  }
  const parameters = model.parameters();
  const trained = new Set(parameters);
  const buffers = Object.values(model.stateDict()).filter((x) => !trained.has(x));
  const kept = buffers.map((x) => keep(x.clone()));
  const place = randomPlace();
  let fits = 0;
  try {
    const works = (size: number) => trial(parameters, data, size, loss);
    let size = Math.min(32, data.length);
    if (await works(size)) {
      for (fits = size; fits < data.length; fits = size) {
        size = Math.min(2 * fits, data.length);
        if (!await works(size)) break;
      }
    } else {
      while (fits === 0 && size > 1) if (await works(size >>= 1)) fits = size;
    }
  } finally {
    buffers.forEach((x, i) => x.copyFrom(kept[i]!));
    for (const x of kept) x.dispose();
    setRandomPlace(place);
  }
  if (fits > 0) return fits;
  throw new OutOfMemoryError("fit: there is no memory for a step on a single sample");
}

async function trial<Input, Target>(
  parameters: readonly Tensor[],
  data: AnyDataset<Input, Target>,
  batchSize: number,
  loss: (batch: Batch<Input, Target>) => Tensor,
): Promise<boolean> {
  const feed = new DataLoader(data, { batchSize, prefetch: 0 }).feed();
  try {
    const { value } = await feed.next();
    scope(() => {
      // as much as Adam keeps
      for (const { shape, device } of parameters) {
        for (let i = 0; i < 2; i++) zeros(shape, { device });
      }
      loss(value!.batch).backward();
    });
    return true;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return false;
    throw error;
  } finally {
    zeroGradients(parameters, {});
    await feed.close();
  }
}
