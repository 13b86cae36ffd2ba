// Searches for hyper-parameters.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ArgumentError, DataError, manualSeed, rand, sweep, type SweepTrial } from "../../mod.ts";
import { cleanTest as test, inFolder } from "../_helpers.ts";
import { train } from "./_trial.ts";

const space = {
  lr: { min: 1e-5, max: 1, scale: "log" },
  width: [16, 32, 64],
  depth: { min: 1, max: 4, integer: true },
  act: ["relu", "tanh"],
} as const;
const square = { x: { min: -5, max: 5 }, y: { min: -5, max: 5 }, z: { min: -5, max: 5 } };
const bowl = ({ x, y, z }: { x: number; y: number; z: number }) =>
  (x - 1) ** 2 + (y + 2) ** 2 + z ** 2;
const untimed = (trials: readonly SweepTrial<unknown>[]) =>
  trials.map((trial) => ({ ...trial, seconds: 0 }));

test("sweep: what it tries lies in the space, of the types that it says", async () => {
  const { trials } = await sweep(space, ({ lr, width, depth, act }) => {
    const exact: [16 | 32 | 64, "relu" | "tanh"] = [width, act]; // or it does not compile
    assert(lr >= 1e-5 && lr <= 1 && [1, 2, 3, 4].includes(depth), `${lr} ${depth} ${exact}`);
    return Math.log(lr);
  }, { method: "random", trials: 200, rethrow: true });
  for (const width of space.width) assert(trials.some(({ params }) => params.width === width));
  for (let depth = 1; depth <= 4; depth++) {
    const share = trials.filter(({ params }) => params.depth === depth).length;
    assert(share > 30 && share < 70, `${share} of depth ${depth}`);
  }
  const low = trials.filter(({ params }) => params.lr < 10 ** -2.5).length;
  assert(low > 75 && low < 125, `${low} in the lower half of the logarithms`);
});

test("sweep: a grid, its table and its rows", async () => {
  const small = { a: { min: 1, max: 100, scale: "log", points: 3 }, b: [true, false] } as const;
  const of = ({ a, b }: { a: number; b: boolean }) => b ? a : NaN;
  const result = await sweep(small, of, { method: "grid", mode: "max" });
  const [a, b] = [[1, 10, 100, 1, 10, 100], [true, true, true, false, false, false]];
  assertEquals(result.trials.map(({ params }) => Math.round(params.a)), a);
  assertEquals(result.trials.map(({ params }) => params.b), b);
  assertEquals(result.best!.trial, 2);
  assertEquals(result.rows.map(({ value }) => Math.round(value)), [1, 10, 100]);
  const [head, first, , , nan] = result.table().split("\n");
  assertEquals([head, first], [
    "trial    a      b  value  status",
    "    2  100   true    100  done",
  ]);
  assertEquals(nan, "    3    1  false    NaN  done");
  assertEquals(JSON.parse(JSON.stringify(result)).trials[3].value, null);
});

test("sweep: the Parzen estimator finds less than chance does", async () => {
  let wins = 0;
  for (let seed = 0; seed < 10; seed++) {
    const [tpe, random] = [
      await sweep(square, bowl, { seed, trials: 60 }),
      await sweep(square, bowl, { seed, trials: 60, method: "random" }),
    ];
    assertEquals(
      tpe.trials.slice(0, 10).map(({ value }) => value),
      random.trials.slice(0, 10).map(({ value }) => value),
    );
    wins += Number(tpe.best!.value < random.best!.value / 2);
  }
  assert(wins >= 8, `${wins} of 10`);
  const choice = { c: ["a", "b", "c", "d"] } as const;
  const { trials } = await sweep(choice, ({ c }) => c.charCodeAt(0), { trials: 50 });
  const best = trials.slice(10).filter(({ params }) => params.c === "a").length;
  assert(best > 20, `the best of 4 choices was taken ${best} times of 40`);
});

test("sweep: one that was interrupted comes to what it would have come to", async () => {
  const noisy = (params: { x: number; y: number; z: number }) =>
    bowl(params) + rand([1]).itemSync();
  manualSeed(3);
  const next = rand([2]).dataSync();
  manualSeed(3);
  const halving = { maxResource: 9 };
  const told: Parameters<typeof sweep<typeof square>>[1] = (params, { report, trial, signal }) => {
    if (trial === 4) throw new Error("no room");
    for (let step = 1; step <= 9 && !signal.aborted; step++) {
      report(step, trial === 5 ? NaN : noisy(params));
    }
    return noisy(params);
  };
  const options = { trials: 30, seed: 5, halving };
  const whole = await sweep(square, told, options);
  assertEquals(rand([2]).dataSync(), next, "it leaves random numbers alone");
  await inFolder(async (folder) => {
    const path = `${folder}/search.jsonl`;
    const stop = new AbortController();
    const first = await sweep(square, (params, context) => {
      if (context.trial === 13) stop.abort();
      return told(params, context);
    }, { ...options, path, signal: stop.signal });
    assertEquals(first.trials.length, 13);
    await Deno.writeTextFile(path, '{"trial":13,"par', { append: true }); // as a kill leaves it
    let runs = 0;
    const again = await sweep(square, told, { ...options, path, onTrial: () => runs++ });
    assertEquals([runs, untimed(again.trials)], [17, untimed(whole.trials)]);
    assertEquals([whole.trials[4]!.error, whole.trials[5]!.status], ["no room", "stopped"]);

    const other = { ...square, x: { min: -5, max: 6 } };
    const changed = () => sweep(other, told, { ...options, path, seed: 6 });
    const { message } = await assertRejects(changed, ArgumentError);
    assert(message.includes('space.x was {"min":-5,"max":5} and is {"min":-5,"max":6}'), message);
    assert(message.includes("seed was 5 and is 6") && !message.includes("space.y"), message);
    await Deno.writeTextFile(path, "my notes");
    await assertRejects(() => sweep(square, told, { path }), DataError, "not the file of a sweep");
    assertEquals(await Deno.readTextFile(path), "my notes");
  });
});

