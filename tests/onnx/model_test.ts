import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ArgumentError,
  DataError,
  DTypeError,
  memory,
  onnx,
  resetPeakMemory,
  scope,
  ShapeError,
  synchronize,
  type Tensor,
  tensor,
  type TensorOptions,
} from "../../mod.ts";
import { encodeMessage } from "../../lib/onnx/_wire.ts";
import { tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

const device = "cpu";
const on = (data: Parameters<typeof tensor>[0], options: TensorOptions = {}) =>
  tensor(data, { device, ...options });
const load = (...args: Parameters<typeof modelBytes>) => onnx.load(modelBytes(...args), { device });

test("onnx: a model runs by name or in order, and frees what it made", async () => {
  const graph = {
    node: [
      node("Div", ["sum", "two"], ["half"]), // not in order
      node("Add", ["x", "w"], ["sum"]),
      node("Identity", ["half"], ["same"]),
    ],
    initializer: [
      tensorProto("w", "float32", [2], [10, 20]),
      tensorProto("two", "float32", [], [2]),
    ],
    input: [valueInfo("x", "float32", ["N", 2])],
    output: [valueInfo("half", "float32", ["N", 2]), valueInfo("same", "float32")],
  };
  const more = { producerName: "tests", metadataProps: [{ key: "classes", value: "cat,dog" }] };
  using model = await load(graph, 17, more);
  assertEquals(model.inputs, [{ name: "x", type: "float32", shape: ["N", 2] }]);
  assertEquals(model.outputs.map(({ name }) => name), ["half", "same"]);
  assertEquals(model.metadata, { producer: "tests", classes: "cat,dog" });
  assertEquals(model.opset.get(""), 17);
  using x = on([[2, 4], [6, 8]]);
  const before = memory(device).tensors;
  for (const run of [() => model.run({ x }), () => model.run(x)]) {
    const { half, same } = run();
    assertEquals([...half!.dataSync()], [6, 12, 8, 14]);
    half!.dispose(); // the other one has memory of its own name
    assertEquals([...same!.dataSync()], [6, 12, 8, 14]);
    same!.dispose();
  }
  assertEquals(memory(device).tensors <= before + 1, true); // w, by the first run
  assertEquals(x.disposed, false);
  const state = scope(() => Object.entries(model.stateDict()).map(([k, v]) => [k, v.shape]));
  assertEquals(state, [["w", [2]], ["two", []]]);

  assertThrows(
    () => model.run({}),
    ArgumentError,
    '"x" is missing; wanted are "x": float32 [N, 2]',
  );
  assertThrows(() => model.run({ x, y: x }), ArgumentError, 'no input "y"');
  assertThrows(() => model.run(x, x), ArgumentError, "2 inputs were given");
  using bad = on([[1, 2, 3]]);
  assertThrows(() => model.run({ x: bad }), ShapeError, "has the shape [1, 3]");
  using whole = on([[1, 2]], { dtype: "int32" });
  assertThrows(() => model.run({ x: whole }), DTypeError, "is int32, not float32");
});

test("onnx: shape arithmetic is exact in int64 and never leaves the host", async () => {
  using model = await load({
    node: [
      node("Shape", ["x"], ["s"]),
      node("Gather", ["s", "zero"], ["n"]),
      node("Mul", ["n", "big"], ["product"]), // beyond int32
      node("Div", ["product", "big"], ["back"]),
      node("Unsqueeze", ["back", "axes"], ["first"]),
      node("Concat", ["first", "rest"], ["shape"], { axis: 0 }),
      node("Reshape", ["x", "shape"], ["y"]),
    ],
    initializer: [
      tensorProto("zero", "int64", [], [0]),
      tensorProto("big", "int64", [], [2 ** 40]),
      tensorProto("axes", "int64", [1], [0]),
      tensorProto("rest", "int64", [1], [-1]),
    ],
    input: [valueInfo("x", "float32")],
    output: [valueInfo("y", "float32")],
  });
  using x = on([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]);
  using y = model.run(x).y!;
  assertEquals(y.shape, [2, 4]);
});

test("onnx: constants are folded, and initializers that are inputs may be given", async () => {
  using model = await load({
    node: [
      node("Transpose", ["w"], ["wt"]),
      node("Neg", ["wt"], ["minus"]),
      node("Add", ["x", "minus"], ["y"]),
      node("Abs", ["x"], ["unused"]),
    ],
    initializer: [tensorProto("w", "float32", [2, 2], [1, 2, 3, 4])],
    input: [valueInfo("x", "float32"), valueInfo("w", "float32", [2, 2])],
    output: [valueInfo("y", "float32")],
  }, 7);
  assertEquals(model.inputs.map(({ name }) => name), ["x"]);
  using x = on([[0, 0], [0, 0]]);
  using w = on([[5, 6], [7, 8]]);
  const run = (inputs: Record<string, Tensor>) => scope(() => [...model.run(inputs).y!.dataSync()]);
  assertEquals(run({ x }), [-1, -3, -2, -4]);
  assertEquals(run({ x, w }), [-5, -7, -6, -8]);
  assertEquals(run({ x }), [-1, -3, -2, -4]);
});

test("onnx: another dtype than the file's, and integers beyond int32", async () => {
  const graph = {
    node: [node("Mul", ["x", "w"], ["y"]), node("Add", ["i", "large"], ["j"])],
    initializer: [
      tensorProto("w", "float32", [2], [0.1, 3]),
      tensorProto("large", "int64", [2], [2 ** 31, 1]),
    ],
    input: [valueInfo("x", "float32", [2]), valueInfo("i", "int64", [2])],
    output: [valueInfo("y", "float32")],
  };
  using half = await onnx.load(modelBytes(graph), { device, dtype: "float16" });
  using x = on([1, 2]);
  using i = on([1, 2], { dtype: "int32" });
  using y = half.run(x, i).y!;
  assertEquals(y.dtype, "float16");
  assertAlmostEquals(y.dataSync()[0]!, 0.1, 1e-4);
  using whole = await load({ ...graph, output: [valueInfo("j", "int64")] });
  assertThrows(() => whole.run(x, i), DTypeError, 'node "j" (Add): found 2147483648 among int64');
});

test("onnx: what is wrong with a file is said when it is loaded", async () => {
  const [input, output] = [[valueInfo("x", "float32")], [valueInfo("y", "float32")]];
  const refused = (
    message: string,
    nodes: Parameters<typeof modelBytes>[0]["node"],
    version = 17,
  ) => assertRejects(() => load({ node: nodes!, input, output }, version), DataError, message);
  const circle = [node("Add", ["x", "b"], ["y"]), node("Abs", ["y"], ["b"])];
  await refused("need one another's results", circle);
  await refused('takes "z", which nothing makes', [node("Add", ["x", "z"], ["y"])]);
  await refused('makes "y", which is there', [
    node("Abs", ["x"], ["y"]),
    node("Abs", ["x"], ["y"]),
  ]);
  await refused('"y" is made by nothing', []);
  await refused("opset 99; understood", [], 99);
  await assertRejects(() => onnx.load(new Uint8Array()), DataError, "no graph");
  const error = await assertRejects(
    () =>
      load({
        node: [
          node("Nope", ["x"], ["a"]),
          node("If", ["a"], ["b"], { then_branch: { node: [node("Nope", ["x"], ["c"])] } }),
          node("Odd", ["b"], ["y"]),
        ],
        input,
        output,
      }),
    onnx.MissingOperatorError,
    'Nope (opset 17) in "a", "c"',
  );
  assertEquals(error.missing.some(({ op, nodes }) => op === "Odd" && nodes[0] === "y"), true);
});

test("onnx: external data lie in the model's folder, or are refused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const external = (location: string, more: Record<string, string> = {}) => {
      const entries = { location, ...more };
      const bytes = modelBytes({
        node: [node("Add", ["x", "w"], ["y"])],
        initializer: [{
          name: "w",
          dataType: 1,
          dims: [2],
          dataLocation: 1,
          externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
        }],
        input: [valueInfo("x", "float32")],
        output: [valueInfo("y", "float32")],
      });
      return bytes;
    };
    await Deno.mkdir(`${folder}/m`);
    await Deno.writeFile(`${folder}/m/w.bin`, new Uint8Array(Float32Array.of(9, 1, 2).buffer));
    await Deno.writeFile(`${folder}/secret`, new Uint8Array(8));
    await Deno.symlink(`${folder}/secret`, `${folder}/m/link`);
    const path = `${folder}/m/model.onnx`;
    await Deno.writeFile(path, external("w.bin", { offset: "4", length: "8" }));
    {
      using model = await onnx.load(path, { device });
      using x = on([1, 1]);
      using y = model.run(x).y!;
      assertEquals([...y.dataSync()], [2, 3]);
    }
    const refused = async (
      message: string,
      location: string,
      more: Record<string, string> = {},
    ) => {
      await Deno.writeFile(path, external(location, more));
      await assertRejects(() => onnx.load(path, { device }), DataError, message);
    };
    await refused("not within the model's folder", "../secret");
    await refused("not within the model's folder", `${folder}/secret`);
    await refused("not within the model's folder", "");
    await refused("a link out of the model's folder", "link");
    await refused("is missing", "nothing.bin");
    await refused("which has 12", "w.bin", { offset: "8", length: "8" });
    await refused("which has 12", "w.bin", { offset: "4", length: "99999999999999" });
    await refused("no size", "w.bin", { offset: "-4" });
    await refused("expected 8", "w.bin");
    await assertRejects(
      () => onnx.load(external("w.bin")),
      DataError,
      "load the model by its path",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("onnx: intermediate tensors are freed as soon as nobody needs them", async () => {
  const n = 1 << 18;
  const chain = Array.from({ length: 20 }, (_, i) => node("Neg", [`v${i}`], [`v${i + 1}`]));
  using model = await load({
    node: chain,
    input: [valueInfo("v0", "float32")],
    output: [valueInfo("v20", "float32")],
  });
  using x = on(new Float32Array(n));
  await synchronize(device);
  resetPeakMemory(device);
  const before = memory(device).live;
  model.run(x).v20!.dispose();
  const peak = memory(device).peak - before;
  assertEquals(peak <= 3 * 4 * n, true, `${peak} bytes`);
});

test("onnx: encoded bytes of a model are those of its fields", () => {
  assertEquals([...encodeMessage("OperatorSetId", { domain: "a", version: 17 })], [
    10,
    1,
    97,
    16,
    17,
  ]);
});
