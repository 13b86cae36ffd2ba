// A search's trials in a file: what is searched, and a line of JSON for each trial that has ended.
import { ArgumentError, DataError } from "../../native/errors.ts";
import { exactJson, fromExactJson } from "../../io/_exact_json.ts";
import type { SweepTrial } from "./sweep_result.ts";

const version = 1;
const head = `{"sweep":${version},`;

/** Opens or begins one; throws where it is of another search, and says what differs. */
export async function openJournal(
  op: string,
  path: string | URL,
  search: Record<string, unknown>,
): Promise<{
  trials: SweepTrial<never>[];
  add(trial: SweepTrial<object>): Promise<void>;
  close(): void;
}> {
  const failed = (cause: Error): never => {
    throw new DataError(`${op}: ${path}: ${cause.message}`, { cause });
  };
  const file = await Deno.open(path, { read: true, write: true, create: true }).catch(failed);
  try {
    return await begin();
  } catch (error) {
    file.close();
    throw error;
  }

  async function begin() {
    // where a file system knows no locks, there is none
    if (!await file.tryLock(true).catch(() => true)) {
      throw new DataError(`${op}: ${path} is in use by another sweep; give each a path of its own`);
    }
    const text = await Deno.readTextFile(path).catch(failed);
    if (!text.startsWith(head) && !head.startsWith(text)) {
      throw new DataError(`${op}: ${path} is not the file of a sweep; give another path`);
    }
    const whole = text.slice(0, text.lastIndexOf("\n") + 1); // the last write may have been cut off
    const [first, ...trials] = whole.split("\n").slice(0, -1)
      .map((line, i) => fromExactJson(`${op}: line ${i + 1} of ${path}`, line));
    const bad = trials.findIndex((trial) => !isTrial(trial));
    if (bad >= 0) throw new DataError(`${op}: line ${bad + 2} of ${path} is not a trial`);
    if (first) checkSame(op, path, first as typeof search, search);
    let last: Promise<unknown> = file.truncate(new TextEncoder().encode(whole).length)
      .then(() => file.seek(0, Deno.SeekMode.End));
    const add = (line: unknown) => {
      const bytes = new TextEncoder().encode(exactJson(op, "a trial", line) + "\n");
      const writing = last.then(async () => {
        for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
        await file.syncData();
      }).catch(failed);
      last = writing.catch(() => {}); // whoever wrote it hears of it
      return writing;
    };
    const journal = { trials: trials as SweepTrial<never>[], add, close: () => file.close() };
    if (!first) await add({ sweep: version, ...search });
    return journal;
  }
}

function isTrial(x: unknown): boolean {
  const { trial, params, value, reports } = Object(x);
  const numbers = Number.isInteger(trial) && typeof value === "number";
  return numbers && Object(params) === params && Array.isArray(reports);
}

function checkSame(
  op: string,
  path: string | URL,
  found: Record<string, unknown>,
  wanted: Record<string, unknown>,
): void {
  const flat = ({ space, sweep: _, ...others }: Record<string, unknown>) => {
    const dimensions = Object.entries(Object(space)).map(([key, x]) => [`space.${key}`, x]);
    dimensions.push(["order of space", Object.keys(Object(space))]);
    const all = [...dimensions, ...Object.entries(others)] as [string, unknown][];
    return new Map(
      all.filter(([, x]) => x !== undefined).map(([key, x]) => [key, exactJson(op, key, x)]),
    );
  };
  const then = flat(found), now = flat(wanted);
  const changes = [...new Set([...then.keys(), ...now.keys()])]
    .filter((key) => then.get(key) !== now.get(key))
    .map((key) => `${key} was ${then.get(key) ?? "not there"} and is ${now.get(key) ?? "gone"}`);
  if (changes.length === 0) return;
  throw new ArgumentError(
    `${op}: ${path} is of another search: ${changes.join("; ")}. Search as then, or give another ` +
      "path",
  );
}