test("sweep: goes on without halving; not beside another, nor from what is no trial", () =>
  inFolder(async (folder) => {
    const path = `${folder}/search.jsonl`, space = { x: [1, 2, 3], y: [1, 2] };
    const train = ({ x, y }: { x: number; y: number }) => x * y;
    const options = { method: "grid", path } as const;
    await sweep(space, train, { ...options, trials: 4 });
    const { trials } = await sweep(space, train, options);
    assertEquals(trials.map(({ value }) => value), [1, 2, 3, 2, 4, 6]);
    const range = { lr: { min: 1e-4, max: 1, scale: "log" } } as const;
    const grid = await sweep(range, ({ lr }) => lr, { method: "grid" });
    assertEquals(grid.trials.map(({ value }) => value), [1e-4, 1e-3, 1e-2, 0.1, 1]);
    const turned = () => sweep({ y: space.y, x: space.x }, train, options);
    await assertRejects(turned, ArgumentError, "order of space");
    const twice = { ...options, path: `${folder}/twice.jsonl` };
    const within = await sweep(space, () => sweep(space, train, twice).then(() => 1), twice);
    assert(within.trials.every(({ error }) => error?.includes("in use by another sweep")));
    await Deno.writeTextFile(path, '{"trial":6}\n', { append: true });
    await assertRejects(() => sweep(space, train, options), DataError, "line 8 of");
  }));

test("sweep: halving stops what is not among the best at a rung", async () => {
  const grid = { x: [3, 1, 2, 5, 0, 4] };
  const result = await sweep(grid, ({ x }, { report, signal }) => {
    for (let epoch = 1; epoch <= 4; epoch++) {
      report(epoch, x);
      if (signal.aborted) throw signal.reason;
    }
    return x;
  }, { method: "grid", halving: { eta: 2, minResource: 2, maxResource: 4 } });
  // at rung 2: 3 of [3], 1 of [3, 1], 2 of 3 is second, of which 1 goes on, 5 of 4, 0, 4
  const wanted = ["done", "done", "stopped", "stopped", "done", "stopped"];
  assertEquals(result.trials.map(({ status }) => status), wanted);
  assertEquals(result.trials.map(({ reports }) => reports.length), [4, 4, 2, 2, 4, 2]);
  assertEquals([result.best!.params.x, result.trials[2]!.value], [0, 2]);
});

test("sweep: Workers come to what one after another does, failures too", async () => {
  const options = { method: "random", trials: 6 } as const;
  const line = { x: { min: 0, max: 9 } };
  const one = await sweep(line, train, options);
  const module = new URL("./_trial.ts", import.meta.url);
  const two = await sweep(line, train, { ...options, workers: { module, count: 2 } });
  assertEquals(untimed(two.trials), untimed(one.trials));
  assertEquals([two.trials[1]!.status, two.trials[1]!.error], ["failed", "too wide"]);
  const halving = { eta: 100, maxResource: 3 };
  const halved = await sweep(line, train, { ...options, halving, workers: { module, count: 2 } });
  assert(halved.trials.some(({ status }) => status === "stopped"), halved.table());
  const missing = { module: new URL("./_none.ts", import.meta.url), count: 2 };
  await assertRejects(() => sweep(line, train, { workers: missing }), ArgumentError, "_none.ts");
});

test("sweep: errors, and what cannot be searched", async () => {
  const failing = () => {
    throw new TypeError("it is broken");
  };
  const { best, trials } = await sweep(square, failing, { trials: 3 });
  assertEquals([best, trials.map(({ status }) => status)], [undefined, Array(3).fill("failed")]);
  await assertRejects(() => sweep(square, failing, { rethrow: true }), TypeError, "it is broken");
  const wrong = async (message: string, given: object, options: object = {}) => {
    await assertRejects(() => sweep(given as typeof square, bowl, options), ArgumentError, message);
  };
  await wrong("sweep: the space is {}", {});
  await wrong("space.x.min is 0; it must be above 0, as the scale is log", {
    x: { min: 0, max: 1, scale: "log" },
  });
  await wrong("space.x.max is 1; it must be above min, 1", { x: { min: 1, max: 1 } });
  await wrong("space.x.min is 0.5; it must be a whole number", {
    x: { min: 0.5, max: 2, integer: true },
  });
  await wrong("space.x: there is no option step", { x: { min: 1, max: 2, step: 1 } });
  await wrong("space.x is", { x: [] });
  await wrong("method is", square, { method: "bayes" });
  await wrong("halving.maxResource must be above", square, { halving: { maxResource: 1 } });
  await wrong("workers.module is", square, { workers: { module: "./x.ts", count: 1 } });
});
