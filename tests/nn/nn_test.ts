import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  ArgumentError,
  crossEntropy,
  devices,
  DisposedError,
  DTypeError,
  grad,
  keep,
  linear,
  manualSeed,
  memory,
  nn,
  noGrad,
  ones,
  rand,
  randn,
  type Reduction,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { nativeCalls } from "../_helpers.ts";

const found = devices();

/** Runs a test on the default device and frees what it made. */
function test(name: string, fn: () => void) {
  Deno.test(`nn: ${name}`, () => scope(fn));
}

const names = (module: nn.Module) => Array.from(module.namedParameters(), ([name]) => name);

class Block extends nn.Module {
  inner = new nn.Linear(2, 2);
  scale = keep(tensor([1, 2], { requiresGrad: true }));
  count = keep(zeros([1]));
  heads = [new nn.Linear(2, 1), new nn.Sequential(new nn.Tanh(), new nn.Linear(2, 3))];
  note = "not a tensor";

  override forward(x: Tensor): Tensor {
    return this.inner.forward(x).mul(this.scale).add(x);
  }
}

test("Sequential names its parameters as PyTorch does", () => {
  const model = new nn.Sequential(
    new nn.Linear(4, 8),
    new nn.ReLU(),
    new nn.Sequential(new nn.Linear(8, 2, { bias: false })),
  );
  assertEquals(names(model), ["0.weight", "0.bias", "2.0.weight"]);
  assertEquals(model.parameters().map((p) => p.shape), [[8, 4], [8], [2, 8]]);
  assertEquals(Object.keys(model.stateDict()), names(model));
  model.dispose();
});

test("custom modules: parameters, buffers, children and arrays of children", () => {
  const model = new nn.Sequential(new Block());
  assertEquals(names(model).sort(), [
    "0.heads.0.bias",
    "0.heads.0.weight",
    "0.heads.1.1.bias",
    "0.heads.1.1.weight",
    "0.inner.bias",
    "0.inner.weight",
    "0.scale",
  ]);
  assertEquals(
    Object.keys(model.stateDict()).filter((name) => !names(model).includes(name)),
    ["0.count"],
  );
  assertEquals(Array.from(model.namedModules(), ([name]) => name), [
    "",
    "0",
    "0.inner",
    "0.heads.0",
    "0.heads.1",
    "0.heads.1.0",
    "0.heads.1.1",
  ]);
  model.dispose();
});

test("custom modules: children in plain objects, Maps, Sets and nested arrays", () => {
  class Containers extends nn.Module {
    plain = { left: new nn.Linear(1, 1), right: { deep: [new nn.Linear(1, 2)] } };
    map = new Map<string, unknown>([["a", new nn.Linear(2, 1)], ["size", 3]]);
    set = new Set([new nn.Linear(3, 1)]);
    grid = [[new nn.Linear(4, 1)], [] as nn.Module[]];
    mixed = [1, null, "x", new nn.Dropout()];
    date = new Date();
    ring: unknown[] = [];
    constructor() {
      super();
      this.ring.push(this.ring, new nn.Linear(5, 1));
    }
    override forward(x: Tensor) {
      return x;
    }
  }
  const model = new Containers();
  assertEquals(Array.from(model.namedModules(), ([name]) => name), [
    "",
    "plain.left",
    "plain.right.deep.0",
    "map.a",
    "set.0",
    "grid.0.0",
    "mixed.3",
    "ring.1",
  ]);
  assertEquals(model.parameters().length, 12);
  assertEquals(model.eval().plain.left.training, false);
  model.dispose();
});

test("a subclass of Sequential or ModuleList has its own layers too", () => {
  class Headed extends nn.Sequential {
    head = new nn.Linear(2, 3);
  }
  class Listed extends nn.ModuleList {
    scale = tensor([1], { requiresGrad: true });
    head = new nn.Linear(2, 3);
  }
  const models = [new Headed(new nn.Linear(1, 2)), new Listed([new nn.Linear(1, 2)])];
  assertEquals(names(models[0]!), ["0.weight", "0.bias", "head.weight", "head.bias"]);
  assertEquals(names(models[1]!), ["scale", "0.weight", "0.bias", "head.weight", "head.bias"]);
  for (const model of models) model.dispose();
});

