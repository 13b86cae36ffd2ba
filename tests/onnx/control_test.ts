import { assertEquals, assertRejects } from "@std/assert";
import { DataError, memory, onnx, tensor, zeros } from "../../mod.ts";
import { graphOf } from "../../lib/onnx/graph.ts";
import { Program } from "../../lib/onnx/_program.ts";
import { Run } from "../../lib/onnx/_run.ts";
import { decodeMessage } from "../../lib/onnx/_wire.ts";
import { tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { Place, Value } from "../../lib/onnx/value.ts";
import { evaluated, type Given } from "./_evaluated.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

const device = "cpu";
const info = (...names: string[]) => names.map((name) => valueInfo(name, "float32"));
const scalar = (value: number): Given => ["float32", [], [value]];
const count = (value: number): Given => ["int64", [], [value]];

// v = v + v + w until it is 10 or more; w is of the graph around
const doubling = {
  node: [
    node("Add", ["v", "v"], ["twice"]),
    node("Add", ["twice", "w"], ["next"]),
    node("Less", ["next", "ten"], ["more"]),
  ],
  initializer: [tensorProto("ten", "float32", [], [10])],
  input: [valueInfo("i", "int64", []), valueInfo("c", "bool", []), valueInfo("v", "float32", [])],
  output: [valueInfo("more", "bool", []), ...info("next"), valueInfo("twice", "float32", [])],
};

test("onnx: Loop ends by count or condition, and gathers what steps give", async () => {
  const loop = [node("Loop", ["m", "yes", "v0"], ["v", "all"], { body: doubling })];
  const given = { m: count(9), v0: scalar(1), w: scalar(0.5), yes: ["bool", [], [1]] as Given };
  const run = (more: Record<string, Given>) =>
    evaluated(loop, { ...given, ...more }, ["v", "all"], 17);
  // 2.5, 5.5, 11.5
  assertEquals(await run({}), [[[], [11.5]], [[3], [2, 5, 11]]]);
  assertEquals(await run({ m: count(2) }), [[[], [5.5]], [[2], [2, 5]]]);
  assertEquals(await run({ m: count(0) }), [[[], [1]], [[0], []]]);
  assertEquals(await run({ yes: ["bool", [], [0]] }), [[[], [1]], [[0], []]]);
});

test("onnx: Scan walks backwards, and along other axes", async () => {
  const body = {
    node: [node("Add", ["s", "x"], ["sum"]), node("Identity", ["sum"], ["out"])],
    input: info("s", "x"),
    output: info("sum", "out"),
  };
  const attributes = { body, num_scan_inputs: 1, scan_input_directions: [1] };
  const inputs: Record<string, Given> = {
    s0: ["float32", [2], [0, 0]],
    x: ["float32", [3, 2], [1, 2, 3, 4, 5, 6]],
  };
  const scan = (more: Record<string, unknown>) =>
    evaluated([node("Scan", ["s0", "x"], ["s", "y"], { ...attributes, ...more })], inputs, [
      "s",
      "y",
    ]);
  // sums from the last row on: [5, 6], [8, 10], [9, 12]
  assertEquals(await scan({}), [[[2], [9, 12]], [[3, 2], [5, 6, 8, 10, 9, 12]]]);
  const other = { scan_output_axes: [-1], scan_output_directions: [1] };
  assertEquals((await scan(other))[1], [[2, 3], [9, 8, 5, 12, 10, 6]]);
});

test("onnx: sequences are split, changed, and joined again", async () => {
  const nodes = [
    node("SplitToSequence", ["x", "two"], ["parts"]),
    node("SequenceErase", ["parts", "zero"], ["fewer"]),
    node("SequenceInsert", ["fewer", "nine", "last"], ["more"]), // before the last
    node("ConcatFromSequence", ["more"], ["y"], { axis: 0 }),
    node("SequenceLength", ["more"], ["n"]),
    node("SequenceAt", ["more", "last"], ["end"]),
  ];
  const given: Record<string, Given> = {
    x: ["float32", [5], [1, 2, 3, 4, 5]],
    two: count(2),
    zero: count(0),
    last: count(-1),
    nine: ["float32", [1], [9]],
  };
  assertEquals(await evaluated(nodes, given, ["y", "n", "end"]), [
    [[4], [3, 4, 9, 5]],
    [[], [3]],
    [[1], [5]],
  ]);
});

test("onnx: a loop frees what its steps make", async () => {
  const body = {
    node: [node("Neg", ["v"], ["n"]), node("Identity", ["c"], ["more"])],
    input: [valueInfo("i", "int64"), valueInfo("c", "bool"), ...info("v")],
    output: [valueInfo("more", "bool"), ...info("n")],
  };
  using model = await onnx.load(
    modelBytes({
      node: [node("Loop", ["m", "", "x"], ["y"], { body })],
      initializer: [tensorProto("m", "int64", [], [101])],
      input: info("x"),
      output: info("y"),
    }),
    { device },
  );
  using x = tensor([1, 2], { device });
  const before = memory(device);
  for (let i = 0; i < 3; i++) {
    using y = model.run(x).y!;
    assertEquals([...y.dataSync()], [-1, -2]);
  }
  assertEquals(memory(device).tensors <= before.tensors, true);
});

test("onnx: functions stand for their nodes, with the caller's names", async () => {
  const opsetImport = [{ domain: "", version: 17 }, { domain: "own", version: 1 }];
  const then = {
    node: [node("Neg", ["t"], ["r"])],
    output: info("r"),
  };
  const other = { node: [node("Identity", ["t"], ["r"])], output: info("r") };
  const functions = [{
    name: "Soft",
    domain: "own",
    input: ["a", "flag"],
    output: ["b"],
    attribute: ["slope"],
    node: [
      {
        ...node("LeakyReluLike", ["a"], ["t"]),
        domain: "own",
        attribute: [{ name: "slope", refAttrName: "slope", type: 1 }],
      },
      node("If", ["flag"], ["b"], { then_branch: then, else_branch: other }),
    ],
    opsetImport,
  }, {
    name: "LeakyReluLike",
    domain: "own",
    input: ["a"],
    output: ["b"],
    attribute: ["slope"],
    node: [
      {
        ...node("Constant", [], ["t"]),
        attribute: [{ name: "value_float", refAttrName: "slope", type: 1 }],
      },
      node("Mul", ["a", "t"], ["b"]),
    ],
    opsetImport,
  }];
  const call = (input: string[], output: string, slope: number) => ({
    ...node("Soft", input, [output], { slope }),
    domain: "own",
  });
  const nodes = [call(["x", "yes"], "t", 0.5), call(["t", "no"], "y", 1.5)];
  const given: Record<string, Given> = {
    x: ["float32", [2], [4, -8]],
    yes: ["bool", [], [1]],
    no: ["bool", [], [0]],
  };
  const more = { functions, opsetImport };
  assertEquals(await evaluated(nodes, given, ["t", "y"], 17, more), [
    [[2], [-2, 4]],
    [[2], [-3, 6]],
  ]);
  const endless = [{ ...functions[1]!, node: [{ ...functions[0]!.node[0]!, attribute: [] }] }];
  await assertRejects(
    () =>
      evaluated(nodes, given, ["y"], 17, { functions: [functions[0]!, ...endless], opsetImport }),
    DataError,
    "calls itself",
  );
});

// y = x reshaped by its own sizes, and how many positive elements there are
const shaped = {
  node: [
    node("Shape", ["x"], ["s"]),
    node("Gather", ["s", "zero"], ["n"]),
    node("Unsqueeze", ["n", "axes"], ["first"]),
    node("Concat", ["first", "rest"], ["shape"], { axis: 0 }),
    node("Reshape", ["x", "shape"], ["y"]),
    node("ConstantOfShape", ["shape"], ["mask"], { value: tensorProto("", "float32", [1], [2]) }),
    node("NonZero", ["x"], ["places"]),
    node("Shape", ["places"], ["found"]), // depends on the elements of x
  ],
  initializer: [
    tensorProto("zero", "int64", [], [0]),
    tensorProto("axes", "int64", [1], [0]),
    tensorProto("rest", "int64", [2], [1, 2]),
  ],
  input: info("x"),
  output: [...info("y", "mask"), valueInfo("found", "int64")],
};

test("onnx: what depends on shapes alone is not computed a third time", () => {
  const file = decodeMessage("Model", modelBytes(shaped));
  const graph = graphOf(file.graph!, { file: "test", opsets: new Map([["", 17]]) });
  const place = new Place(device, "float32");
  const program = new Program(graph, place, "test");
  const run = (rows: number) => {
    using x = zeros([rows, 2], { device });
    const value = Value.device(place, "float32", x);
    return new Run(program, "test").whole(graph, [value])[0]!.tensor().dispose();
  };
  const ops = (rows: number) =>
    program.planFor(graph, `${rows},2`)?.steps.map(({ node: n }) => n.op);
  run(3);
  assertEquals(ops(3), ["Reshape", "NonZero", "Shape"]);
  assertEquals(ops(4), undefined);
  run(3);
  for (let rows = 4; rows < 12; rows++) run(rows);
  assertEquals(ops(3), undefined); // only so many shapes are kept
  assertEquals(ops(11), ["Reshape", "NonZero", "Shape"]);
  place.dispose();
});

test("onnx: runs of equal shapes have their own elements, and leave nothing", async () => {
  using model = await onnx.load(modelBytes(shaped), { device });
  const before = memory(device).tensors;
  for (let i = 0; i < 60; i++) {
    const rows = i < 6 ? 2 : 1 + i % 12;
    const data = Float32Array.from({ length: rows * 2 }, (_, k) => k <= i % 4 ? i : 0);
    using x = tensor(data, { shape: [rows, 2], device });
    const { y, mask, found } = model.run(x);
    assertEquals(y!.shape, [rows, 1, 2]);
    assertEquals([...y!.dataSync()], [...data]);
    assertEquals([...mask!.dataSync()], new Array(rows * 2).fill(2));
    assertEquals([...found!.dataSync()], [2, data.filter((value) => value !== 0).length]);
    for (const made of [y, mask, found]) made!.dispose();
  }
  // at most a mask for each of the shapes that are kept
  assertEquals(memory(device).tensors <= before + 8 * 2, true);
  model.dispose();
  assertEquals(memory(device).tensors <= before, true);
});

test("onnx: Shape of an input whose sizes the file fixes is folded at once", async () => {
  const bytes = modelBytes({
    node: [
      node("Shape", ["x"], ["s"]),
      node("Reshape", ["x", "s"], ["y"]),
      node("Abs", ["s"], ["t"]),
    ],
    input: [valueInfo("x", "float32", [2, 3])],
    output: [...info("y"), valueInfo("t", "int64")],
  });
  const graph = graphOf(decodeMessage("Model", bytes).graph!, {
    file: "test",
    opsets: new Map([["", 17]]),
  });
  const program = new Program(graph, new Place(device, "float32"), "test");
  assertEquals(program.plan(graph).steps.map(({ node: n }) => n.op), ["Reshape"]);
  using model = await onnx.load(bytes, { device });
  using x = zeros([2, 3], { device });
  const { y, t } = model.run(x);
  assertEquals([y!.shape, [...t!.dataSync()]], [[2, 3], [2, 3]]);
  y!.dispose();
  t!.dispose();
});
