// Metrics against naive loops over plain arrays, in one batch and in several.
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  autocast,
  CudenoError,
  data,
  DTypeError,
  History,
  manualSeed,
  memory,
  metrics,
  type NestedNumbers,
  nn,
  ProgressBar,
  ShapeError,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, halves, later, nativeCalls, network, refuse } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`metrics: ${name}`, fn);

let state = 1;
type Metric<R = NestedNumbers | Tensor> = metrics.Metric<R>;
/** Numbers in [0, 1), the same in each run. */
const random = () => (state = state * 48271 % 2147483647) / 2147483647;
const list = <T>(n: number, fn: (i: number) => T) => Array.from({ length: n }, (_, i) => fn(i));
const whole = (below: number) => Math.floor(random() * below);
const int = (x: Parameters<typeof tensor>[0]) => tensor(x, { dtype: "int32" });
const total = (x: number[]) => x.reduce((a, b) => a + b, 0);

/** What a metric comes to of some batches. */
async function of<R>(metric: Metric<R>, ...batches: Parameters<Metric["update"]>[]): Promise<R> {
  for (const batch of batches) metric.update(...batch);
  const value = await metric.compute();
  metric.reset();
  return value;
}

/** The same in one batch and in three. */
async function whole3<R>(make: () => Metric<R>, x: Tensor, y: Tensor, w?: Tensor): Promise<R> {
  const one = await of(make(), [x, y, w!]);
  const cuts = [[0, 1], [1, 4], [4, x.shape[0]!]] as const;
  const parts = cuts.map(([a, b]) => [x, y, w].map((x) => x?.slice(0, a, b)));
  const three = await of(make(), ...parts as Parameters<Metric["update"]>[]);
  const flat = (value: R) => (Array.isArray(value) ? value : [value]) as number[];
  flat(one).forEach((value, i) => assertAlmostEquals(flat(three)[i]!, value, 1e-12));
  return one;
}

/** Scores [n, c] with ties, targets of which some do not count, weights of which some are 0. */
function classes(n: number, c: number) {
  const scores = list(n, () => list(c, () => whole(4) / 4));
  const target = list(n, () => random() < 0.2 ? -100 : whole(c - 1)); // the last is never wanted
  const weight = list(n, () => whole(4) / 2);
  const found = scores.map((row) => row.indexOf(Math.max(...row)));
  return { scores, target, weight, found };
}

/** Sums of weights: right, found and wanted ones of a class. */
function counted(target: number[], found: number[], weight: number[], c: number) {
  const sums = list(c, () => ({ right: 0, found: 0, wanted: 0 }));
  target.forEach((wanted, i) => {
    if (wanted === -100) return;
    sums[wanted]!.wanted += weight[i]!;
    sums[found[i]!]!.found += weight[i]!;
    if (found[i] === wanted) sums[wanted]!.right += weight[i]!;
  });
  return sums;
}

const share = (a: number, b: number) => b === 0 ? 0 : a / b;
const all = { right: "right", found: "found", wanted: "wanted" } as const;

