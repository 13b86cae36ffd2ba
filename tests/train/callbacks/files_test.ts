// ModelCheckpoint and CSVLogger.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ArgumentError, type Callback, callbacks, DataError, io } from "../../../mod.ts";
import { cleanTest, halves, inFolder, network, refuse } from "../../_helpers.ts";
import { playFit } from "./_fit.ts";

const { CSVLogger, EarlyStopping, ModelCheckpoint, TensorBoard } = callbacks;

/** A test with a folder of its own. */
const test = (name: string, fn: (folder: string) => void | Promise<void>) =>
  cleanTest(name, () => inFolder(fn));
const valLosses = (...values: number[]) => values.map((valLoss) => ({ valLoss }));

/** The files in a folder, and below. */
function filesIn(folder: string, path = ""): string[] {
  return [...Deno.readDirSync(`${folder}/${path}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(folder, `${path}${name}/`) : [path + name]
  ).sort();
}

test("ModelCheckpoint: each epoch, every so many, and the last", async (folder) => {
  const each = new ModelCheckpoint({ path: `${folder}/a/b/`, saveLast: true });
  const { saved } = await playFit(each, [{}, {}, {}], { steps: 10 });
  const files = ["epoch-1", "epoch-2", "epoch-3", "last"].map((name) => `${name}.safetensors`);
  assertEquals(filesIn(`${folder}/a/b`), files);
  assertEquals(saved.length, 6);
  assertEquals(Deno.readTextFileSync(`${folder}/a/b/last.safetensors`), "step 30");
  assertEquals(each.lastPath, `${folder}/a/b/last.safetensors`);
  assertEquals([each.best, each.bestPath], [undefined, undefined]);

  const path = new URL(`file://${folder}/c/{epoch:03d}-{step}.safetensors`);
  await playFit(new ModelCheckpoint({ path, everyEpochs: 2 }), [{}, {}, {}, {}], { steps: 5 });
  assertEquals(filesIn(`${folder}/c`), ["002-10.safetensors", "004-20.safetensors"]);

  const steps = { path: `${folder}/d`, everySteps: 4 };
  await playFit(new ModelCheckpoint(steps), [{}, {}], { steps: 5 });
  assertEquals(filesIn(`${folder}/d`), ["step-4.safetensors", "step-8.safetensors"]);
  const last = new ModelCheckpoint({ ...steps, path: `${folder}/e`, topK: 0, saveLast: true });
  await playFit(last, [{}, {}], { steps: 5 });
  assertEquals(filesIn(`${folder}/e`), ["last.safetensors"]);
});

test("ModelCheckpoint: the best k stay, and of others' files all", async (folder) => {
  await Deno.writeTextFile(`${folder}/9-0.1000.safetensors`, "not ours");
  const path = `${folder}/{epoch}-{valLoss:.4f}.safetensors`;
  const best = new ModelCheckpoint({ path, topK: 2 });
  const after: string[][] = [];
  const watch = { onEpochEnd: () => void after.push(filesIn(folder).slice(0, -1)) };
  await playFit([best, watch], valLosses(NaN, 3, 1, 2, 5, 0.5));
  const [three, one, two] = ["2-3.0000", "3-1.0000", "4-2.0000"].map((n) => `${n}.safetensors`);
  const half = "6-0.5000.safetensors";
  assertEquals(after, [[], [three!], [three!, one!], [one!, two!], [one!, two!], [one!, half]]);
  assertEquals(filesIn(folder).at(-1), "9-0.1000.safetensors");
  assertEquals([best.best, best.bestPath], [0.5, `${folder}/${half}`]);

  // what has gone by other hands, or is no file any more, is left alone
  await Deno.remove(`${folder}/${one}`);
  await Deno.symlink("9-0.1000.safetensors", `${folder}/${one}`);
  await playFit(best, valLosses(0.4));
  assert(Deno.lstatSync(`${folder}/${one}`).isSymlink);
  assertEquals(best.best, 0.4); // it goes on from an earlier fit()
});

test("ModelCheckpoint: saveBest, by any figure and either way", async (folder) => {
  const epochs = [{ accuracy: 0.5 }, { accuracy: 0.9 }, { accuracy: 0.7 }];
  const best = new ModelCheckpoint({ path: folder, saveBest: true, monitor: "accuracy" });
  await playFit(best, epochs, { steps: 1 });
  assertEquals(filesIn(folder), ["best.safetensors"]);
  assertEquals(Deno.readTextFileSync(best.bestPath!), "step 2");
  const path = `${folder}/{epoch}/{accuracy:.1e}.safetensors`;
  const options = { path, saveBest: true, monitor: "accuracy", mode: "min", saveLast: true };
  await playFit(new ModelCheckpoint(options as callbacks.ModelCheckpointOptions), epochs);
  assertEquals(filesIn(folder), [
    ...[
      "1/5.0e-1.safetensors",
      "1/last.safetensors",
      "2/last.safetensors",
      "3/last.safetensors",
    ],
    "best.safetensors",
  ]);
  // a worse one never takes the place of a better one of the same name
  const rounded = `${folder}/r/{valLoss:.0f}.safetensors`;
  const three = new ModelCheckpoint({ path: rounded, topK: 3 });
  await playFit(three, valLosses(1, 1.2, 0.9), { steps: 1 });
  assertEquals(filesIn(`${folder}/r`), ["1.safetensors"]);
  assertEquals(Deno.readTextFileSync(three.bestPath!), "step 3");
  // nor is anything saved where others have validation and this epoch has none
  const some = new ModelCheckpoint({ path: `${folder}/s`, topK: 9 });
  await playFit(some, [{}, { valLoss: 1 }], { validationEvery: 2 });
  assertEquals(filesIn(`${folder}/s`), ["epoch-2.safetensors"]);
});

test("ModelCheckpoint: weightsOnly of a training can be loaded again", async (folder) => {
  const { trainer, model } = network();
  const set = halves(8);
  const best = new ModelCheckpoint({ path: folder, saveBest: true, weightsOnly: true });
  await trainer.fit(set, { epochs: 2, validation: set, callbacks: [best] });
  const loaded = await io.loadSafetensors(best.bestPath!);
  assertEquals(Object.keys(loaded).sort(), Object.keys(model.stateDict()).sort());
  assertEquals(loaded["0.weight"]!.dataSync(), model.stateDict()["0.weight"]!.dataSync());
});

test("ModelCheckpoint: errors name the path, or say what there is", async (folder) => {
  await Deno.writeTextFile(`${folder}/file`, "");
  const fails = (
    options: callbacks.ModelCheckpointOptions,
    kind: typeof ArgumentError,
    text: string,
  ) => assertRejects(() => playFit(new ModelCheckpoint(options), [{}], { steps: 1 }), kind, text);
  await fails(
    { path: `${folder}/file/x` },
    DataError,
    `ModelCheckpoint: ${folder}/file/x cannot`,
  );
  const late = { path: `${folder}/file/{epoch}/x.safetensors`, weightsOnly: true };
  await fails(late, DataError, `ModelCheckpoint: ${folder}/file/1 cannot be written`);
  const figures = 'ModelCheckpoint: epoch 1 has no figure "valLoss"; it has loss; give fit()';
  await fails({ path: folder, saveBest: true }, ArgumentError, figures);
  const path = `${folder}/{valLoss}.safetensors`;
  await fails({ path }, ArgumentError, figures);
  const alone = "the path has {valLoss}; with everySteps there are {epoch}, {step}";
  await fails({ path, everySteps: 1 }, ArgumentError, alone);
  assertEquals(filesIn(folder), ["file"]);
});

cleanTest("ModelCheckpoint: options that make no sense", () => {
  const wrong = (options: object, ...parts: string[]) =>
    refuse(() => new ModelCheckpoint({ path: "runs", ...options }), "argument", ...parts);
  refuse(
    () => new ModelCheckpoint("runs" as never),
    "argument",
    "ModelCheckpoint: wanted are options",
  );
  wrong({ path: "" }, "ModelCheckpoint: the path is");
  wrong({ path: new URL("http://a/b") }, "the path is an URL", "a file: URL");
  wrong({ path: "{epoch:x}.safetensors" }, "the path has {epoch:x}", "{epoch:03d}");
  wrong({ best: true }, "there is no option best");
  wrong({ saveBest: 1 }, "saveBest is 1");
  wrong({ saveLast: "yes" }, 'saveLast is "yes"');
  wrong({ weightsOnly: null }, "weightsOnly is null");
  wrong({ everyEpochs: 0 }, "everyEpochs is 0");
  wrong({ everySteps: 1.5 }, "everySteps is 1.5");
  wrong({ topK: -1 }, "topK is -1");
  wrong({ topK: 2, saveBest: true }, "saveBest is topK: 1, and topK is 2");
  wrong({ topK: 0 }, "with topK: 0 nothing is saved");
  wrong({ topK: 2, path: "a.safetensors" }, "all files would have the name a.safetensors");
  wrong({ everySteps: 2, everyEpochs: 2 }, "everyEpochs and everySteps are both given");
  wrong({ everySteps: 2, saveBest: true }, "no figures to tell the best by");
  wrong({ monitor: "loss" }, "monitor and mode are to tell the best, and all are saved");
  wrong({ saveBest: true, monitor: "mine" }, "ModelCheckpoint: whether more or less");
});

const end = "seconds,samplesPerSecond\n";

test("CSVLogger: a line for each epoch, there as soon as it ends", async (folder) => {
  const path = `${folder}/new/log.csv`;
  const seen: string[] = [];
  const watch = { onEpochEnd: () => void seen.push(Deno.readTextFileSync(path)) };
  const epochs = [
    {
      loss: 0.5,
      accuracy: 0.25,
      lr: 0.1,
      valLoss: NaN,
      metrics: { f1: 1 },
      valMetrics: { f1: 0 },
    },
    {
      loss: 0.25,
      accuracy: 1,
      lr: 0.1,
      valLoss: 1e-9,
      metrics: { f1: 1 },
      valMetrics: { f1: 0 },
    },
  ];
  await playFit([new CSVLogger(path), watch], epochs);
  const first = `epoch,loss,accuracy,lr,valLoss,f1,valF1,${end}1,0.5,0.25,0.1,NaN,1,0,2,50\n`;
  assertEquals(seen, [first, `${first}2,0.25,1,0.1,1e-9,1,0,2,50\n`]);
  await playFit(new CSVLogger(new URL(`file://${path}`)), [{}]); // in place of the old one
  assertEquals(Deno.readTextFileSync(path), `epoch,loss,${end}1,1,2,50\n`);
});

test("CSVLogger: cells are quoted as they need it, with any separator", async (folder) => {
  const path = `${folder}/log.csv`;
  const metrics = { 'a "b"': 1, "c,d": [[1, 2], [3, 4]], " e;": 2, "f\ng": 3 };
  await playFit(new CSVLogger(path), [{ metrics }]);
  assertEquals(
    Deno.readTextFileSync(path),
    `epoch,loss,"a ""b""","c,d"," e;","f\ng",${end}1,1,1,"[[1,2],[3,4]]",2,3,2,50\n`,
  );
  for (const separator of [";", "\t", "^", "]", "."]) {
    const options = { separator, append: true };
    const file = `${folder}/${separator.codePointAt(0)}.csv`;
    const play = () => playFit(new CSVLogger(file, options), [{ loss: 0.5, metrics }]);
    await play();
    const [once, header] = [Deno.readTextFileSync(file), /^(.|\ng)*\n/.exec("")];
    assertEquals(header, null);
    await play();
    const twice = Deno.readTextFileSync(file);
    assert(twice.startsWith(once));
    assertEquals(twice.split("samplesPerSecond").length, 2, separator); // one header
    assertEquals(twice.length - once.length, once.length - once.indexOf("\n1") - 1);
  }
});

test("CSVLogger: it goes on under the header that is there", async (folder) => {
  const path = `${folder}/log.csv`;
  const text = () => Deno.readTextFileSync(path);
  const log = () => new CSVLogger(path, { append: true });
  await playFit(log(), [{}]); // where there is none yet
  await playFit(log(), [{ loss: 3 }]);
  assertEquals(text(), `epoch,loss,${end}1,1,2,50\n1,3,2,50\n`);
  // columns that are not known stay empty, new ones come at the end; a line cut off stays
  await Deno.writeTextFile(path, "loss,note,epoch\r\n1,good,1\r\n2,b");
  await playFit(log(), [{ valLoss: 4 }]);
  assertEquals(text(), `loss,note,epoch,valLoss,${end}1,good,1,,,\n2,b,,,,\n1,,1,4,2,50\n`);
});

test("CSVLogger: figures that come later get columns at the end", async (folder) => {
  const path = `${folder}/log.csv`;
  await playFit(new CSVLogger(path), [{}, { valLoss: 0.5 }, {}], { validationEvery: 2 });
  const rows = ["1,1,2,50,", "2,1,2,50,0.5", "3,1,2,50,", ""];
  assertEquals(
    Deno.readTextFileSync(path),
    `epoch,loss,${end.trim()},valLoss\n${rows.join("\n")}`,
  );
  assertEquals(filesIn(folder), ["log.csv"]);
});

test("CSVLogger: errors", async (folder) => {
  for (const append of [false, true]) {
    await assertRejects(
      () => playFit(new CSVLogger(folder, { append }), [{}]),
      DataError,
      append ? `CSVLogger: ${folder} cannot be written` : `${folder} is a folder`,
    );
  }
  const wrong = (options: object, text: string) =>
    refuse(() => new CSVLogger("log.csv", options), "argument", `CSVLogger: ${text}`);
  wrong({ append: 1 }, "append is 1");
  wrong({ separator: ", " }, 'separator is ", "');
  wrong({ separator: '"' }, "separator is");
  wrong({ separator: "\n" }, "separator is");
  wrong({ header: true }, "there is no option header");
  refuse(() => new CSVLogger(3 as never), "argument", "CSVLogger: the path is 3");
});

test("callbacks go on where a training goes on that was saved", async (folder) => {
  const set = halves(8);
  const measure: Callback = { // what validation comes to, by its epoch
    onEpochEnd: (result) => void (result.valLoss = [9, 1, 2, 4, 3, 5, 5, 5][result.epoch - 1]!),
  };
  const make = () => ({
    early: new EarlyStopping({ patience: 3 }),
    csv: new CSVLogger(`${folder}/log.csv`),
    best: new ModelCheckpoint({ path: `${folder}/{epoch}.safetensors`, topK: 2 }),
    last: new ModelCheckpoint({ path: folder, topK: 0, saveLast: true, weightsOnly: false }),
    steps: new ModelCheckpoint({ path: `${folder}/steps`, everySteps: 3 }),
    board: new TensorBoard(`${folder}/board`),
  });
  const first = make();
  const options = { batchSize: 4, callbacks: [measure, ...Object.values(first)] };
  await network().trainer.fit(set, { epochs: 3, ...options });
  assertEquals(filesIn(`${folder}/steps`), ["step-3.safetensors", "step-6.safetensors"]);
  assertEquals(first.best.bestPath, `${folder}/2.safetensors`);

  const { trainer } = network();
  await trainer.loadCheckpoint(first.last.lastPath!);
  const then = make();
  const callbacks = [measure, ...Object.values(then)];
  const history = await trainer.fit(set, { epochs: 9, batchSize: 4, callbacks });
  assertEquals([history.length, then.early.best, then.early.bestEpoch], [5, 1, 2]);
  const lines = Deno.readTextFileSync(`${folder}/log.csv`).split("\n");
  assertEquals(lines.map((line) => line.split(",")[0]), ["epoch", "1", "2", "3", "4", "5", ""]);
  // 2 and 3 are the best still: nothing was written in their place, or deleted
  assertEquals([then.best.best, then.best.bestPath], [1, first.best.bestPath]);
  assertEquals(
    filesIn(folder).filter((name) => /^\d/.test(name)),
    [2, 3].map((n) => `${n}.safetensors`),
  );
  assertEquals(trainer.step, 10);
});
