import { assertEquals } from "@std/assert";
import { onnx, scope, type Tensor, tensor } from "../../mod.ts";
import type { ElementType } from "../../lib/onnx/_elements.ts";
import { tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

const device = "cpu";

type Given = [type: ElementType, shape: number[], values: number[]];

/** What an operator gives: the first input is given at the run, the others are constants. */
async function run(
  op: string,
  inputs: (Given | undefined)[],
  attributes: Record<string, unknown> = {},
  { outputs = 1, domain = "", version = 21 } = {},
): Promise<number[][]> {
  const names = inputs.map((given, i) => given ? `x${i}` : "");
  const ys = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const bytes = modelBytes(
    {
      node: [{ ...node(op, names, ys, attributes), domain }],
      initializer: inputs.slice(1).flatMap((given, i) =>
        given ? [tensorProto(`x${i + 1}`, ...given)] : []
      ),
      input: [valueInfo("x0", inputs[0]![0])],
      output: ys.map((name) => ({ name })),
    },
    version,
    { opsetImport: [{ domain: "", version }, { domain: "com.microsoft", version: 1 }] },
  );
  using model = await onnx.load(bytes, { device });
  const [type, shape, values] = inputs[0]!;
  const dtype = type === "int8" || type === "int16" || type === "uint16" ? "int32" : type;
  return scope(() => {
    const x: Tensor = tensor(values, { shape, dtype: dtype as "float32", device });
    return Object.values(model.run(x)).map((y) => [...y.dataSync()]);
  });
}

test("onnx: QuantizeLinear rounds halves to even, and stops at the ends", async () => {
  const x: Given = ["float32", [7], [0.5, 1.5, 2.5, -0.5, -1.5, 1000, -1000]];
  const one: Given = ["float32", [], [1]];
  assertEquals(await run("QuantizeLinear", [x, one], {}, { version: 13 }), [[
    0,
    2,
    2,
    0,
    0,
    255,
    0,
  ]]);
  assertEquals(await run("QuantizeLinear", [x, one, ["int8", [], [-1]]]), [
    [-1, 1, 1, -1, -3, 127, -128],
  ]);
  const big: Given = ["float32", [3], [1e6, -40000, 7]];
  assertEquals(await run("QuantizeLinear", [big, one], { output_dtype: 4 }), [[65535, 0, 7]]);
  assertEquals(await run("QuantizeLinear", [big, one, ["int16", [], [0]]]), [[32767, -32768, 7]]);
});

test("onnx: scales are one, one along an axis, or one a block", async () => {
  const x: Given = ["float32", [2, 3], [2, 4, 6, 8, 10, 12]];
  const perAxis: (Given | undefined)[] = [["float32", [3], [1, 2, 3]], ["uint8", [3], [0, 1, 2]]];
  assertEquals(await run("QuantizeLinear", [x, ...perAxis]), [[2, 3, 4, 8, 6, 6]]);
  const rows: (Given | undefined)[] = [["float32", [2], [2, 4]], ["uint8", [2], [1, 0]]];
  assertEquals(await run("QuantizeLinear", [x, ...rows], { axis: 0 }), [[2, 3, 4, 2, 2, 3]]);
  const q: Given = ["int8", [2, 3], [-128, 0, 127, 1, 2, 3]];
  assertEquals(
    await run("DequantizeLinear", [q, ["float32", [2], [0.5, 2]], ["int8", [2], [2, 1]]], {
      axis: -2,
    }),
    [[-65, -1, 62.5, 0, 2, 4]],
  );
  // blocks of two along the last axis: the last one is short
  const blocks: Given = ["float32", [2, 2], [1, 10, 2, 20]];
  assertEquals(await run("DequantizeLinear", [q, blocks], { axis: 1, block_size: 2 }), [
    [-128, 0, 1270, 2, 4, 60],
  ]);
});

test("onnx: DynamicQuantizeLinear takes the range of the data, and 0", async () => {
  const made = await run("DynamicQuantizeLinear", [["float32", [3], [-1, 0, 4]]], {}, {
    outputs: 3,
  });
  assertEquals(made, [[0, 51, 255], [Math.fround(5 / 255)], [51]]);
});

test("onnx: products of integers are exact beyond float32's digits", async () => {
  const k = 2048; // 255 * 127 * 2048 + 1 has 27 bits, 24 are a float32's
  const a: Given = ["uint8", [1, k], new Array<number>(k).fill(255).with(0, 254)];
  const b: Given = ["int8", [k, 1], new Array<number>(k).fill(127)];
  assertEquals(await run("MatMulInteger", [a, b]), [[(255 * k - 1) * 127]]);
  const zeros = [["uint8", [2], [1, 2]], ["int8", [2], [1, 0]]] as Given[];
  const small: Given[] = [
    ["uint8", [2, 2], [2, 3, 4, 5]],
    ["int8", [2, 2], [2, 3, 4, 5]],
    ...zeros,
  ];
  // [[1, 2], [2, 3]] by [[1, 3], [3, 5]]
  assertEquals(await run("MatMulInteger", small), [[7, 13, 11, 21]]);
});

test("onnx: QLinearConv has a scale for each kernel, uneven pads and a bias", async () => {
  const x: Given = ["uint8", [1, 1, 2, 2], [3, 5, 7, 9]]; // less 1: 2 4 6 8, at half: 1 2 3 4
  const w: Given = ["int8", [2, 1, 1, 2], [1, 2, -1, 3]];
  const made = await run("QLinearConv", [
    ...[x, ["float32", [], [0.5]], ["uint8", [], [1]]] as Given[],
    ...[w, ["float32", [2], [1, 2]], ["int8", [2], [0, 0]]] as Given[],
    ...[["float32", [], [0.25]], ["uint8", [], [10]], ["int32", [2], [2, -4]]] as Given[],
  ], { pads: [0, 0, 0, 1] });
  // kernel 0: (sums + 2) 0.5: (10 + 2)/2 = 6, (4 + 2)/2 = 3, (22 + 2)/2 = 12, (8 + 2)/2 = 5
  // kernel 1: sums - 4: 10 - 4, -4 - 4, 18 - 4, -8 - 4
  assertEquals(made, [[34, 22, 58, 30, 34, 0, 66, 0]]);
  assertEquals(await run("ConvInteger", [x, w, ["uint8", [], [1]]]), [[10, 22, 10, 18]]);
});

test("onnx: com.microsoft's operators of quantised tensors", async () => {
  const more = { domain: "com.microsoft" };
  const half: Given = ["float32", [], [0.5]], zero: Given = ["uint8", [], [0]];
  const x: Given = ["uint8", [2], [4, 6]], y: Given = ["uint8", [2], [8, 2]];
  const pair = [x, half, zero, y, half, zero, half, zero];
  assertEquals(await run("QLinearAdd", pair, {}, more), [[12, 8]]);
  assertEquals(await run("QLinearMul", pair, {}, more), [[16, 6]]);
  const image: Given = ["uint8", [1, 1, 1, 2], [4, 7]]; // 2 and 3.5; 2.75 is 5.5 halves
  assertEquals(await run("QLinearGlobalAveragePool", [image, half, zero, half, zero], {}, more), [[
    6,
  ]]);
});
