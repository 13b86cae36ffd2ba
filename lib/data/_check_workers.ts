// What a loader's Workers may be asked to do.
import { checkInteger, checkOptions, refuse } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { isDataset, isSamples } from "./_check.ts";
import type { WorkersOptions } from "./data_loader.ts";
import { originOf } from "./_origin.ts";

/** How many there are where nothing is said: one processor is left to the main thread. */
export const defaultCount = (): number =>
  Math.min(8, Math.max(1, navigator.hardwareConcurrency - 1));

/** Throws unless they can make the batches of a data set. */
export function checkWorkers(
  op: string,
  workers: WorkersOptions,
  dataset: unknown,
  collate: unknown,
): void {
  checkOptions(`${op}: workers`, workers, ["module", "args", "count"]);
  const { module, count } = workers;
  if (count !== undefined) checkInteger(op, "workers.count", count, 1);
  const own = (isSamples(dataset) || isDataset(dataset)) && originOf(dataset).dataset.worker;
  if (!isSamples(dataset) && !own) {
    throw new ArgumentError(
      `${op}: workers are for data sets that give samples, by get(), and for imageFolder()`,
    );
  }
  if (collate !== undefined) {
    throw new ArgumentError(
      `${op}: functions do not travel to workers; export collate from their module`,
    );
  }
  if (module === undefined && own) return;
  if (module instanceof URL || (typeof module === "string" && URL.canParse(module))) return;
  refuse(
    op,
    "workers.module",
    module,
    'the URL of a module with the data set, such as new URL("./photos.ts", import.meta.url)',
  );
}