test("a parameter of two modules is trained once, and named twice in the state dict", () => {
  const [a, b] = [new nn.Linear(3, 3), new nn.Linear(3, 3)];
  b.weight.dispose();
  b.weight = a.weight;
  const model = new nn.Sequential(a, b);
  assertEquals(model.parameters().length, 3);
  assertEquals(Object.keys(model.stateDict()).length, 4);
  model.dispose();
});

test("modules inside themselves, nested without end or shared over and over end soon", () => {
  class Holder extends nn.Module {
    weight = keep(ones([2], { requiresGrad: true }));
    inside: unknown[] = [];
    override forward(x: Tensor): Tensor {
      return x;
    }
  }
  const hub = Array.from({ length: 40 }, () => new Holder());
  let deep: nn.Module = new nn.Identity();
  for (let i = 0; i < 20_000; i++) deep = new nn.Sequential(deep);
  const walks: ((module: nn.Module) => unknown)[] = [
    (module) => module.parameters(),
    (module) => module.stateDict(),
    (module) => module.eval(),
    (module) => module.summary(),
    (module) => module.zeroGrad(),
    (module) => new nn.Sequential(module).parameters(),
  ];
  for (const one of hub) one.inside = hub;
  for (const walk of walks) {
    assertThrows(() => walk(hub[0]!), ArgumentError, "inside.0 is a module that it is in itself");
    assertThrows(() => walk(deep), ArgumentError, "nested 1000 deep");
  }
  let diamond = hub[0]!; // 2^39 ways to the last
  hub.forEach((one, i) => one.inside = i < 39 ? [hub[i + 1], hub[i + 1]] : []);
  assertEquals(diamond.parameters().length, 40);
  assertEquals([...diamond.namedParameters()][2]![0], "inside.0.inside.0.weight");
  diamond = hub[36]!; // a state dict has all names
  assertEquals(Object.keys(diamond.stateDict()).length, 1 + 2 + 4 + 8);
  for (const { weight } of hub) weight.dispose();
});

test("train() and eval() reach every module inside", () => {
  const model = new nn.Sequential(new Block());
  const modes = () => Array.from(model.namedModules(), ([, module]) => module.training);
  assertEquals(new Set(modes()), new Set([true]));
  assert(model.eval() === model);
  assertEquals(new Set(modes()), new Set([false]));
  model.train();
  assertEquals(new Set(modes()), new Set([true]));
  model.train(false);
  assertEquals(new Set(modes()), new Set([false]));
  model.dispose();
});

test("parameters outlive the scope in which the module was made", () => {
  const model = scope(() => new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1)));
  assertEquals(model.forward(zeros([3, 2])).shape, [3, 1]);
  model.dispose();
});

test("dispose() frees parameters, buffers and gradients", () => {
  const before = memory().tensors;
  const model = new nn.Sequential(new Block());
  scope(() => model.forward(zeros([1, 2])).sum().backward());
  assert(memory().tensors > before);
  model.dispose();
  assertEquals(memory().tensors, before);
  assertThrows(() => model.forward(zeros([1, 2])), DisposedError);
});

// Where a model's own tensors are freed early: those that a module of the user's may hold are not.
class Keeper extends nn.Module {
  #seen: Tensor | undefined;

  get seen(): Tensor {
    return this.#seen!;
  }

  override forward(x: Tensor): Tensor {
    return this.#seen = x;
  }
}