for (const [n, c] of [[7, 2], [50, 5], [300, 17]] as const) {
  for (const weighted of [false, true]) {
    test(`classes of [${n}, ${c}]${weighted ? " with weights" : ""}`, async () => {
      const { scores, target, weight, found } = classes(n, c);
      const plain = weighted ? weight : weight.map(() => 1);
      const [x, y, w] = [tensor(scores), int(target), weighted ? tensor(weight) : undefined];
      const sums = counted(target, found, plain, c);
      const sum = (name: keyof typeof all) => total(sums.map((one) => one[name]));
      const right = sum("right") / sum("wanted");
      assertAlmostEquals(await whole3(() => metrics.accuracy(), x, y, w), right, 1e-12);
      const numbered = await of(metrics.accuracy(), [int(found), y, w!]);
      assertAlmostEquals(numbered, right, 1e-12);

      const k = Math.min(c, 3);
      const among = target.map((wanted, i) => {
        const row = scores[i]!;
        const higher = row.filter((s, j) => s > row[wanted]! || (s === row[wanted] && j < wanted));
        return wanted !== -100 && higher.length < k ? plain[i]! : 0;
      });
      const top = await whole3(() => metrics.topK({ k }), x, y, w);
      assertAlmostEquals(top, total(among) / sum("wanted"), 1e-12);

      const figures = {
        precision: sums.map((s) => share(s.right, s.found)),
        recall: sums.map((s) => share(s.right, s.wanted)),
        f1: sums.map((s) => share(2 * s.right, s.found + s.wanted)),
      };
      for (const name of ["precision", "recall", "f1"] as const) {
        const each = figures[name];
        const present = sums.map((s) => s.found + s.wanted > 0);
        const wanted = {
          macro: total(each.filter((_, i) => present[i])) / present.filter(Boolean).length,
          weighted: total(each.map((x, i) => x * sums[i]!.wanted)) / sum("wanted"),
          micro: right,
        };
        for (const [average, value] of Object.entries(wanted)) {
          const options = { average: average as keyof typeof wanted };
          assertAlmostEquals(await whole3(() => metrics[name](options), x, y, w), value, 1e-12);
        }
        const none = await whole3(() => metrics[name]({ average: "none" }), x, y, w);
        none.forEach((value, i) => assertAlmostEquals(value, each[i]!, 1e-12));
      }

      const matrix = list(c, () => list(c, () => 0));
      target.forEach((wanted, i) => wanted !== -100 && (matrix[wanted]![found[i]!]! += plain[i]!));
      const confusion = await of(metrics.confusionMatrix(), [x, y, w!]);
      assertEquals([confusion.shape, [...confusion.dataSync()]], [[c, c], matrix.flat()]);

      const losses = scores.map((row, i) => {
        if (target[i] === -100) return 0;
        return plain[i]! * (Math.log(total(row.map(Math.exp))) - row[target[i]!]!);
      });
      const perplexity = Math.exp(total(losses) / sum("wanted"));
      assertAlmostEquals(await whole3(() => metrics.perplexity(), x, y, w), perplexity, 1e-5);
    });
  }
}

test("numbers of scikit-learn's documentation", async () => {
  const [found, wanted] = [int([0, 2, 1, 0, 0, 1]), int([0, 1, 2, 0, 1, 2])];
  const wants: [keyof typeof metrics & ("precision" | "recall" | "f1"), string, number][] = [
    ["precision", "macro", 2 / 9],
    ["precision", "micro", 1 / 3],
    ["precision", "weighted", 2 / 9],
    ["recall", "macro", 1 / 3],
    ["f1", "macro", 0.8 / 3],
    ["f1", "weighted", 0.8 / 3],
  ];
  for (const [name, average, value] of wants) {
    const metric = metrics[name]({ average: average as "macro", classes: 3 });
    assertAlmostEquals(await of(metric, [found, wanted]), value, 1e-12);
  }
  const matrix = await of(metrics.confusionMatrix({ classes: 3 }), [
    int([0, 0, 2, 2, 0, 2]),
    int([2, 0, 2, 2, 0, 1]),
  ]);
  assertEquals([...matrix.dataSync()], [2, 0, 0, 0, 0, 1, 1, 0, 2]);
  const x = tensor([[2.5, 0, 2, 8], [3, -0.5, 2, 7]]);
  const r2 = await of(metrics.r2(), [x.select(0, 0), x.select(0, 1)]);
  assertAlmostEquals(r2, 0.9486081370449679, 1e-12);
  const columns = [tensor([[0, 2], [-1, 2], [8, -5]]), tensor([[0.5, 1], [-1, 1], [7, -6]])];
  assertAlmostEquals(await of(metrics.r2(), [columns[0]!, columns[1]!]), 0.9368005266622779, 1e-12);
  const auc = await of(metrics.rocAuc(), [tensor([0.1, 0.4, 0.35, 0.8]), tensor([0, 0, 1, 1])]);
  assertEquals(auc, 0.75);
});

