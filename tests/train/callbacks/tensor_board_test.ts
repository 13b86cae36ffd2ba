// TensorBoard and SummaryWriter. Files are read by a reader of the tests' own, which follows the
// formats bit by bit: TFRecord with CRC-32C, Protocol Buffers, PNG.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Callback,
  callbacks,
  DataError,
  memory,
  ones,
  ShapeError,
  tensor,
  zeros,
} from "../../../mod.ts";
import { cleanTest, halves, inFolder, network, refuse } from "../../_helpers.ts";
import { playFit } from "./_fit.ts";

const { SummaryWriter, TensorBoard } = callbacks;

/** A test with a folder of its own. */
const test = (name: string, fn: (folder: string) => void | Promise<void>) =>
  cleanTest(name, () => inFolder(fn));

/** CRC-32C by its definition: the remainder by Castagnoli's polynomial, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function masked(bytes: Uint8Array): number {
  const crc = BigInt(crc32c(bytes));
  return Number(BigInt.asUintN(32, (crc >> 15n | crc << 17n & 0xffffffffn) + 0xa282ead8n));
}

/** The data of the records in a file, whose checksums must be right. */
function recordsOf(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const records: Uint8Array[] = [];
  for (let at = 0; at < file.length;) {
    const size = Number(view.getBigUint64(at, true));
    assertEquals(view.getUint32(at + 8, true), masked(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + size);
    assertEquals(data.length, size);
    assertEquals(view.getUint32(at + 12 + size, true), masked(data));
    records.push(data);
    at += size + 16;
  }
  return records;
}

type Field = bigint | DataView | Uint8Array;

/** The fields of a message by their numbers, in their order. */
function fieldsOf(bytes: Uint8Array): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const [field, type] = [key >> 3, key & 7];
    let value: Field;
    if (type === 0) value = varint();
    else {
      const size = type === 1 ? 8 : type === 5 ? 4 : type === 2 ? Number(varint()) : NaN;
      const part = bytes.slice(at, at += size);
      assertEquals(part.length, size);
      value = type === 2 ? part : new DataView(part.buffer);
    }
    fields.set(field, [...fields.get(field) ?? [], value]);
  }
  return fields;
}

const text = (field: unknown) => new TextDecoder().decode(field as Uint8Array);
const double = (field: unknown) => (field as DataView).getFloat64(0, true);
const only = (message: Map<number, Field[]>, field: number) => {
  assertEquals(message.get(field)?.length, 1, `field ${field}`);
  return message.get(field)![0]!;
};
const inner = (message: Map<number, Field[]>, ...path: number[]) =>
  path.reduce((found, field) => fieldsOf(only(found, field) as Uint8Array), message);

/** The values of a file that begins as TensorBoard wants it. */
function valuesIn(path: string) {
  const [first, ...events] = recordsOf(Deno.readFileSync(path)).map(fieldsOf);
  assertEquals(text(only(first!, 3)), "brain.Event:2");
  return [first!, ...events].map((event) => {
    assert(Math.abs(double(only(event, 1)) - Date.now() / 1000) < 100);
    return event;
  }).slice(1).map((event) => {
    assertEquals([...event.keys()], [1, 2, 5]);
    const value = inner(event, 5, 1);
    return { tag: text(only(value, 1)), step: Number(only(event, 2)), value };
  });
}

const scalar = (value: Map<number, Field[]>) => (only(value, 2) as DataView).getFloat32(0, true);
const scalarsIn = (path: string) =>
  valuesIn(path).filter(({ value }) => value.has(2)).map(({ tag, step, value }) =>
    `${tag} ${step} ${scalar(value)}`
  );
const filesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`).sort();

Deno.test("the tests' own checksum is CRC-32C", () => {
  assertEquals(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
});

test("SummaryWriter: scalars, at any step, in a file that TensorBoard finds", (folder) => {
  const writer = new SummaryWriter(new URL(`file://${folder}/a/run/`));
  writer.addScalar("loss/train", 0.5, 0);
  writer.addScalar("größe ✓", -Infinity, 2 ** 40 + 1);
  assertEquals(writer.path, undefined); // nothing is made before something is written
  writer.flush();
  const { path } = writer;
  assert(/\/a\/run\/events\.out\.tfevents\.\d{10}\.[\w.-]+\.\d+\.\d+$/.test(path!), path);
  assertEquals(scalarsIn(path!), ["loss/train 0 0.5", `größe ✓ ${2 ** 40 + 1} -Infinity`]);
  writer.addScalar("x".repeat(300), NaN, 3);
  writer.close();
  writer.close();
  assertEquals(scalarsIn(path!).length, 3);
  assertEquals(scalarsIn(path!)[2], `${"x".repeat(300)} 3 NaN`);
  refuse(() => writer.addScalar("a", 1, 1), "argument", "SummaryWriter: it is closed");

  using full = new SummaryWriter(`${folder}/b`); // what is much goes to the file by itself
  for (let i = 0; i < 30_000; i++) full.addScalar("loss", i, i);
  assert(Deno.statSync(full.path!).size > 1e6);
});

test("SummaryWriter: two runs in one folder have a file each", (folder) => {
  const writers = [1, 2, 3].map(() => new SummaryWriter(folder));
  writers.forEach((writer, i) => writer.addScalar("loss", i, i));
  writers.forEach((writer) => writer.close());
  assertEquals(filesIn(folder).map((path) => scalarsIn(path)[0]), [
    "loss 0 0",
    "loss 1 1",
    "loss 2 2",
  ]);
  new SummaryWriter(`${folder}/none`).close();
  assertEquals(filesIn(folder).length, 3);
});

test("SummaryWriter: histograms count the finite elements in equal bins", async (folder) => {
  const writer = new SummaryWriter(folder);
  const values = [0, 0.5, 1, 1, 64, NaN, Infinity, 63.99, 32, -0];
  await writer.addHistogram("h", tensor(values, { dtype: "float64" }), 7);
  await writer.addHistogram("one", ones([2, 3], { dtype: "bfloat16" }), 8);
  await writer.addHistogram("none", tensor([NaN, NaN]), 8);
  await writer.addHistogram("none", zeros([0]), 8);
  writer.close();
  const found = valuesIn(writer.path!);
  assertEquals(found.map(({ tag, step }) => [tag, step]), [["h", 7], ["one", 8]]);
  const [h, one] = found.map(({ value }) => inner(value, 5));
  const numbers = (message: Map<number, Field[]>) =>
    [1, 2, 3, 4, 5].map((field) => double(only(message, field)));
  const list = (message: Map<number, Field[]>, field: number) => [
    ...new Float64Array((only(message, field) as Uint8Array).buffer),
  ];
  const finite = values.filter(Number.isFinite);
  const sum = finite.reduce((a, b) => a + b), squares = finite.reduce((a, b) => a + b * b, 0);
  assertEquals(numbers(h!), [0, 64, 8, sum, squares]);
  assertEquals(list(h!, 6), Array.from({ length: 64 }, (_, i) => i + 1));
  const counts = new Array(64).fill(0);
  for (const value of finite) counts[Math.min(63, Math.floor(value))]++;
  assertEquals(list(h!, 7), counts);
  assertEquals([numbers(one!), list(one!, 6), list(one!, 7)], [[1, 1, 6, 6, 6], [1], [6]]);
});