test("what only layers have seen is freed by backward(), and at once in noGrad()", () => {
  const layers = () => [new nn.Linear(4, 4), new nn.ReLU(), new nn.Flatten(), new nn.Linear(4, 4)];
  const keeper = new Keeper();
  const inner = new nn.Sequential(layers());
  const model = new nn.Sequential([...layers(), inner, keeper, ...layers()]);
  const x = ones([2, 4]);
  const freed = (fn: () => void) => {
    const before = memory().tensors;
    fn();
    return before - memory().tensors;
  };
  const y = model.forward(x);
  const loss = y.sum();
  const grads = model.parameters().length;
  freed(() => loss.backward(undefined, { retainGraph: true }));
  assertEquals(y.disposed, false);
  // One between the two operations of each chain, and the first chain's result.
  assertEquals(freed(() => loss.backward()), 4);
  assertEquals(model.parameters().filter((p) => p.grad).length, grads);
  assertEquals([x, y, keeper.seen, loss].map((tensor) => tensor.disposed), Array(4).fill(false));
  assertEquals(noGrad(() => -freed(() => model.forward(x))), 2); // what was kept, and the result
  assertEquals([...noGrad(() => model.forward(x)).dataSync()], [...y.dataSync()]);
  assertEquals(keeper.seen.disposed, false);
  model.dispose();
});

// What a subclass of a layer, or a function in forward's place, has seen is the program's.
test("tensors that the overrides of subclasses keep or return are not freed", () => {
  const kept: Tensor[] = [];
  const keep = (x: Tensor) => (kept.push(x), x);
  class KeepingConv extends nn.Conv2d {
    override activated(...args: Parameters<nn.Conv2d["activated"]>): Tensor {
      return keep(super.activated(...args));
    }
  }
  class KeepingNorm extends nn.BatchNorm2d {
    protected override checkInput = keep;
  }
  const held = randn([1, 2, 4, 4]);
  class Held extends nn.PoolBase {
    constructor() {
      super(1, {}, (x) => (keep(x), held));
    }
  }
  const conv = () => new nn.Conv2d(2, 2, 1);
  const layers = [new KeepingConv(2, 2, 1), new nn.ReLU(), conv(), new KeepingNorm(2), conv()];
  const model = new nn.Sequential(layers);
  const x = randn([1, 2, 4, 4]);
  model.forward(x).sum().backward();
  const other = new nn.Sequential(conv(), new Held(), conv());
  noGrad(() => other.forward(x));
  assertEquals([held, ...kept].map((tensor) => tensor.disposed), Array(4).fill(false));
  model.dispose();
  other.dispose();
});

test("a function that replaces forward() of a class of layers is called", () => {
  const { forward } = nn.Conv2d.prototype;
  const model = new nn.Sequential(new nn.Conv2d(1, 1, 1), new nn.ReLU(), new nn.MaxPool2d(2));
  const seen: Tensor[] = [];
  try {
    nn.Conv2d.prototype.forward = function (x) {
      seen.push(forward.call(this, x));
      return seen.at(-1)!;
    };
    model.forward(ones([1, 1, 2, 2])).sum().backward();
  } finally {
    nn.Conv2d.prototype.forward = forward;
  }
  assertEquals(seen.map((y) => y.disposed), [false]);
  model.dispose();
});

test("zeroGrad() frees the gradients", () => {
  const model = new nn.Linear(2, 1);
  model.forward(zeros([1, 2])).sum().backward();
  const grad = model.weight.grad!;
  model.zeroGrad();
  assert(grad.disposed && model.weight.grad === null && model.bias!.grad === null);
  model.dispose();
});

test("to(device) keeps names and values, on every device there is", () => {
  const model = new nn.Sequential(new Block());
  const before = Object.values(model.stateDict()).map((x) => x.dataSync());
  for (const { device } of [...found, found[0]!]) {
    assert(model.to(device) === model);
    for (const x of Object.values(model.stateDict())) assertEquals(x.device, device);
    assertEquals(Object.values(model.stateDict()).map((x) => x.dataSync()), before);
    assertEquals(model.parameters().length, 7);
    assertEquals(model.forward(zeros([1, 2], { device })).shape, [1, 2]);
  }
  model.dispose();
});