test("shapes of scores and targets come to the same", async () => {
  const [n, c, h, w] = [2, 3, 4, 5];
  const rows = list(n * h * w, () => list(c, () => random()));
  const target = list(n * h * w, () => whole(c));
  const best = rows.map((row) => row.indexOf(Math.max(...row)));
  const right = total(best.map((found, i) => Number(found === target[i]))) / target.length;
  const last = tensor(rows).reshape([n, h, w, c]);
  const images = last.permute([0, 3, 1, 2]);
  const pixels = int(target).reshape([n, h, w]);
  const hot = zeros([n * h * w, c]).scatterAdd(
    1,
    int(target).unsqueeze(1),
    tensor(list(target.length, () => [1])),
  ).reshape([n, h, w, c]);
  const batches: [Tensor, Tensor, metrics.ClassMetricOptions?][] = [
    [images, pixels],
    [images, pixels.to("uint8")],
    [images.to({ format: "channelsLast" }), pixels],
    [images.to("float64"), pixels],
    [last, pixels],
    [last, pixels, { axis: -1 }],
    [images, hot.permute([0, 3, 1, 2])],
    [images, hot.permute([0, 3, 1, 2]).to("int32")],
    [last, hot, { axis: 3 }],
    [images.reshape([n, c, h * w]), pixels.reshape([n, h * w])],
    [int(best).reshape([n, h, w]), pixels],
  ];
  for (const [x, y, options] of batches) {
    assertAlmostEquals(await of(metrics.accuracy(options), [x, y]), right, 1e-12);
  }
  const f1 = await of(metrics.f1({ average: "micro" }), [images, pixels]);
  assertAlmostEquals(f1, right, 1e-12);
  const first = await of(metrics.accuracy(), [images, pixels, tensor([1, 0])]);
  const half = best.slice(0, h * w).filter((found, i) => found === target[i]).length;
  assertAlmostEquals(first, half / (h * w), 1e-12);
});

test("where [n, n, n] may be either, axis says which", async () => {
  const x = tensor([[[1, 0], [1, 0]], [[1, 0], [1, 0]]]);
  const y = int([[0, 0], [0, 0]]);
  assertEquals(await of(metrics.accuracy(), [x, y]), 1);
  assertEquals(await of(metrics.accuracy({ axis: -1 }), [x, y]), 1);
  const z = int([[0, 1], [0, 1]]);
  assertEquals(await of(metrics.accuracy({ axis: -1 }), [x, z]), 0.5);
  assertEquals(await of(metrics.accuracy({ ignoreIndex: 1 }), [x, z]), 1);
});

for (const n of [2, 9, 1000]) {
  test(`yes and no of ${n}`, async () => {
    const scores = list(n, () => whole(8) / 8); // with ties
    const target = list(n, (i) => i < 2 ? i : whole(2));
    const weight = list(n, (i) => i < 2 ? 1 : whole(3));
    const cases: [number[], Tensor | undefined][] = [
      [weight.map(() => 1), undefined],
      [weight, tensor(weight)],
    ];
    for (const [plain, w] of cases) {
      const right = (yes: (s: number) => boolean) =>
        total(scores.map((s, i) => Number(yes(s)) === target[i] ? plain[i]! : 0)) / total(plain);
      const x = tensor(scores);
      const logits = x.sub(0.5);
      const column = tensor(target).reshape([n, 1]);
      const known: [metrics.BinaryMetricOptions, Tensor, Tensor, number][] = [
        [{}, x, int(target), right((s) => s > 0.5)],
        [{}, x.reshape([n, 1]), int(target), right((s) => s > 0.5)],
        [{ threshold: 0.25 }, x, column, right((s) => s > 0.25)],
        [{ logits: true }, logits, tensor(target), right((s) => s > 0.5)],
      ];
      for (const [options, x, y, wanted] of known) {
        const found = await of(metrics.binaryAccuracy(options), [x, y, w!]);
        assertAlmostEquals(found, wanted, 1e-12);
      }
      let [yes, hits, wanted, area, pairs] = [0, 0, 0, 0, 0];
      for (let i = 0; i < n; i++) {
        if (scores[i]! > 0.5) yes += plain[i]!;
        if (scores[i]! > 0.5 && target[i]) hits += plain[i]!;
        if (target[i]) wanted += plain[i]!;
        for (let j = 0; j < n; j++) {
          if (!target[i] || target[j]) continue;
          pairs += plain[i]! * plain[j]!;
          area += plain[i]! * plain[j]! * (1 + Math.sign(scores[i]! - scores[j]!)) / 2;
        }
      }
      const binary = { average: "binary" } as const;
      const figures: [Metric<number>, number][] = [
        [metrics.precision(binary), share(hits, yes)],
        [metrics.recall(binary), share(hits, wanted)],
        [metrics.f1(binary), share(2 * hits, yes + wanted)],
        [metrics.rocAuc(), area / pairs],
      ];
      for (const [metric, value] of figures) {
        assertAlmostEquals(await of(metric, [x, int(target), w!]), value, 1e-12);
      }
      const halves = [0, 1].map((k) =>
        [x, column, w].map((x) => x?.slice(0, k, k ? n : 1)) as [Tensor, Tensor, Tensor]
      );
      assertAlmostEquals(await of(metrics.rocAuc(), ...halves), area / pairs, 1e-12);
    }
  });
}

