import { assertEquals, assertRejects } from "@std/assert";
import { CudenoError } from "../../mod.ts";
import { evaluated, type Given } from "./_evaluated.ts";
import { node } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

const floats = (shape: number[], ...data: number[]): Given => ["float32", shape, data];
const ints = (shape: number[], ...data: number[]): Given => ["int64", shape, data];

/** Of one node with inputs a, b, …. */
function one(
  op: string,
  given: Given[],
  attributes: Record<string, unknown> = {},
  outputs = 1,
  version = 18,
) {
  const inputs = given.map((value, i) => ["abcdef"[i]!, value] as const);
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const nodes = [node(op, inputs.map(([name]) => name), names, attributes)];
  return evaluated(nodes, Object.fromEntries(inputs), names, version);
}

test("onnx: TopK along an axis, either end; of equal ones the first", async () => {
  const x = floats([3, 2], 5, 1, 5, 3, 2, 3);
  assertEquals(await one("TopK", [x, ints([1], 2)], { axis: 0 }, 2), [
    [[2, 2], [5, 3, 5, 3]],
    [[2, 2], [0, 1, 1, 2]],
  ]);
  assertEquals(await one("TopK", [x, ints([1], 1)], { axis: -2, largest: 0 }, 2), [
    [[1, 2], [2, 1]],
    [[1, 2], [2, 0]],
  ]);
  assertEquals((await one("TopK", [x], { k: 1 }, 2, 9))[0], [[3, 1], [5, 5, 3]]);
});

test("onnx: ScatterElements and ScatterND reduce what meets in one place", async () => {
  const x = floats([3], 2, 2, 2), index = ints([3], 0, 0, -1), updates = floats([3], 3, 4, 1);
  const of = async (reduction?: string) =>
    (await one("ScatterElements", [x, index, updates], reduction ? { reduction } : {}))[0]![1];
  assertEquals(await of(), [4, 2, 1]);
  assertEquals(await of("add"), [9, 2, 3]);
  assertEquals(await of("mul"), [24, 2, 2]);
  assertEquals(await of("max"), [4, 2, 2]);
  assertEquals(await of("min"), [2, 2, 1]);
  // rows of a matrix, and elements, as int64
  const table = floats([2, 2], 1, 2, 3, 4), rows = floats([2, 2], 10, 20, 30, 40);
  const nd = (index: Given, updates: Given, more = {}) =>
    one("ScatterND", [table, index, updates], more);
  assertEquals(await nd(ints([2, 1], -1, 1), rows), [[[2, 2], [1, 2, 30, 40]]]);
  assertEquals((await nd(ints([2, 1], 1, 1), rows, { reduction: "add" }))[0]![1], [1, 2, 43, 64]);
  const two = floats([2], 7, 8);
  assertEquals((await nd(ints([2, 2], 0, 1, 1, 0), two))[0]![1], [1, 7, 8, 4]);
  assertEquals((await nd(ints([2, 2], 0, 1, 0, 1), two, { reduction: "mul" }))[0]![1], [
    1,
    2 * 7 * 8,
    3,
    4,
  ]);
  await assertRejects(() => nd(ints([2, 1], 0, 2), rows), CudenoError);
});

test("onnx: ScatterND and GatherND of an index that is on the device", async () => {
  const n = 1100; // more than the host computes
  const index = Array.from({ length: n }, (_, i) => [i % 2 ? i - n : i, i % 3]).flat();
  const table = Array.from({ length: n * 3 }, (_, i) => i);
  const want = Array.from({ length: n }, (_, i) => 3 * i + i % 3);
  const given = [floats([n, 3], ...table), ints([n, 2], ...index)];
  assertEquals(await one("GatherND", given), [[[n], want]]);
  const changed = [...table];
  for (const at of want) changed[at] = -at;
  const updates = floats([n], ...want.map((at) => -at));
  assertEquals(await one("ScatterND", [...given, updates]), [[[n, 3], changed.map((v) => v + 0)]]);
});

test("onnx: GatherND within batches, GatherElements from the end", async () => {
  const x = floats([2, 2, 2], 0, 1, 2, 3, 4, 5, 6, 7);
  assertEquals(await one("GatherND", [x, ints([2, 1], 1, -2)], { batch_dims: 1 }), [
    [[2, 2], [2, 3, 4, 5]],
  ]);
  assertEquals(await one("GatherND", [x, ints([1, 2], 0, 1)]), [[[1, 2], [2, 3]]]);
  const at = ints([1, 2], -1, 0);
  assertEquals(await one("GatherElements", [floats([2, 2], 1, 2, 3, 4), at]), [[[1, 2], [3, 2]]]);
});

test("onnx: OneHot on a new axis; NonZero, Compress, Unique", async () => {
  const index = ints([3], 2, -1, 3); // the last is outside
  const values = floats([2], -1, 5);
  assertEquals(await one("OneHot", [index, ints([], 3), values], { axis: 0 }), [
    [[3, 3], [-1, -1, -1, -1, -1, -1, 5, 5, -1]],
  ]);
  assertEquals(await one("NonZero", [floats([2, 2], 1, 0, NaN, 3)]), [
    [[2, 3], [0, 1, 1, 0, 0, 1]],
  ]);
  const x = floats([3, 2], 1, 2, 3, 4, 5, 6);
  const chosen: Given = ["bool", [2], [0, 1]]; // shorter than the axis
  assertEquals(await one("Compress", [x, chosen], { axis: 0 }), [[[1, 2], [3, 4]]]);
  assertEquals(await one("Compress", [x, chosen]), [[[1], [2]]]);
  assertEquals(await one("Unique", [floats([4], 2, 1, 2, 0)], { sorted: 0 }, 4), [
    [[3], [2, 1, 0]],
    [[3], [0, 1, 3]],
    [[4], [0, 1, 0, 2]],
    [[3], [2, 1, 1]],
  ]);
  const columns = floats([2, 3], 3, 1, 3, 0, 2, 0);
  assertEquals((await one("Unique", [columns], { axis: 1 }, 3)).map(([, list]) => list), [
    [1, 3, 2, 0],
    [1, 0],
    [1, 0, 1],
  ]);
});

