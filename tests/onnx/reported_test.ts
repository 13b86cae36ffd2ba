// Where importers and runtimes were found to be wrong, by themselves or by graphs drawn at random:
// values worked out by hand.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ArgumentError,
  CudenoError,
  DataError,
  memory,
  onnx,
  scope,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test } from "../_helpers.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { type NodeCase, testNode } from "./_nodes.ts";

const list = (...data: number[]): [number[], number[]] => [[data.length], data];
const row = (...data: number[]): [number[], number[]] => [[1, 1, 1, data.length], data];
const whole = (...data: number[]): [number[], number[], "int32"] => [[data.length], data, "int32"];

const cases: NodeCase[] = [
  {
    name: "scales that leave the extent move the places",
    op: "Resize",
    inputs: [row(1, 2, 5), null, list(1, 1, 1, 1.25)],
    attributes: { mode: "linear", coordinate_transformation_mode: "asymmetric" },
    outputs: [row(1, 1.8, 3.8)],
  },
  {
    name: "an extent may become nothing",
    op: "Resize",
    inputs: [row(1), null, list(1, 1, 1, 0.5)],
    attributes: { mode: "linear" },
    outputs: [[[1, 1, 1, 0], []]],
  },
  {
    name: "reflects more than once",
    op: "Pad",
    inputs: [list(1, 2, 3), whole(5, 3)],
    attributes: { mode: "reflect" },
    outputs: [list(2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2)],
  },
  {
    name: "reflects a single element",
    op: "Pad",
    inputs: [list(7), whole(1, 2)],
    attributes: { mode: "reflect" },
    outputs: [list(7, 7, 7, 7)],
  },
  {
    name: "wraps more than once, after it has cut off",
    op: "Pad",
    version: 19,
    inputs: [list(9, 1, 2), whole(-1, 5)],
    attributes: { mode: "wrap" },
    outputs: [list(1, 2, 1, 2, 1, 2, 1)],
  },
  {
    name: "of integers to bytes wraps",
    op: "Cast",
    inputs: [whole(300, -300, 70000, -1)],
    attributes: { to: 2 },
    outputs: [list(44, 212, 112, 255)],
  },
  {
    name: "of zeros has a scale of 1",
    op: "DynamicQuantizeLinear",
    inputs: [list(0, 0)],
    outputs: [list(0, 0), [[], [1]], [[], [0]]],
  },
  {
    name: "of nothing",
    op: "DynamicQuantizeLinear",
    inputs: [list()],
    outputs: [list(), [[], [1]], [[], [0]]],
  },
  {
    name: "a single value a channel is its mean",
    op: "InstanceNormalization",
    inputs: [[[2, 2, 1], [1, 2, 3, 4]], list(5, 6), list(7, 8)],
    outputs: [[[2, 2, 1], [7, 8, 7, 8]]],
  },
  {
    name: "a single value a group",
    op: "GroupNormalization",
    version: 21,
    inputs: [[[1, 2, 1], [1, 2]], list(5, 6), list(7, 8)],
    attributes: { num_groups: 2 },
    outputs: [[[1, 2, 1], [7, 8]]],
  },
];
cases.forEach(testNode);

const given = [-5, 0, 2 ** 31 - 1];

for (
  const [op, limit, data] of [
    ["Min", [2n ** 63n - 1n], given],
    ["Max", [-(2n ** 63n)], given],
    ["Clip", [0n, 2n ** 63n - 1n], [0, 0, 2 ** 31 - 1]],
    ["Less", [2n ** 40n], [1, 1, 1]],
    ["Greater", [2n ** 40n], [0, 0, 0]],
    ["Equal", [2n ** 32n - 5n], [0, 0, 0]],
  ] as const
) {
  test(`onnx: ${op} of int64 with a limit that tensors do not reach`, async () => {
    const names = limit.map((_, i) => `limit${i}`);
    const bytes = modelBytes({
      node: [node(op, ["x", ...names], ["y"])],
      input: [valueInfo("x", "int64", [3])],
      initializer: limit.map((value, i) => ({
        name: names[i]!,
        dataType: 7,
        dims: [],
        rawData: new Uint8Array(BigInt64Array.of(value).buffer),
      })),
      output: [{ name: "y" }],
    });
    using model = await onnx.load(bytes, { device: "cpu" });
    scope(() => {
      const { y } = model.run(tensor(given, { dtype: "int32", device: "cpu" }));
      assertEquals([...y!.dataSync()], data);
    });
  });
}

// What is on the host becomes a tensor when it is first asked for, and that may be a result too.
test("onnx: a tensor that two names came to share outlives the first", async () => {
  const bytes = modelBytes({
    node: [
      node("Range", ["from", "to", "step"], ["many"]),
      node("Cast", ["many"], ["same"], { to: 6 }),
      node("ReduceMax", ["many"], ["most"]),
    ],
    input: [valueInfo("to", "int64", [])],
    initializer: [["from", 0], ["step", 1]].map(([name, value]) => ({
      ...{ name: name as string, dataType: 7, dims: [] },
      int64Data: [value as number],
    })),
    output: [{ name: "same" }, { name: "most" }],
  });
  using model = await onnx.load(bytes, { device: "cpu" });
  for (let i = 0; i < 3; i++) {
    scope(() => {
      const { same, most } = model.run(tensor(3000, { dtype: "int32", device: "cpu" }));
      assertEquals([same!.dataSync().at(-1), most!.itemSync()], [2999, 2999]);
    });
  }
});