test("16 bits, autocast and single numbers", async () => {
  const [scores, y] = [list(60, () => list(3, () => whole(8) / 8)), list(60, () => whole(3))];
  const losses = scores.map((row, i) => Math.log(total(row.map(Math.exp))) - row[y[i]!]!);
  const right = scores.filter((row, i) => row.indexOf(Math.max(...row)) === y[i]).length / 60;
  const perplexity = Math.exp(total(losses) / 60);
  for (const dtype of ["float16", "bfloat16", "float64"] as const) {
    const x = tensor(scores, { dtype });
    assertAlmostEquals(await of(metrics.accuracy(), [x, int(y)]), right, 1e-12);
    assertAlmostEquals(await of(metrics.perplexity(), [x, int(y)]), perplexity, 1e-6);
  }
  const f1 = metrics.f1();
  const x = tensor(scores, { requiresGrad: true });
  autocast("bfloat16", () => f1.update(x, int(y)));
  assertAlmostEquals(await of(f1), await of(metrics.f1(), [x, int(y)]), 1e-12);
  assertEquals(await of(metrics.mse(), [tensor(3), tensor(1)], [tensor(2), tensor(2)]), 2);
  assertEquals(await of(metrics.accuracy(), [tensor([1, 3, 2]), int(1)]), 1);
  assertEquals(await of(metrics.binaryAccuracy(), [tensor(0.75), int(1)]), 1);
});

test("mse, mae and r2", async () => {
  const [n, k] = [40, 3];
  const y = list(n, () => list(k, () => 1e6 + whole(1000) / 16)); // far from 0
  const x = y.map((row) => row.map((y) => y + whole(100) / 16 - 3));
  const weight = list(n, (i) => i === 0 ? 0 : 1 + whole(3));
  for (const w of [weight.map(() => 1), weight]) {
    const sum = (fn: (i: number, j: number) => number) =>
      total(list(n, (i) => w[i]! * total(list(k, (j) => fn(i, j)))));
    const far = (i: number, j: number) => x[i]![j]! - y[i]![j]!;
    const pairs = [tensor(x, { dtype: "float64" }), tensor(y, { dtype: "float64" })] as const;
    const given = w === weight ? tensor(w) : undefined;
    const mse = sum((i, j) => far(i, j) ** 2) / total(w) / k;
    assertAlmostEquals(await whole3(() => metrics.mse(), ...pairs, given), mse, 1e-10);
    const mae = sum((i, j) => Math.abs(far(i, j))) / total(w) / k;
    assertAlmostEquals(await whole3(() => metrics.mae(), ...pairs, given), mae, 1e-10);
    const r2 = total(list(k, (j) => {
      const mean = total(list(n, (i) => w[i]! * y[i]![j]!)) / total(w);
      const spread = total(list(n, (i) => w[i]! * (y[i]![j]! - mean) ** 2));
      return 1 - total(list(n, (i) => w[i]! * far(i, j) ** 2)) / spread;
    })) / k;
    assertAlmostEquals(await whole3(() => metrics.r2(), ...pairs, given), r2, 1e-9);
  }
  const flat = tensor([0.1, 0.1, 0.1]);
  assertEquals(await of(metrics.r2(), [flat, flat]), 1);
  assertEquals(await of(metrics.r2(), [flat.add(1), flat]), 0);
  assertEquals(await of(metrics.mse(), [tensor([[1], [2]]), int([1, 4])]), 2);
  assertEquals(await of(metrics.mse(), [tensor([NaN, 2]), tensor([0, 1]), tensor([0, 1])]), 1);
  assert(Number.isNaN(await of(metrics.mae(), [tensor([NaN, 2]), tensor([0, 1])])));
});