test("onnx: CumSum, Trilu, ReverseSequence", async () => {
  const x = floats([3], 1, 2, 3);
  const both = { exclusive: 1, reverse: 1 };
  assertEquals(await one("CumSum", [x, ints([], 0)], both), [[[3], [5, 3, 0]]]);
  const square = ints([2, 2], 1, 2, 3, 4);
  assertEquals(await one("Trilu", [square, ints([], 1)]), [[[2, 2], [0, 2, 0, 0]]]);
  assertEquals(await one("Trilu", [square], { upper: 0 }), [[[2, 2], [1, 0, 3, 4]]]);
  const lines = floats([2, 3], 1, 2, 3, 4, 5, 6);
  const axes = { batch_axis: 0, time_axis: 1 };
  assertEquals(await one("ReverseSequence", [lines, ints([2], 2, 3)], axes), [
    [[2, 3], [2, 1, 3, 6, 5, 4]],
  ]);
});

test("onnx: NonMaxSuppression by class, corners in any order, strict scores", async () => {
  // the second overlaps the first by 0.6, the third is elsewhere
  const corners = floats([1, 3, 4], 0, 0, 1, 1, 1, 1.25, 0, 0.25, 5, 5, 6, 6);
  const centered = floats([1, 3, 4], 0.5, 0.5, 1, 1, 0.75, 0.5, 1, 1, 5.5, 5.5, 1, 1);
  const scores = floats([1, 2, 3], 0.8, 0.9, 0.5, 0.6, 0.2, 0.7);
  const run = async (boxes: Given, most: number, least: number, center: number) => {
    const given = [boxes, scores, ints([1], most), floats([1], 0.55), floats([1], least)];
    const [[shape, list]] = await one("NonMaxSuppression", given, {
      center_point_box: center,
    }) as [[number[], number[]]];
    return Array.from({ length: shape[0]! }, (_, i) => list.slice(3 * i, 3 * i + 3).join(""));
  };
  for (const [boxes, center] of [[corners, 0], [centered, 1]] as const) {
    assertEquals(await run(boxes, 9, 0.1, center), ["001", "002", "012", "010"]);
    assertEquals(await run(boxes, 1, 0.1, center), ["001", "012"]);
    assertEquals(await run(boxes, 9, 0.5, center), ["001", "012", "010"]);
    assertEquals(await run(boxes, 0, 0, center), []);
  }
});

test("onnx: RoiAlign of a ramp gives the middles of the bins", async () => {
  const ramp = floats([1, 1, 4, 8], ...Array.from({ length: 32 }, (_, i) => i % 8));
  const given = [ramp, floats([1, 4], 0, 0, 8, 4), ints([1], 0)];
  const size = { output_height: 1, output_width: 2, spatial_scale: 0.5 };
  const at = async (attributes: Record<string, unknown>, version: number) =>
    (await one("RoiAlign", given, { ...size, ...attributes }, 1, version))[0]![1];
  // 4 wide after scaling: bins of 2, middles at 1 and 3
  assertEquals(await at({ sampling_ratio: 2 }, 10), [1, 3]);
  assertEquals(await at({}, 16), [0.5, 2.5]); // half a pixel less
  assertEquals(await at({ coordinate_transformation_mode: "output_half_pixel" }, 16), [1, 3]);
  // the largest of four pixels by their weights, 1/4 each
  assertEquals(await at({ mode: "max", sampling_ratio: 1 }, 16), [0.25, 0.75]);
});

test("onnx: MaxUnpool, MaxRoiPool, Det, bits", async () => {
  const x = floats([1, 1, 1, 2], 7, 8);
  const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
  assertEquals(await one("MaxUnpool", [x, ints([1, 1, 1, 2], 5, 2)], attributes), [
    [[1, 1, 2, 4], [0, 0, 8, 0, 0, 7, 0, 0]],
  ]);
  const image = floats([1, 1, 2, 3], 1, 5, 2, 4, 3, 6);
  assertEquals(
    (await one("MaxRoiPool", [image, floats([1, 5], 0, 0, 0, 1, 1)], { pooled_shape: [1, 2] }))[0],
    [[1, 1, 1, 2], [4, 5]],
  );
  assertEquals(await one("Det", [floats([2, 2, 2], 0, 2, 3, 4, 1, 2, 2, 4)]), [[[2], [-6, 0]]]);
  const bytes: Given = ["uint8", [2], [200, 3]], by: Given = ["uint8", [2], [1, 1]];
  assertEquals((await one("BitShift", [bytes, by], { direction: "LEFT" }))[0]![1], [144, 6]);
  assertEquals((await one("BitShift", [bytes, by], { direction: "RIGHT" }))[0]![1], [100, 1]);
  const a: Given = ["int32", [2], [-4, 6]], b: Given = ["int32", [2], [7, 3]];
  assertEquals((await one("BitwiseAnd", [a, b]))[0]![1], [4, 2]);
  assertEquals((await one("BitwiseXor", [a, b]))[0]![1], [-5, 5]);
  assertEquals((await one("BitwiseNot", [["uint8", [1], [5]]]))[0]![1], [250]);
});