test("summary() lists modules, shapes and counts", () => {
  const model = new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(784, 128),
    new nn.ReLU(),
    new nn.Linear(128, 10, { bias: false }),
  );
  assertEquals(model.summary().split("\n").map((line) => line.replaceAll(/ {2,}/g, "  ")), [
    "module  parameters  bytes  shapes",
    "Sequential",
    "0: Flatten(1, -1)",
    "1: Linear(784, 128)  100,480  401,920  weight [128, 784], bias [128]",
    "2: ReLU",
    "3: Linear(128, 10, { bias: false })  1,280  5,120  weight [10, 128]",
    "total  101,760  407,040",
  ]);
  model.dispose();
});

test("summary() leaves a forward() that is a property of the module", () => {
  const model = new class extends nn.Module {
    override forward = (x: Tensor): Tensor => x.mul(2);
  }();
  const { forward } = model;
  model.summary({ inputShape: [1] });
  assertEquals(model.forward, forward);
});

test("summary() of an input shape, or an input, tells outputs' shapes, changes nothing", () => {
  const norm = new nn.BatchNorm1d(4);
  const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(6, 4), new nn.ReLU(), norm);
  model.train();
  const lines = model.summary({ inputShape: [5, 2, 3] }).split("\n");
  const outputs = lines.slice(1, -1).map((line) => line.match(/\[5, \d+\]/)?.[0]);
  assertEquals(outputs, ["[5, 4]", "[5, 6]", "[5, 4]", "[5, 4]", "[5, 4]"]);
  assertEquals(norm.num_batches_tracked!.itemSync(), 0);
  assert([...model.namedModules()].every(([, { training }]) => training));
  assertEquals(Object.keys(new nn.ReLU()), Object.keys([...model.namedChildren()][2]![1]));
  const words = new nn.Embedding(5, 3);
  using input = tensor([0, 4], { dtype: "int32" });
  assertEquals(words.summary({ input }).includes("[2, 3]"), true);
  assertThrows(() => model.summary({ inputShape: [5, 7] }), ShapeError, "Linear(6, 4)");
  assert([...model.namedModules()].every(([, { training }]) => training));
  for (const module of [model, words]) module.dispose();
});

test("summary() counts operations of every kind of layer", () => {
  const attention = 2 * 10 * 16 * 64 + 4 * 2 * 5 * 5 * 16; // projections; scores and their product
  const conv = new nn.Conv2d(4, 6, 3, { groups: 2, dilation: 2, stride: 2, padding: 2 });
  const lstm = new nn.LSTM(3, 8, { numLayers: 2, bidirectional: true });
  const encoder = new nn.TransformerEncoderLayer(16, 4, { feedForward: 32 });
  const cases: [nn.AnyModule, number[], number][] = [
    [new nn.Linear(5, 7), [2, 3, 5], 2 * 6 * 5 * 7],
    [new nn.Linear(5, 7, { dtype: "bfloat16" }), [5], 2 * 5 * 7],
    [new nn.Conv1d(4, 6, 3), [2, 4, 9], 2 * 2 * 6 * 7 * 4 * 3],
    [conv, [2, 4, 9, 9], 2 * 2 * 6 * 25 * 2 * 9],
    [new nn.ConvTranspose2d(4, 6, 3, { stride: 2 }), [2, 4, 5, 5], 2 * 2 * 4 * 25 * 6 * 9],
    [lstm, [5, 4, 3], 2 * 20 * 2 * 32 * (3 + 8 + 16 + 8)],
    [new nn.GRU(3, 8), [5, 4, 3], 2 * 20 * 24 * (3 + 8)],
    [new nn.RNN(3, 8), [5, 3], 2 * 5 * 8 * (3 + 8)],
    [new nn.LSTMCell(3, 8), [4, 3], 2 * 4 * 32 * (3 + 8)],
    [new nn.MultiHeadAttention(16, 4), [5, 2, 16], attention],
    [encoder, [5, 2, 16], attention + 2 * 2 * 10 * 16 * 32],
    [new nn.BatchNorm2d(3), [2, 3, 4, 4], 0],
    [new nn.MaxPool2d(2), [2, 3, 4, 4], 0],
  ];
  for (const [layer, inputShape, flops] of cases) {
    const [total] = layer.summary({ inputShape }).match(/total.*/)!;
    const parts = total.split(/ +/); // without FLOPs or bytes of parameters they are fewer
    if (flops) assertEquals(parts.at(-2), flops.toLocaleString("en"), `${layer}`);
    else assertEquals(parts.length, layer.parameters().length ? 4 : 3, `${layer}`);
    layer.dispose();
  }
});