test("what does not fit is refused before anything is added", () => {
  const [n, c] = [tensor([1, 0]), zeros([2, 3])];
  const shapes: [Metric, Tensor, Tensor, Tensor?][] = [
    [metrics.accuracy(), c, int([1, 0, 1])],
    [metrics.accuracy(), n, n],
    [metrics.accuracy(), zeros([2, 3, 4, 4]), zeros([2, 4, 5], { dtype: "int32" })],
    [metrics.accuracy({ axis: 0 }), c, int([1, 0])],
    [metrics.accuracy(), zeros([0, 3]), zeros([0], { dtype: "int32" })],
    [metrics.accuracy(), c, int([1, 0]), zeros([3])],
    [metrics.accuracy(), zeros([2, 1]), zeros([2, 1])], // yes or no
    [metrics.f1(), zeros([2, 1]), int([0, 0])],
    [metrics.topK(), c, int([1, 0])], // fewer than 5
    [metrics.f1(), c, int([1])],
    [metrics.confusionMatrix(), c, int([1, 0, 1])],
    [metrics.perplexity(), zeros([2, 4, 8]), zeros([2, 5], { dtype: "int32" })],
    [metrics.binaryAccuracy(), c, n],
    [metrics.rocAuc(), c, n],
    [metrics.mse(), n.reshape([2, 1]), zeros([2, 2])],
    [metrics.mae(), n, zeros([3])],
    [metrics.r2(), zeros([2, 2, 2]), zeros([2, 2, 2])],
    [metrics.mse(), zeros([0]), zeros([0])],
  ];
  for (const [metric, x, y, w] of shapes) refuse(() => metric.update(x, y, w), ShapeError);
  refuse(() => metrics.accuracy().update(c, n), DTypeError, "class numbers are int32");
  refuse(() => metrics.perplexity().update(c, c), DTypeError);
  refuse(() => metrics.mse().update(n, n, int([1, 1])), DTypeError, "weight");
  refuse(() => metrics.f1().update(int([1]), int([1])), ArgumentError, "how many classes");
  refuse(() => metrics.topK().update(int([1]), int([1])), ArgumentError, "class numbers");
  refuse(() => metrics.f1({ average: "mean" as "macro" }), ArgumentError, "macro");
  refuse(() => metrics.f1({ threshold: 1 }), ArgumentError, "there is no option threshold");
  refuse(() => metrics.topK({ k: 0 }), ArgumentError, "k is 0");
  refuse(() => metrics.accuracy({ ignore: 1 } as object), ArgumentError, "ignoreIndex");
  const f1 = metrics.f1();
  f1.update(c, int([1, 0]));
  refuse(() => f1.update(zeros([2, 4]), int([1, 0])), ShapeError, "call reset()");
  f1.reset();
});

test("what spoils a value is said by compute()", async () => {
  const [x, y] = [tensor([[1, NaN, 2], [0, 1, 2]]), int([2, 2])];
  const bad = tensor([[1, 0, 2]]);
  const spoilt: [Metric, string, ...Parameters<Metric["update"]>[]][] = [
    ...["accuracy", "f1", "confusionMatrix", "perplexity"].map((name) =>
      [metrics[name as "f1"](), "1 scores that are NaN", [x, y]] as [
        Metric,
        string,
        [Tensor, Tensor],
      ]
    ),
    [metrics.accuracy(), "2 numbers that are no class", [bad, int([3])], [bad, int([-1])]],
    [metrics.f1({ classes: 3 }), "1 numbers that are no class", [int([3]), int([0])]],
    [metrics.topK({ k: 1 }), "nothing was counted", [bad, int([-100])]],
    [metrics.r2(), "at least 2", [tensor([1]), tensor([1])]],
    [metrics.rocAuc(), "all targets are 1", [tensor([1, 2]), tensor([1, 1])]],
    [metrics.rocAuc(), "1 scores that are NaN", [tensor([NaN, 2]), tensor([0, 1])]],
    [metrics.binaryAccuracy(), "2 scores outside", [tensor([-1, 2, 1]), tensor([1, 0, 1])]],
    [metrics.binaryAccuracy(), "1 targets that are neither", [tensor([1, 1]), tensor([-1, 0])]],
  ];
  for (const [metric, says, ...batches] of spoilt) {
    await assertRejects(() => of(metric, ...batches), ArgumentError, says);
    metric.reset();
  }
  for (const make of Object.values(metrics)) {
    await assertRejects(() => (make() as Metric).compute(), ArgumentError, "nothing was counted");
  }
  // What does not count spoils nothing.
  assertEquals(await of(metrics.accuracy(), [x, y, tensor([0, 1])]), 1);
  assertEquals(await of(metrics.accuracy(), [x, int([-100, 2])]), 1);
});

