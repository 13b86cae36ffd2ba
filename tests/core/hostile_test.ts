// The whole public API called with arguments of the wrong kinds: whatever is wrong, the error is
// one of cudeno's own.
import { assert, assertEquals } from "@std/assert";
import { resolve, toFileUrl } from "@std/path";
import * as cudeno from "../../mod.ts";
import { CudenoError, data, init, nn, ones, optim, tensor, Trainer } from "../../mod.ts";
import { exists } from "../_helpers.ts";

const CALLS = 30_000;

// Marsaglia's xorshift, so that a failure comes again.
let state = 0x9e3779b9;
function below(n: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;

const linear = () => new nn.Linear(3, 2);
const dataset = () =>
  new data.TensorDataset(ones([4, 3]), tensor([0, 1, 0, 1], { dtype: "int32" }));
const sgd = () => new optim.SGD(linear().parameters(), { lr: 0.1 });
const trainer = () => {
  const model = linear();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  return new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
};
const tensors: (() => unknown)[] = [
  () => ones([2, 3]),
  () => ones([2, 3], { requiresGrad: true }),
  () => ones([3, 2], { dtype: "float64" }),
  () => tensor([0, 1], { dtype: "int32" }),
  () => tensor([0, 7, -1], { dtype: "int32" }),
  () => tensor([1, 0, 1], { dtype: "uint8" }),
  () => ones([]),
  () => ones([0, 3]),
  () => ones([2, 2, 3], { dtype: "float16" }),
  () => {
    const gone = ones([2]);
    gone.dispose();
    return gone;
  },
];
const numbers = [0, 1, 2, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 40, 2 ** 53, 1e308, -0];
const plain: unknown[] = [
  undefined,
  null,
  true,
  "",
  "0.1",
  "float32",
  "cpu",
  "/nowhere/file",
  "adam",
  10n,
  Symbol("s"),
  new Date(0),
  new Map([[1, 2]]),
  new Error("given"),
  /x/,
  Object.create(null),
];
const makers: (() => unknown)[] = [
  linear,
  dataset,
  sgd,
  trainer,
  () => new data.DataLoader(dataset()),
  () => new nn.CrossEntropyLoss(),
  () => new Float32Array(6),
  () => new Uint8Array(8),
  () => new BigInt64Array(2),
  () => new ArrayBuffer(8),
  () => new DataView(new ArrayBuffer(8)),
  () => Promise.resolve(1),
  () => () => 1,
  () => (x: unknown) => x,
  () => async () => await 1,
  () => nn.Linear,
  () => nn.CrossEntropyLoss,
  () => optim.SGD,
  () => new Proxy({}, {}),
  () => Array.from({ length: below(4) }, value),
  () => new Set([1]),
  () => Array.from({ length: below(3) }, () => pick(tensors)()),
  () => Array.from({ length: below(4) }, () => pick(numbers)),
  () => Object.fromEntries(Array.from({ length: 1 + below(2) }, () => [pick(keys), value()])),
];
// epochs are left out: a large number of them is no error, but takes long.
const keys = [
  ..."lr momentum bias dtype device axis axes keepDims shape p loss optimizer model dim weight"
    .split(" "),
  ..."params requiresGrad reduction batchSize shuffle eps betas mask causal low high mean std"
    .split(" "),
  ..."strict start end callbacks validation metrics schedule accumulate labelSmoothing ignoreIndex"
    .split(" "),
  ..."a length batch size".split(" "),
];

function value(): unknown {
  const kind = below(10);
  if (kind < 3) return pick(tensors)();
  if (kind < 5) return pick(numbers);
  return kind < 7 ? pick(plain) : pick(makers)();
}

interface Target {
  name: string;
  arity: number;
  call: (args: unknown[]) => unknown;
}

// What is for subclasses alone; a Tensor takes over memory that is given to it.
const abstract = [
  "Tensor",
  "Module",
  "BatchNorm",
  "RNNBase",
  "RNNCellBase",
  "Optimizer",
  "Schedule",
];
const inherited = ["check", "checkInput", "checkParameter", "key", "through", "single", "set"];
const isInherited = (key: string, owner: object) =>
  inherited.includes(key) || (key === "update" && owner instanceof optim.Optimizer);

const isClass = (f: unknown) => typeof f === "function" && /^class\b/.test(String(f));

/** Functions and constructors of a namespace, and of those in it. */
function* targetsOf(place: object, path: string): Generator<Target> {
  for (const [key, f] of Object.entries(place)) {
    const name = `${path}${key}`;
    if (typeof f === "object") yield* targetsOf(f, `${name}.`);
    if (typeof f !== "function" || key.endsWith("Error") || abstract.includes(key)) continue;
    if (isClass(f)) {
      yield {
        name: `new ${name}`,
        arity: f.length + 1,
        call: (args) => Reflect.construct(f, args),
      };
    } else if (name !== "init") {
      yield { name, arity: f.length + 1, call: (args) => f(...args) };
    }
  }
}

/** Methods and setters of what a maker makes. */
function* methodsOf(name: string, make: () => object): Generator<Target> {
  const seen = new Set<string>(["constructor"]);
  for (
    let p = Object.getPrototypeOf(make());
    p !== Object.prototype;
    p = Object.getPrototypeOf(p)
  ) {
    for (const [key, { value, set }] of Object.entries(Object.getOwnPropertyDescriptors(p))) {
      if (seen.has(key) || isInherited(key, p)) continue;
      seen.add(key);
      if (set) yield { name: `${name}.${key} =`, arity: 1, call: ([x]) => set.call(make(), x) };
      if (typeof value !== "function") continue;
      const call = (args: unknown[]) => value.apply(make(), args);
      yield { name: `${name}.${key}`, arity: value.length + 1, call };
    }
  }
}

function* instances(): Generator<Target> {
  const params = () => [ones([2, 3], { requiresGrad: true })];
  const all: Record<string, () => object> = {
    Tensor: () => ones([2, 3]),
    Trainer: trainer,
    TensorDataset: dataset,
    DataLoader: () => new data.DataLoader(dataset()),
    Sequential: () => new nn.Sequential(linear()),
    ModuleList: () => new nn.ModuleList([linear()]),
    EMA: () => new optim.EMA(linear()),
    GradScaler: () => new optim.GradScaler(),
    StepLR: () => new optim.schedule.StepLR(sgd(), { stepSize: 1 }),
    ReduceLROnPlateau: () => new optim.schedule.ReduceLROnPlateau(sgd()),
    LSTM: () => new nn.LSTM(3, 2),
    GRUCell: () => new nn.GRUCell(3, 2),
    MultiHeadAttention: () => new nn.MultiHeadAttention(4, 2),
    TransformerEncoder: () =>
      new nn.TransformerEncoder([new nn.TransformerEncoderLayer(4, 2, { feedForward: 8 })]),
    BatchNorm1d: () => new nn.BatchNorm1d(3),
    Embedding: () => new nn.Embedding(5, 2),
    CrossEntropyLoss: () => new nn.CrossEntropyLoss(),
    Dropout: () => new nn.Dropout(),
  };
  for (const name of ["SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adagrad", "Muon"] as const) {
    const Class = optim[name] as unknown as new (params: unknown, options: object) => object;
    all[name] = () => new Class(params(), { lr: 0.1 });
  }
  for (const [name, make] of Object.entries(all)) yield* methodsOf(name, make);
}

Deno.test("hostile calls: every error is cudeno's own, and in TypeScript's words", async () => {
  init({ device: "cpu", memoryLimit: 2 ** 28 });
  const targets = [...targetsOf(cudeno, ""), ...instances()];
  assert(targets.length > 500, `only ${targets.length} functions and methods were found`);
  const failures = new Map<string, string>();
  const judge = (name: string, error: unknown) => {
    const text = error instanceof Error ? error.message : "";
    const known = error instanceof CudenoError;
    const foreign = /cdn_|\.cu\b|\[object |\(reading|is not a function|class \w+ (extends|\{)/;
    if (known && text !== "" && !foreign.test(text)) return;
    failures.set(name, `${error instanceof Error ? error.stack : error}`);
  };
  const pending: Promise<void>[] = [];
  using left = new DisposableStack(); // files that are written under names among the values
  for (const name of plain) {
    if (typeof name !== "string" || name === "" || name.startsWith("/")) continue;
    const file = toFileUrl(resolve(name));
    if (!exists(file)) left.defer(() => exists(file) && Deno.removeSync(file));
  }
  for (let i = 0; i < CALLS; i++) {
    const { name, arity, call } = targets[i % targets.length]!;
    try {
      cudeno.scope(() => {
        const args = Array.from({ length: below(arity + 2) }, value);
        const result = call(args);
        if (result instanceof Promise) {
          pending.push(result.then(() => {}, (error) => judge(name, error)));
        } else if (typeof result === "object" && result !== null && Symbol.iterator in result) {
          for (const _ of result as Iterable<unknown>); // generators run when asked
        }
      });
    } catch (error) {
      judge(name, error);
    }
    if (pending.length > 50) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
  assertEquals([...failures].map(([name, error]) => `${name}: ${error}`), []);
});