test("summary() of shared, tied, frozen and unused layers leaves no trace", () => {
  class Pair extends nn.Module<Record<"a" | "b", Tensor>, unknown> {
    layer = new nn.Linear(4, 4, { dtype: "float64" });
    tied = new nn.Linear(4, 4, { bias: false });
    unused = [new nn.Linear(2, 3), new nn.ReLU(), new nn.ReLU(), this.layer];
    constructor() {
      super();
      this.tied.weight.dispose();
      this.tied.weight = this.layer.weight;
    }
    override forward({ a, b }: Record<"a" | "b", Tensor>): unknown {
      rand([2]);
      const left = this.layer.forward(a), right = this.tied.forward(this.layer.forward(b));
      return { both: [left, right], n: 5 };
    }
  }
  const model = new Pair();
  model.freeze("unused.0");
  model.layer.eval();
  manualSeed(8);
  using wanted = rand([2]);
  manualSeed(8);
  using a = zeros([2, 4], { dtype: "float64" });
  using b = zeros([3, 4], { dtype: "float64" });
  const { tensors, live } = memory();
  const lines = model.summary({ input: { a, b } }).split("\n");
  assertEquals(memory().tensors, tensors);
  assertEquals(memory().live, live);
  assertEquals([model.training, model.layer.training, model.tied.training], [true, false, true]);
  assertEquals(model.parameters().every((x) => x.grad === null), true);
  using drawn = rand([2]);
  assertEquals(drawn.dataSync(), wanted.dataSync());
  assertEquals(lines.map((line) => line.replaceAll(/ {2,}/g, "  ")), [
    "module  parameters  bytes  FLOPs  output  output bytes  shapes",
    "Pair  [2, 4], [3, 4]",
    "layer: Linear(4, 4)  20  160  160  [3, 4] (2 calls)  160  weight [4, 4], bias [4]",
    "tied: Linear(4, 4, { bias: false })  96  [3, 4]  96  weight [4, 4] (shared)",
    "unused.0: Linear(2, 3)  9  36  weight [3, 2], bias [3]",
    "unused.1: ReLU",
    "unused.2: ReLU",
    "total  29  196  256  256",
    "frozen  9",
  ]);
  const list = "  (1-2): 2 x ReLU()\n  (3): Linear(4, 4)\n)";
  const unused = `ModuleList(\n  (0): Linear(2, 3)\n${list}`.replaceAll("\n", "\n  ");
  const tied = "(tied): Linear(4, 4, { bias: false })";
  const tree = `Pair(\n  (layer): Linear(4, 4)\n  ${tied}\n  (unused): ${unused}\n)`;
  assertEquals([`${model}`, Deno.inspect(model)], [tree, tree]);
  const words = new nn.Embedding(5, 3);
  assertThrows(() => words.summary({ inputShape: [2] }), DTypeError, "give an input instead");
  for (const module of [model, words]) module.dispose();
});