test("SummaryWriter: images are PNG files, with their sizes", async (folder) => {
  const writer = new SummaryWriter(folder);
  const shapes = [[2, 3], [1, 2, 3], [2, 5, 4], [3, 7, 1], [4, 1, 6]];
  for (const [i, shape] of shapes.entries()) await writer.addImage(`${i}`, ones(shape), i);
  await writer.addImage("bytes", ones([3, 9, 8], { dtype: "uint8" }), 5);
  writer.close();
  const seen = valuesIn(writer.path!).map(({ value }) => {
    const message = inner(value, 4);
    const size = [3, 1, 2].map((field) => Number(only(message, field)));
    const png = only(message, 4) as Uint8Array;
    const view = new DataView(png.buffer);
    assertEquals(text(png.slice(1, 4)), "PNG");
    const [width, height, colours] = [view.getUint32(16), view.getUint32(20), png[25]!];
    assertEquals([[0, 4, 2, 6].indexOf(colours) + 1, height, width], size);
    return size;
  });
  assertEquals(seen, [[1, 2, 3], ...shapes.slice(1), [3, 9, 8]]);
  for (const shape of [[], [3], [5, 2, 2], [0, 2, 2], [1, 0, 2], [1, 1, 2, 2], [0, 3]]) {
    const call = () => new SummaryWriter(folder).addImage("x", zeros(shape), 0);
    await assertRejects(call, ShapeError, "the image is [");
  }
});

test("SummaryWriter: a text is a tensor of one string", (folder) => {
  const writer = new SummaryWriter(folder);
  writer.addText("notes", "# größer\n1 < 2", 4);
  writer.close();
  const [{ tag, step, value }] = valuesIn(writer.path!) as [ReturnType<typeof valuesIn>[0]];
  assertEquals([tag, step], ["notes", 4]);
  const content = inner(value, 8);
  assertEquals(only(content, 1), 7n); // DT_STRING
  assertEquals(only(inner(content, 2, 2), 1), 1n);
  assertEquals(text(only(content, 8)), "# größer\n1 < 2");
  assertEquals(text(only(inner(value, 9, 1), 1)), "text");
});

test("SummaryWriter: errors", async (folder) => {
  const writer = new SummaryWriter(folder);
  const wrong = (call: () => unknown, ...parts: string[]) =>
    refuse(call, "argument", "SummaryWriter", ...parts);
  wrong(() => writer.addScalar("", 1, 1), 'the tag is ""');
  wrong(() => writer.addScalar("a", "1" as never, 1), 'the value is "1"');
  wrong(() => writer.addScalar("a", 1, -1), "step is -1");
  wrong(() => writer.addScalar("a", 1, 0.5), "step is 0.5");
  wrong(() => writer.addText("a", 3 as never, 1), "the text is 3");
  wrong(() => new SummaryWriter("" as never), 'the path is ""');
  assertEquals(filesIn(folder), []);
  await Deno.writeTextFile(`${folder}/file`, "");
  const blocked = new SummaryWriter(`${folder}/file`);
  blocked.addScalar("a", 1, 1);
  refuse(() => blocked.flush(), DataError, `SummaryWriter: ${folder}/file cannot be written`);
});

test("TensorBoard: the figures of epochs, and the losses of steps", async (folder) => {
  const epochs = [
    { loss: 0.5, accuracy: 0.25, lr: 0.125, valLoss: 2, metrics: { f1: 1, cm: [[1]] } },
    { loss: 0.25, valAccuracy: 0.75, valMetrics: { f1: 0.5 }, lrs: [4, 8] },
  ];
  const seen: number[] = [];
  const watch = {
    onEpochEnd: () => void seen.push(scalarsIn(filesIn(folder)[0]!).length),
  };
  await playFit([new TensorBoard(folder, { everySteps: 2 }), watch], epochs, { steps: 3 });
  const [path, ...more] = filesIn(folder);
  assertEquals(more, []);
  assertEquals(scalarsIn(path!), [
    ...["loss/train 1 0.5", "accuracy/train 1 0.25", "lr 1 0.125", "loss/validation 1 2"],
    ...["f1/train 1 1", "samplesPerSecond 1 50", "loss/step 2 0.5"],
    ...["loss/train 2 0.25", "lr 2 4", "accuracy/validation 2 0.75", "lr0 2 4", "lr1 2 8"],
    ...["f1/validation 2 0.5", "samplesPerSecond 2 50", "loss/step 4 0.25"],
    "loss/step 6 0.1666666716337204",
  ]);
  assertEquals(seen, [7, 16]); // in the file as each epoch ends
  const none = new TensorBoard(`${folder}/none`, { everySteps: 0 });
  await playFit(none, [{}], { steps: 3 });
  const kinds = scalarsIn(filesIn(`${folder}/none`)[0]!).map((line) => line.split(" ")[0]);
  assertEquals(kinds, ["loss/train", "samplesPerSecond"]);
});