// F0 negates, and each of the others calls the one before it twice.
function nested(depth: number): Uint8Array<ArrayBuffer> {
  const opsetImport = [{ domain: "", version: 17 }, { domain: "f", version: 1 }];
  const made = (name: string, nodes: ReturnType<typeof node>[]) => {
    return { name, domain: "f", input: ["a"], output: ["b"], node: nodes, opsetImport };
  };
  const call = (i: number, from: string, to: string) => {
    return { ...node(`F${i}`, [from], [to]), domain: "f" };
  };
  const rest = Array.from(
    { length: depth },
    (_, i) => made(`F${i + 1}`, [call(i, "a", "t"), call(i, "t", "b")]),
  );
  return modelBytes(
    {
      node: [call(depth, "x", "y")],
      input: [valueInfo("x", "float32", [1])],
      output: [{ name: "y" }],
    },
    17,
    { opsetImport, functions: [made("F0", [node("Neg", ["a"], ["b"])]), ...rest] },
  );
}

test("onnx: functions that end in calls have values of their own", async () => {
  using model = await onnx.load(nested(3), { device: "cpu" });
  scope(() => assertEquals(model.run(tensor([2], { device: "cpu" })).y!.itemSync(), 2));
});

test("onnx: functions that stand for too many nodes are an error", async () => {
  await assertRejects(() => onnx.load(nested(60), { device: "cpu" }), DataError, "more than");
});

test("onnx: an endless loop of constants does not keep load() from returning", async () => {
  const body = {
    name: "body",
    node: [node("Identity", ["go"], ["on"]), node("Neg", ["s"], ["t"])],
    input: [valueInfo("i", "int64", []), valueInfo("go", "bool", []), valueInfo("s", "float32")],
    output: [{ name: "on" }, { name: "t" }],
  };
  const bytes = modelBytes({
    node: [node("Loop", ["", "", "zero"], ["end"], { body }), node("Add", ["x", "end"], ["y"])],
    input: [valueInfo("x", "float32", [1])],
    initializer: [{ name: "zero", dataType: 1, dims: [1], floatData: [0] }],
    output: [{ name: "y" }],
  });
  using model = await onnx.load(bytes, { device: "cpu" });
  assertEquals(model.inputs.length, 1);
});

test("onnx: what is constant and grows is not made at load", async () => {
  const bytes = modelBytes({
    node: [
      node("Expand", ["one", "size"], ["e0"]),
      ...Array.from(
        { length: 6 },
        (_, i) => node("Concat", Array(8).fill(`e${i}`), [`e${i + 1}`], { axis: 0 }),
      ),
      node("Add", ["x", "e6"], ["y"]),
    ],
    input: [valueInfo("x", "float32", [1])],
    initializer: [
      { name: "one", dataType: 1, dims: [1], floatData: [1] },
      { name: "size", dataType: 7, dims: [1], int64Data: [2 ** 19] },
    ],
    output: [{ name: "y" }],
  });
  const before = memory("cpu").live;
  using model = await onnx.load(bytes, { device: "cpu" });
  assert(memory("cpu").live - before < 2 ** 26);
  assertEquals(model.inputs.length, 1);
});

for (
  const [name, drawn] of [
    ["no operands", node("Max", [], ["y"])],
    ["nothing to join", node("Concat", [], ["y"], { axis: 0 })],
    ["activations that objects have", {
      ...node("FusedConv", ["x", "x"], ["y"], { activation: "constructor" }),
      domain: "com.microsoft",
    }],
    [
      "gates that objects have",
      node("RNN", ["x", "x", "x"], ["y"], { activations: ["constructor"], hidden_size: 1 }),
    ],
    ["parts without end", node("Split", ["x"], ["y"], { num_outputs: 2 ** 40 })],
    [
      "pads without end",
      node("AveragePool", ["x"], ["y"], {
        kernel_shape: [1],
        pads: [2 ** 40, 2 ** 40],
      }),
    ],
  ] as const
) {
  test(`onnx: ${name} are a typed error`, async () => {
    const bytes = modelBytes(
      {
        node: [drawn],
        input: [valueInfo("x", "float32", [1, 1, 4])],
        output: [{ name: "y" }],
      },
      18,
      { opsetImport: [{ version: 18 }, { domain: "com.microsoft", version: 1 }] },
    );
    using model = await onnx.load(bytes, { device: "cpu" });
    using x = zeros([1, 1, 4], { device: "cpu" });
    assertThrows(() => model.run(x), CudenoError, "node");
  });
}

test("onnx.load: a device that is not known", async () => {
  const device = "tpu" as "cpu";
  await assertRejects(() => onnx.load(nested(1), { device }), ArgumentError, "tpu");
});

test("onnx: a state that is stored once for two names", async () => {
  const bytes = modelBytes({
    node: [node("Identity", ["bias"], ["mean"]), node("Add", ["x", "mean"], ["y"])],
    input: [valueInfo("x", "float32", [1])],
    initializer: [{ name: "bias", dataType: 1, dims: [1], floatData: [3] }],
    output: [{ name: "y" }],
  });
  using model = await onnx.load(bytes, { device: "cpu" });
  scope(() => {
    const { bias, mean } = model.stateDict();
    assertEquals([bias!.itemSync(), mean!.itemSync(), bias === mean], [3, 3, false]);
  });
});