test("layers print as the calls that make them, and models as trees", () => {
  const layers: [nn.Module, string][] = [
    [new nn.Linear(3, 2), "Linear(3, 2)"],
    [new nn.Linear(3, 2, { bias: false }), "Linear(3, 2, { bias: false })"],
    [new nn.Dropout(0.2), "Dropout(0.2)"],
    [new nn.Flatten(0, 1), "Flatten(0, 1)"],
    [new nn.ReLU(), "ReLU()"],
    [new nn.GELU({ approximate: "tanh" }), 'GELU({ approximate: "tanh" })'],
    [new nn.Softmax({ axis: 1 }), "Softmax({ axis: 1 })"],
    [new nn.LayerNorm([2, 3], { bias: false }), "LayerNorm([2, 3], { bias: false })"],
    [new nn.RMSNorm(4), "RMSNorm(4)"],
    [new nn.BatchNorm1d(4, { momentum: null }), "BatchNorm1d(4, { momentum: null })"],
    [new nn.LSTM(3, 4, { numLayers: 2 }), "LSTM(3, 4, { numLayers: 2 })"],
    [new nn.GRUCell(3, 4), "GRUCell(3, 4)"],
    [new nn.Embedding(5, 3, { paddingIndex: 0 }), "Embedding(5, 3, { paddingIndex: 0 })"],
  ];
  const losses = [new nn.MSELoss(), new nn.CrossEntropyLoss({ labelSmoothing: 0.1 })];
  assertEquals(losses.map(String), ["MSELoss()", "CrossEntropyLoss({ labelSmoothing: 0.1 })"]);
  assertEquals(losses.map((loss) => Deno.inspect(loss)), losses.map(String));
  for (const [layer, wanted] of layers) {
    assertEquals(`${layer}`, wanted);
    const again: nn.Module = new Function("nn", `return new nn.${wanted}`)(nn);
    assertEquals(`${again}`, wanted);
    for (const module of [layer, again]) module.dispose();
  }
  const model = new nn.Sequential([new nn.Residual(new nn.Linear(2, 2)), new nn.ReLU()]);
  assertEquals(
    `${model}`,
    "Sequential(\n  (0): Residual(\n    (inner): Linear(2, 2)\n  )\n  (1): ReLU()\n)",
  );
  model.dispose();
});

test("Linear starts uniform in ±1/sqrt(in)", () => {
  manualSeed(5);
  const linear = new nn.Linear(400, 300);
  for (const x of [linear.weight, linear.bias!]) {
    const data = Array.from(x.dataSync());
    const n = data.length;
    const bound = 1 / Math.sqrt(400);
    assert(data.every((v) => Math.abs(v) <= bound));
    assert(Math.max(...data.map(Math.abs)) > bound * (1 - 20 / n));
    const mean = data.reduce((sum, v) => sum + v) / n;
    const variance = data.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    // Within five standard errors of 0 and of bound^2 / 3.
    assertAlmostEquals(mean, 0, 5 * bound / Math.sqrt(3 * n));
    assertAlmostEquals(variance, bound ** 2 / 3, 5 * bound ** 2 * Math.sqrt(4 / 45 / n));
  }
  linear.dispose();
});

test("Linear computes x w^T + b for inputs of any rank, with or without bias", () => {
  const linear = new nn.Linear(2, 3);
  linear.weight.copyFrom(Float32Array.of(1, 2, 3, 4, 5, 6));
  linear.bias!.copyFrom(Float32Array.of(10, 20, 30));
  assertEquals([...linear.forward(tensor([[1, 1], [0, 2]])).dataSync()], [13, 27, 41, 14, 28, 42]);
  assertEquals([...linear.forward(tensor([1, 0])).dataSync()], [11, 23, 35]);
  assertEquals(linear.forward(zeros([4, 5, 2])).shape, [4, 5, 3]);
  assertEquals(linear.forward(zeros([0, 2])).shape, [0, 3]);
  linear.dispose();

  const bare = new nn.Linear(2, 3, { bias: false, dtype: "float64" });
  assertEquals([names(bare), bare.bias, bare.weight.dtype], [["weight"], null, "float64"]);
  assertEquals([...bare.forward(zeros([1, 2], { dtype: "float64" })).dataSync()], [0, 0, 0]);
  bare.dispose();
});

test("Linear refuses sizes and options that it cannot have", () => {
  for (const size of [0, -1, 1.5, NaN]) {
    assertThrows(() => new nn.Linear(size, 1), ArgumentError, `inFeatures is ${size}`);
    assertThrows(() => new nn.Linear(1, size), ArgumentError, `outFeatures is ${size}`);
  }
  const misspelt = { baas: false } as nn.LinearOptions;
  assertThrows(() => new nn.Linear(1, 1, misspelt), ArgumentError, "did you mean bias?");
});

