// Batches that Workers make: the same as without them, and nothing left behind in the end.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  data,
  DataError,
  full,
  io,
  manualSeed,
  memory,
  oneHot,
  rand,
} from "../../mod.ts";
import { cleanTest, inFolder, later, modUrl, program, refuse, xor } from "../_helpers.ts";
import squares, { type Squares } from "./_squares.ts";

const { DataLoader, Subset } = data;
const module = new URL("./_squares.ts", import.meta.url);

function load(count: number, args: Squares = {}, options: data.DataLoaderOptions = {}) {
  const workers = count > 0 ? { module, args, count } : undefined;
  return later(
    new DataLoader(squares({ length: args.length ?? 20 }), { batchSize: 3, workers, ...options }),
  );
}

/** The numbers of all batches. */
async function numbers(loader: AsyncIterable<data.Batch>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const { input, target, weight } of loader) {
    assertEquals([input.dtype, target.dtype, weight!.dtype], ["float32", "int32", "float32"]);
    found.push([...await input.data(), ...await target.data(), ...await weight!.data()]);
  }
  return found;
}

cleanTest("workers: any number of them gives the same numbers in the same order", async () => {
  const runs: number[][][] = [];
  for (const count of [0, 1, 3]) {
    manualSeed(5);
    const loader = load(count, {}, { shuffle: true });
    const two = [await numbers(loader), await numbers(loader)];
    assertNotEquals(two[0], two[1]);
    assertEquals(two[0]!.length, 7);
    runs.push(two.flat());
  }
  assertEquals(runs[1], runs[0]);
  assertEquals(runs[2], runs[0]);
  const seeded = () => numbers(load(2, {}, { shuffle: true, seed: 3 }));
  assertEquals(await seeded(), await seeded());
});

cleanTest("workers: the rest of an epoch is what it would have been", async () => {
  for (const count of [0, 2]) {
    const whole = await numbers(load(count, {}, { seed: 1, shuffle: true }));
    const feed = load(count, {}, { seed: 1, shuffle: true }).feed(5);
    const rest: number[][] = [];
    for (;;) {
      const { done, value } = await feed.next();
      if (done) break;
      const { input, target, weight } = value.batch;
      rest.push([input, target, weight!].flatMap((x) => [...x.dataSync()]));
    }
    await feed.close();
    assertEquals(rest, whole.slice(5));
  }
});

cleanTest("workers: parts of the module's data set, and parts of parts", async () => {
  const part = later(new Subset(later(new Subset(squares(), [9, 4, 7, 2])), [3, 0, 1]));
  const loader = later(new DataLoader(part, { batchSize: 2, workers: { module, count: 2 } }));
  const found: number[] = [];
  for await (const { input } of loader) {
    found.push(...[...input.dataSync()].filter((_, i) => i % 4 === 1));
  }
  assertEquals(found, [4, 81, 16]);
});

cleanTest(
  "workers: they read the pictures of a folder, whatever is made of it",
  () =>
    inFolder(async (dir) => {
      for (let i = 0; i < 8; i++) {
        const path = `${dir}/${"ab"[i % 2]}`;
        await Deno.mkdir(path, { recursive: true });
        await Deno.writeFile(`${path}/${i}.png`, await io.encodePng(full([3, 4, 4], i / 8)));
      }
      const set = await data.imageFolder(dir, { size: [2, 3] });
      const some = later(new Subset(set, [7, 1, 4, 2, 6]));
      const flips = new data.TransformedDataset(some, data.transforms.randomHorizontalFlip());
      const mapped = data.map(flips, ({ input, target }) => ({
        input: input.mul(2).add(rand(input.shape)),
        target: oneHot(target, 2),
      }));
      const parts: data.Dataset[] = [set, some, mapped, later(new Subset(mapped, [3, 0, 1]))];
      for (const part of parts) {
        const runs: unknown[] = [];
        for (const workers of [undefined, { count: 2 }]) {
          manualSeed(3);
          const loader = later(new DataLoader(part, { batchSize: 2, shuffle: true, workers }));
          const before = memory().tensors;
          const seen: unknown[] = [];
          for await (const { input, target } of loader) {
            seen.push(input.shape, [...input.dataSync()], target.dtype, [...target.dataSync()]);
          }
          assertEquals(memory().tensors, before);
          runs.push(seen);
        }
        assertEquals(runs[0], runs[1]);
      }
      await Deno.writeTextFile(`${dir}/a/0.png`, "broken");
      const loader = later(new DataLoader(set, { workers: { count: 1 } }));
      const error = await assertRejects(async () => {
        for await (const _ of loader);
      }, DataError);
      assert(error.message.includes("a/0.png: it is neither a PNG nor a JPEG"), error.message);
    }),
);