test("TensorBoard: the losses of an epoch that was ended are there too", async (folder) => {
  const { trainer } = network();
  const set = halves(8);
  const board = new TensorBoard(folder);
  const stop: Callback = {
    onStepEnd: ({ step }) => step === 3 ? trainer.stop("enough") : undefined,
  };
  const history = await trainer.fit(set, { epochs: 9, batchSize: 4, callbacks: [board, stop] });
  const steps = valuesIn(filesIn(folder)[0]!).filter(({ tag }) => tag === "loss/step");
  assertEquals(steps.map(({ step }) => step), [1, 2, 3]);
  assertEquals(steps.map(({ value }) => scalar(value)), history.stepLosses.map(Math.fround));
});

test("TensorBoard: histograms and images of a training, and nothing is left", async (folder) => {
  const { trainer, model, optimizer } = network();
  const board = new TensorBoard(folder, {
    histograms: 2,
    images: ({ epoch }) => ({ filters: zeros([2, 2]).add(epoch / 3) }),
  });
  const own = { onEpochEnd: () => board.writer.addScalar("own", 1, 1) };
  const set = halves(8);
  const before = memory().tensors;
  await trainer.fit(set, { epochs: 3, batchSize: 4, callbacks: [own, board] });
  model.zeroGrad();
  optimizer.dispose();
  assertEquals(memory().tensors, before);
  await trainer.fit(set, { callbacks: [board] }); // another fit has another file
  const [first, second, ...more] = filesIn(folder);
  assertEquals(more, []);
  const tags = valuesIn(first!).filter(({ value }) => !value.has(2));
  const names = ["0.weight", "0.bias", "2.weight", "2.bias"];
  assertEquals(
    tags.filter(({ value }) => value.has(5)).map(({ tag, step }) => `${tag} ${step}`).sort(),
    names.flatMap((name) => [`gradients/${name} 2`, `parameters/${name} 2`]).sort(),
  );
  assertEquals(tags.filter(({ value }) => value.has(4)).map(({ step }) => step), [1, 2, 3]);
  const weight = tags.find(({ tag }) => tag === "parameters/0.weight")!;
  assertEquals(double(only(inner(weight.value, 5), 3)), 16);
  assertEquals(scalarsIn(first!).filter((line) => line.startsWith("own")).length, 3);
  assert(scalarsIn(second!).length > 0);
});

test("TensorBoard: the file is closed after an error too; wrong options", async (folder) => {
  const board = new TensorBoard(folder);
  const { writer } = board;
  const failing = {
    onEpochEnd() {
      throw new Error("disk full");
    },
  };
  await assertRejects(() => playFit([board, failing], [{}]), Error, "disk full");
  refuse(() => writer.addScalar("a", 1, 1), "argument", "closed");
  assertEquals(scalarsIn(writer.path!)[0], "loss/train 1 1");
  const wrong = (options: object, part: string) =>
    refuse(() => new TensorBoard(folder, options), "argument", `TensorBoard: ${part}`);
  wrong({ histograms: -1 }, "histograms is -1");
  wrong({ histograms: true }, "histograms is true");
  wrong({ everySteps: 1.5 }, "everySteps is 1.5");
  wrong({ images: {} }, "images is {}");
  wrong({ logDir: "x" }, "there is no option logDir");
  refuse(() => new TensorBoard(3 as never), "argument", "TensorBoard: the path is 3");
});