test("Flatten joins the axes that it is told to", () => {
  const x = zeros([2, 1, 3, 4]);
  assertEquals(new nn.Flatten().forward(x).shape, [2, 12]);
  assertEquals(new nn.Flatten({ start: 0 }).forward(x).shape, [24]);
  assertEquals(new nn.Flatten({ start: 1, end: 2 }).forward(x).shape, [2, 3, 4]);
  assertEquals(new nn.Flatten({ start: -2 }).forward(x).shape, [2, 1, 12]);
});

test("an error inside Sequential names the child that it came from", () => {
  const model = new nn.Sequential(
    new nn.Linear(2, 3),
    new nn.Sequential(new nn.ReLU(), new nn.Linear(4, 5)),
  );
  const error = assertThrows(() => model.forward(zeros([7, 2])), ShapeError);
  assertStringIncludes(error.message, "1: ");
  assertStringIncludes(error.message, "1: Linear(4, 5): ");
  assertStringIncludes(error.message, "input is [7, 3]");
  assertStringIncludes(error.message, "must be 4");
  model.dispose();
});

// Which kernels of activations run while fn does.
function activationsRun(fn: () => void): string[] {
  const names = ["relu", "gelu", "gelu_tanh", "silu"].map((name) => `cdn_${name}`);
  return nativeCalls(names, fn).map(({ name }) => name);
}

test("Sequential takes a linear layer and its activation as one, and nobody can tell", () => {
  class Shifted extends nn.ReLU {
    override forward(x: Tensor): Tensor {
      return super.forward(x.sub(1));
    }
  }
  class Doubled extends nn.Linear {
    override forward(x: Tensor): Tensor {
      return super.forward(x.mul(2));
    }
  }
  const options = { dtype: "float64" } as const;
  const plain = () => new nn.Linear(3, 3, options);
  const patched = new nn.ReLU();
  patched.forward = (x) => x.neg();
  const patchedLinear = plain();
  patchedLinear.forward = (x) => x.neg();
  const pairs: [nn.Module, nn.Module, kernels: number][] = [
    [plain(), new nn.ReLU(), 0],
    [plain(), new nn.GELU(), 0],
    [plain(), new nn.GELU({ approximate: "tanh" }), 0],
    [plain(), new nn.SiLU(), 0],
    [new nn.Linear(3, 3, { ...options, bias: false }), new nn.ReLU(), 0],
    [plain(), new nn.Tanh(), 0],
    [plain(), new Shifted(), 1],
    [new Doubled(3, 3, options), new nn.ReLU(), 1],
    [plain(), patched, 0],
    [patchedLinear, new nn.ReLU(), 1],
    [new nn.LayerNorm(3, options), new nn.ReLU(), 1],
    [new nn.ReLU(), new nn.SiLU(), 2],
  ];
  const x = randn([4, 3], options);
  x.requiresGrad = true;
  for (const [first, second, kernels] of pairs) {
    const model = new nn.Sequential(first, second, plain());
    const parameters = [x, ...model.parameters()];
    const run = (forward: () => Tensor) => {
      const y = forward();
      return [y, ...grad(y.mul(y).sum(), parameters, { allowUnused: true })];
    };
    let together: Tensor[] = [];
    const seen = activationsRun(() => together = run(() => model.forward(x)));
    assertEquals(seen.length, kernels, model.summary());
    const children = Array.from(model.namedChildren(), ([, child]) => child);
    const apart = run(() => children.reduce((x, child) => child.forward(x), x));
    together.forEach((found, i) => {
      const wanted = apart[i]!.dataSync();
      found.dataSync().forEach((value, at) => assertAlmostEquals(value, wanted[at]!, 1e-12));
    });
    model.dispose();
  }
  const wrong = new nn.Sequential(
    new nn.Linear(2, 2),
    new nn.GELU({ approximate: "tan" as "tanh" }),
  );
  assertThrows(
    () => wrong.forward(zeros([1, 2])),
    ArgumentError,
    '1: GELU({ approximate: "tan" }): gelu',
  );
  const short = new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU());
  assertThrows(() => short.forward(zeros([1, 3])), ShapeError, "0: Linear(2, 2): linear: input");
  for (const model of [wrong, short]) model.dispose();
});