cleanTest("workers: collate is the module's, and may make tensors", async () => {
  const module = new URL("./_padded.ts", import.meta.url);
  const { dataset } = await import(module.href);
  const loader = later(new DataLoader(dataset, { batchSize: 3, workers: { module, count: 1 } }));
  const found: unknown[] = [];
  for await (const { input, target } of loader) {
    found.push([input.dtype, input.shape, target.dtype, [...target.dataSync()]]);
  }
  assertEquals(found, [
    ["int32", [3, 3], "bfloat16", [0, 1, 2]],
    ["int32", [2, 5], "bfloat16", [3, 4]],
  ]);
});

cleanTest(
  "workers: what fails there is thrown here, says where, and the next epoch works",
  async () => {
    const cases: [Squares, ...string[]][] = [
      [{ at: 7, what: "throw" }, "sample 7 of file:", "_squares.ts failed: no such picture"],
      [{ at: 6, what: "reject" }, "sample 6 of file:", "failed: no such file"],
      [{ at: 8, what: "shape" }, "a batch of file:", "[4] in one sample, [1] in another"],
      [{ at: 4, what: "crash" }, "a worker of file:", "no paper"],
    ];
    for (const [args, ...parts] of cases) {
      const loader = load(2, args);
      const seen: number[] = [];
      const error = await assertRejects(async () => {
        for await (const { input } of loader) seen.push(input.dataSync()[0]!);
      }, DataError);
      for (const part of parts) assert(error.message.includes(part), error.message);
      if (args.what !== "crash") assertEquals(seen, [0, 3]);
      await assertRejects(() => numbers(loader), DataError);
    }
  },
);

cleanTest("workers: modules that are no data set", async () => {
  const source = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
  const cases: [string, string][] = [
    ["file:///no/such/file.ts", "Module not found"],
    [source("throw new Error('not today')"), "not today"],
    [source("export const set = 1"), "the default export, or the export dataset"],
    [source("export default { length: 3, get: () => 1 }"), "has 3 samples, the loader's 20"],
    [source("export default () => Promise.reject(new Error('no disk'))"), "no disk"],
    [source("export default { length: 20, get: () => 1 }"), "a sample is 1"],
  ];
  for (const [module, text] of cases) {
    const loader = later(new DataLoader(squares(), { workers: { module, count: 1 } }));
    const error = await assertRejects(() => numbers(loader), DataError);
    assert(error.message.includes(text), error.message);
  }
});

cleanTest("workers: a loop that is left early, or disposed of, leaves nothing", async () => {
  const loader = load(2, { length: 200, at: 40, what: "spin" });
  for (let time = 0; time < 3; time++) {
    const before = memory().tensors;
    for await (const { input } of loader) {
      if (input.dataSync()[0] === 6) break;
    }
    assertEquals(memory().tensors, before);
  }
  const slow = load(2, { at: 7, what: "spin" });
  const iterator = slow[Symbol.asyncIterator]();
  await iterator.next();
  slow.dispose();
  await assertRejects(
    async () => {
      for (;;) if ((await iterator.next()).done) break;
    },
    ArgumentError,
    "disposed",
  );
  assertEquals((await numbers(slow)).length, 7); // starts others
});

cleanTest("workers: what is refused", () => {
  const make = (workers: unknown, options: object = {}) => () =>
    new DataLoader(squares(), { workers: workers as data.WorkersOptions, ...options });
  refuse(make({}), ArgumentError, "workers.module is undefined", "new URL(");
  refuse(make({ module: "./photos.ts" }), ArgumentError, 'workers.module is "./photos.ts"');
  refuse(make({ module, count: 0 }), ArgumentError, "workers.count is 0");
  refuse(make({ module, cuont: 1 }), ArgumentError, "did you mean count?");
  refuse(make(4), ArgumentError, "wanted are options");
  refuse(make({ module }, { collate: () => 0 }), ArgumentError, "export collate");
  refuse(
    () => {
      for (const _ of load(1)) break;
    },
    ArgumentError,
    "for await",
  );
  refuse(() => new DataLoader(xor(), { workers: { module } }), ArgumentError, "get()");
});

cleanTest("workers: a program ends by itself, disposed of its loader or not", async () => {
  const source = (end: string) => `
    import { data } from "${modUrl}";
    import squares from "${module}";
    const workers = { module: "${module}", count: 2 };
    const loader = new data.DataLoader(squares(), { batchSize: 4, workers });
    for await (const { input } of loader) if (input.dataSync()[0] > 3) break;
    ${end}
    console.log("done");
  `;
  for (const end of ["loader.dispose();", "", "throw new Error('left');"]) {
    const { code, out, err } = await program(source(end), { flags: ["-A"] });
    assertEquals([code, out], end.startsWith("throw") ? [1, ""] : [0, "done\n"], err);
  }
});
