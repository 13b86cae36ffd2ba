// A search's trials in a file: what is searched, and a line of JSON for each trial that has ended.
import { ArgumentError, DataError } from "../../native/errors.ts";
import { exactJson, fromExactJson } from "../../io/_exact_json.ts";
import type { SweepTrial } from "./sweep_result.ts";

const version = 1;
const head = `{"sweep":${version},`;

/** The file of a search. */
export interface Journal {
  trials: SweepTrial<never>[];
  add(trial: SweepTrial<object>): Promise<void>;
  close(): void;
}

/** Opens or begins one; throws where it is of another search, and says what differs. */
export async function openJournal(
  op: string,
  path: string | URL,
  search: Record<string, unknown>,
): Promise<Journal> {
  const trying = async <T>(what: () => Promise<T>): Promise<T> => {
    try {
      return await what();
    } catch (cause) {
      throw new DataError(`${op}: ${path}: ${(cause as Error).message}`, { cause });
    }
  };
  const text = await trying(async () => {
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  });
  if (!text.startsWith(head) && !head.startsWith(text)) {
    throw new DataError(`${op}: ${path} is not the file of a sweep; give another path`);
  }
  const whole = text.slice(0, text.lastIndexOf("\n") + 1); // the last write may have been cut off
  const lines = whole.split("\n").slice(0, -1);
  const [first, ...trials] = lines.map((line, i) =>
    fromExactJson(`${op}: line ${i + 1} of ${path}`, line)
  );
  if (first) checkSame(op, path, first as typeof search, search);
  const file = await trying(() => Deno.open(path, { write: true, create: true }));
  const write = (text: string) =>
    trying(async () => {
      const bytes = new TextEncoder().encode(text);
      for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
      await file.syncData();
    });
  let last: Promise<void> = Promise.resolve();
  try {
    const length = new TextEncoder().encode(whole).length;
    await file.truncate(length);
    await file.seek(length, Deno.SeekMode.Start);
    if (!first) await write(exactJson(op, "the space", { sweep: version, ...search }) + "\n");
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    trials: trials as SweepTrial<never>[],
    add: (trial) => last = last.then(() => write(exactJson(op, "a trial", trial) + "\n")),
    close: () => file.close(),
  };
}

function checkSame(
  op: string,
  path: string | URL,
  found: Record<string, unknown>,
  wanted: Record<string, unknown>,
): void {
  const flat = ({ space, sweep: _, ...others }: Record<string, unknown>) => {
    const dimensions = Object.entries(Object(space)).map(([key, x]) => [`space.${key}`, x]);
    const all = [...dimensions, ...Object.entries(others)] as [string, unknown][];
    return new Map(all.map(([key, x]) => [key, exactJson(op, key, x)]));
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