test("an encoder layer takes its linear layer and activation as one, unless changed", () => {
  for (const activation of ["relu", "gelu"] as const) {
    const layer = new nn.TransformerEncoderLayer(4, 2, { feedForward: 6, activation }).eval();
    const x = randn([3, 2, 4]);
    let together = x;
    const seen = activationsRun(() => together = layer.forward(x));
    assertEquals(seen, []);
    const { linear1 } = layer;
    linear1.forward = (x) => linear(x, linear1.weight, linear1.bias);
    let apart = x;
    assertEquals(activationsRun(() => apart = layer.forward(x)), [`cdn_${activation}`]);
    const wanted = apart.dataSync();
    together.dataSync().forEach((value, i) => assertAlmostEquals(value, wanted[i]!, 1e-5));
    layer.dispose();
  }
});

test("losses: none, sum and mean", () => {
  const logits = tensor([[1, 2, 3], [0, 0, 0]], { dtype: "float64" });
  const target = tensor([2, 0], { dtype: "int32" });
  const each = [Math.log(1 + Math.exp(-1) + Math.exp(-2)), Math.log(3)] as const;
  const x = tensor([[1, 2], [3, 5]], { dtype: "float64" });
  const y = tensor([[1, 0], [0, 1]], { dtype: "float64" });
  const cases = [
    [nn.CrossEntropyLoss, logits, target, [...each], [2]],
    [nn.MSELoss, x, y, [0, 4, 9, 16], [2, 2]],
  ] as const;
  for (const [Loss, output, wanted, elements, shape] of cases) {
    const none = new Loss({ reduction: "none" }).forward(output, wanted);
    const sum = elements.reduce((a: number, b: number) => a + b, 0);
    assertEquals(none.shape, shape);
    none.dataSync().forEach((v, i) => assertAlmostEquals(v, elements[i]!, 1e-14));
    assertAlmostEquals(
      new Loss({ reduction: "sum" }).forward(output, wanted).itemSync(),
      sum,
      1e-13,
    );
    const mean = new Loss().forward(output, wanted).itemSync();
    assertAlmostEquals(mean, sum / elements.length, 1e-14);
    const wrong = { reduction: "avg" as Reduction };
    assertThrows(
      () => new Loss(wrong),
      ArgumentError,
      'reduction is "avg"; it must be mean, sum or none',
    );
  }
});

test("losses: the gradient follows the reduction", () => {
  const target = tensor([2, 0], { dtype: "int32" });
  const gradient = (reduction: "mean" | "sum" | "none") => {
    const logits = tensor([[1, 2, 3], [0, 0, 0]], { dtype: "float64", requiresGrad: true });
    const loss = crossEntropy(logits, target, { reduction });
    if (reduction === "none") loss.backward(tensor([1, 10], { dtype: "float64" }));
    else loss.backward();
    return Array.from(logits.grad!.dataSync());
  };
  const softmax = [1, 2, 3].map((v) => Math.exp(v - 3) / (1 + Math.exp(-1) + Math.exp(-2)));
  const sum = [softmax[0]!, softmax[1]!, softmax[2]! - 1, -2 / 3, 1 / 3, 1 / 3];
  const near = (a: number[], b: number[]) =>
    a.forEach((v, i) => assertAlmostEquals(v, b[i]!, 1e-14));
  near(gradient("sum"), sum);
  near(gradient("mean"), sum.map((v) => v / 2));
  near(gradient("none"), sum.map((v, i) => (i < 3 ? v : 10 * v)));
});

test("activations are what they are called", () => {
  const x = tensor([-1, 0, 2], { dtype: "float64" });
  const check = (module: nn.Module, f: (v: number) => number) =>
    noGrad(() => module.forward(x)).dataSync().forEach((v, i) =>
      assertAlmostEquals(v, f([-1, 0, 2][i]!), 1e-15)
    );
  check(new nn.ReLU(), (v) => Math.max(v, 0));
  check(new nn.Sigmoid(), (v) => 1 / (1 + Math.exp(-v)));
  check(new nn.Tanh(), Math.tanh);
});
