// What looks into models: hooks around forward(), and parameters by patterns of their names.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ArgumentError, devices, keep, nn, ones, optim, randn, type Tensor } from "../../mod.ts";
import { cleanTest as test, later } from "../_helpers.ts";

const small = () =>
  later(
    new nn.Sequential({
      body: new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU()),
      norm: new nn.LayerNorm(4),
      head: new nn.Linear(4, 2),
    }),
  );

test("hooks: see and replace what goes through a layer, whoever calls it", () => {
  const model = small(), x = randn([5, 3]), before = model.forward(x);
  const layers = [...model.namedModules()].map(([, module]) => module).slice(1);
  const seen: [string, readonly number[], readonly number[]][] = [];
  const handles = layers.map((layer) =>
    layer.registerForwardHook((module, x, y) => {
      assert(module === layer);
      seen.push([module.constructor.name, x.shape, y.shape]);
    })
  );
  assertEquals(model.forward(x).dataSync(), before.dataSync());
  assertEquals(seen, [
    ["Linear", [5, 3], [5, 4]],
    ["ReLU", [5, 4], [5, 4]],
    ["Sequential", [5, 3], [5, 4]],
    ["LayerNorm", [5, 4], [5, 4]],
    ["Linear", [5, 4], [5, 2]],
  ]);
  const summary = model.summary({ inputShape: [1, 3] });
  for (const handle of handles) handle.remove();
  handles[0]!.remove(); // again is nothing
  seen.length = 0;
  model.forward(x);
  assertEquals([seen.length, model.summary({ inputShape: [1, 3] })], [0, summary]);
  assert(layers.every((layer) => !Object.hasOwn(layer, "forward")));

  const [[, body], , [, head]] = model.entries() as [
    [string, nn.Sequential],
    unknown,
    [string, nn.Linear],
  ];
  const [, [, relu]] = body.entries() as [unknown, [string, nn.Module]];
  {
    using _pre = head.registerForwardPreHook((_, x) => x.mul(0));
    using _post = head.registerForwardHook((_, __, y) => y.add(1));
    using _last = head.registerForwardHook((_, __, y) => y.mul(2));
    const wanted = head.bias!.add(1).mul(2).broadcastTo([5, 2]);
    assertEquals(model.forward(x).dataSync(), wanted.dataSync());
    const copied = Object.assign(Object.create(nn.Linear.prototype), head) as nn.Linear;
    const plain = nn.Linear.prototype.forward.call(head, ones([1, 4]));
    assertEquals(copied.forward(ones([1, 4])).dataSync(), plain.dataSync());
  }
  assertEquals(model.forward(x).dataSync(), before.dataSync());
  const kept: Tensor[] = [];
  using _ = relu.registerForwardHook((_, x) => void kept.push(later(keep(x.clone()))));
  model.forward(x).sum().backward();
  model.zeroGrad();
  assertEquals(kept[0]!.relu().dataSync(), body.forward(x).dataSync());
  assert(kept[0]!.dataSync().some((v) => v < 0)); // before relu, which was not fused
});

test("hooks: a forward() that is a property stays, and errors are said", () => {
  const model = new class extends nn.Module {
    override forward = (x: Tensor): Tensor => x.mul(2);
  }();
  const { forward } = model, x = ones([1]);
  const handle = model.registerForwardHook((_, __, y) => y.add(1));
  assertEquals(model.forward(x).itemSync(), 3);
  handle.remove();
  assertEquals(model.forward, forward);
  const bad = 5 as unknown as () => void;
  assertThrows(() => model.registerForwardHook(bad), ArgumentError, "hook is 5");
  using _ = model.registerForwardHook((() => Promise.resolve()) as never);
  assertThrows(() => model.forward(x), ArgumentError, "what a forward hook returns");
});

test("freeze and unfreeze: by name, pattern, expression or function", () => {
  const model = small(),
    { norm } = Object.fromEntries(model.entries()) as Record<string, nn.Module>;
  const all = [...model.namedParameters()].map(([name]) => name);
  const state = Object.keys(model.stateDict());
  const home = model.parameters()[0]!.device;
  const cases: [nn.NamePattern, string[]][] = [
    ["body", ["body.0.weight", "body.0.bias"]],
    ["body.0.bias", ["body.0.bias"]],
    ["*.bias", ["body.0.bias", "norm.bias", "head.bias"]],
    ["?o*.0", ["body.0.weight", "body.0.bias"]],
    [/^norm|head.w/g, ["norm.weight", "norm.bias", "head.weight"]],
    [(name) => name.length < 10, ["norm.bias", "head.bias"]],
    ["*", all],
  ];
  for (const [pattern, names] of cases) {
    model.forward(ones([1, 3])).sum().backward();
    assertEquals(model.freeze(pattern), names);
    assertEquals(model.freeze(pattern), names);
    const left = [...model.namedParameters()].map(([name]) => name);
    assertEquals(left, all.filter((name) => !names.includes(name)));
    assertEquals(Object.keys(model.stateDict()), state);
    const tensors = Object.entries(model.stateDict());
    assert(tensors.every(([name, x]) => !names.includes(name) || x.grad === null));
    model.zeroGrad();
    for (const { device } of devices()) model.to(device);
    assertEquals(model.unfreeze(pattern), names);
    assertEquals([...model.namedParameters()].map(([name]) => name), all);
    model.to(home);
  }
  model.freeze(norm ? "norm" : "");
  const lines = model.summary().split("\n").map((line) => line.trim().split(/ {2,}/));
  assertEquals(lines.slice(-2), [["total", "34", "136"], ["frozen", "8"]]);
  assertEquals(lines.find(([name]) => name?.startsWith("norm"))![1], "8");
  assertThrows(
    () => model.freeze("hed"),
    ArgumentError,
    "matches no parameter; there are body",
  );
  assertThrows(() => model.unfreeze("bod"), ArgumentError, "matches no parameter");
  assertThrows(() => model.freeze(5 as never), ArgumentError, "the pattern is 5");
  const buffers = later(new nn.BatchNorm1d(2));
  assertThrows(() => buffers.unfreeze("running_mean"), ArgumentError, "there are weight, bias");
});

test("parameterGroups: the first pattern has a parameter, the last group the rest", () => {
  const model = small();
  const groups = model.parameterGroups([
    { match: "head", lr: 0.5 },
    { match: /bias|norm/, weightDecay: 0 },
  ]);
  const { "body.0.weight": weight, ...others } = model.stateDict();
  assertEquals(groups.map(({ params, ...options }) => [params.length, options]), [
    [2, { lr: 0.5 }],
    [3, { weightDecay: 0 }],
    [1, {}],
  ]);
  assert(groups[2]!.params[0] === weight);
  assertEquals(
    new Set(groups.flatMap(({ params }) => params)).size,
    Object.keys(others).length + 1,
  );
  const optimizer = new optim.AdamW(groups, { lr: 0.1, weightDecay: 0.01 });
  assertEquals(optimizer.groups.map(({ lr, weightDecay }) => [lr, weightDecay]), [
    [0.5, 0.01],
    [0.1, 0],
    [0.1, 0.01],
  ]);
  assertEquals(model.parameterGroups([{ match: "*" }]).length, 1);
  model.freeze("head");
  assertEquals(model.parameterGroups([]).map(({ params }) => params.length), [4]);
  const taken = [{ match: /^norm/ }, { match: "norm.weight" }];
  assertThrows(() => model.parameterGroups(taken), ArgumentError, "matches no");
  assertThrows(() => model.parameterGroups([{} as never]), ArgumentError, "groups[0]");
});