test("update() reads nothing, compute() may go on, reset() begins anew and frees", async () => {
  const [x, y] = [tensor([[2, 1], [4, 3], [0, 1]]), int([0, 1, 1])];
  const yes = tensor([1, 0, 1]);
  const before = memory().tensors;
  const waits = ["cdn_read", "cdn_read_begin", "cdn_sync"];
  assertEquals(nativeCalls(waits, () => yes.dataSync()).length, 1);
  for (const [name, make] of Object.entries(metrics)) {
    const binary = ["binaryAccuracy", "rocAuc", "mse", "mae", "r2"].includes(name);
    const metric = (name === "topK" ? metrics.topK({ k: 1 }) : make()) as Metric;
    const batch = binary ? [yes, yes] as const : [x, y] as const;
    const calls = nativeCalls(waits, () => metric.update(...batch));
    assertEquals([name, calls.length], [name, 0]);
    const first = await metric.compute();
    metric.update(...batch);
    const held = memory().tensors;
    if (typeof first === "number") assertAlmostEquals(await metric.compute() as number, first);
    assert(memory().tensors <= held, name);
    metric.reset();
    await assertRejects(() => metric.compute(), ArgumentError, "nothing was counted");
    if (typeof first === "object" && "dispose" in first) first.dispose();
    assertEquals([name, memory().tensors], [name, before]);
  }
});

const bias = (prediction: Tensor, target: Tensor) => prediction.argmax(1).sub(target).to("float32");

test("a Trainer measures by names, objects and functions", async () => {
  manualSeed(5);
  const set = halves(50);
  const { model, optimizer, loss } = network();
  const own: Metric & { batches: number } = {
    name: "batches",
    batches: 0,
    update: () => void own.batches++,
    compute: () => Promise.resolve(own.batches),
    reset: () => void (own.batches = 0),
  };
  const trainer = new Trainer(model, {
    loss,
    optimizer,
    metrics: [
      "accuracy",
      "recall",
      metrics.accuracy({ name: "same" }),
      metrics.f1({ average: "none" }),
      "confusionMatrix",
      own,
      bias,
      (prediction) => prediction.mean(),
    ],
  });
  const written: string[] = [];
  const stream = {
    isTerminal: () => false,
    writeSync: (bytes: Uint8Array) => (written.push(new TextDecoder().decode(bytes)), bytes.length),
  };
  const history = await trainer.fit(set, {
    epochs: 2,
    batchSize: 20,
    validation: set,
    callbacks: [new ProgressBar({ stream })],
  });
  assert(written.join("").includes(" val same "), written.join(""));
  const found = await trainer.evaluate(set, { batchSize: 7 });
  assertEquals(history.map((epoch) => epoch.metrics!["batches"]), [3, 3]);
  assertEquals(found.metrics!["batches"], 8);
  assertEquals(found.metrics!["same"], found.accuracy);
  const last = history[1]!;
  assertEquals(last.metrics!["same"], last.accuracy);
  assertEquals(last.valMetrics!["same"], last.valAccuracy);
  const output = trainer.predict(set.inputs);
  assertAlmostEquals(found.metrics!["metric7"] as number, output.mean().itemSync(), 1e-6);
  const wanted = output.argmax(1).sub(set.targets).to("float32").mean().itemSync();
  assertAlmostEquals(found.metrics!["bias"] as number, wanted, 1e-6);
  const matrix = found.metrics!["confusionMatrix"] as number[][];
  assertEquals([total(matrix.flat()), matrix.length], [50, 2]);
  assertEquals(History.fromJSON(JSON.parse(JSON.stringify(history))), history);
});

test("a Trainer refuses what is no metric, and one that is in use", async () => {
  const set = later(new data.TensorDataset(tensor([[1, 2]]), int([1])));
  const make = (list: unknown[]) =>
    new Trainer(new nn.Identity(), { loss: new nn.CrossEntropyLoss(), metrics: list as [] });
  refuse(() => make(["acuracy"]), ArgumentError, "acuracy", "confusionMatrix");
  refuse(() => make([metrics.f1]), ArgumentError, "write metrics.f1()");
  refuse(() => make([nn.Linear]), ArgumentError, "metrics[0]");
  refuse(() => make([{ name: "x" }]), ArgumentError, "metrics[0]");
  refuse(() => make(["f1", metrics.f1()]), ArgumentError, "two have the name f1");
  const trainer = make([metrics.accuracy()]);
  const both = [trainer.evaluate(set), trainer.evaluate(set)];
  await assertRejects(() => both[1]!, ArgumentError, "accuracy is being added up elsewhere");
  assertEquals((await both[0]!).metrics, { accuracy: 1 });
  assertEquals((await trainer.evaluate(set)).metrics, { accuracy: 1 });
  await assertRejects(() => make(["rocAuc"]).evaluate(set), CudenoError, "rocAuc: the prediction");
  await assertRejects(() => make([() => 3]).evaluate(set), ArgumentError, "wanted is a tensor");
});
