// More than 2^31 elements: 32-bit counts or offsets anywhere would show here. Runs where a device
// has the memory.
import { assertEquals } from "@std/assert";
import { devices, full, gatherRows, ones, rand, scope, sum, tensor, zeros } from "../../mod.ts";

const gpu = devices().find((d) => d.device !== "cpu" && d.freeMemory > 60e9);
const device = gpu?.device ?? "cpu";
const n = 2 ** 31 + 1027;

function large(name: string, fn: () => void) {
  Deno.test({ name: `${name} takes more than 2^31 elements`, ignore: !gpu, fn: () => scope(fn) });
}

large("fill, add and sum", () => {
  const x = full([n], 2, { device });
  const y = x.add(x);
  assertEquals(y.view(n - 3, [3]).dataSync(), Float32Array.of(4, 4, 4));
  assertEquals(y.view(2 ** 31 - 2, [4]).dataSync(), Float32Array.of(4, 4, 4, 4));
  assertEquals(y.to("float64").sum().itemSync(), 4 * n);
});

large("broadcasting", () => {
  const x = zeros([2, n], { device, dtype: "uint8" });
  const y = x.eq(tensor([[0], [1]], { device, dtype: "uint8" }));
  assertEquals(y.view(n - 1, [2]).dataSync(), Uint8Array.of(1, 0));
  assertEquals(y.view(2 * n - 1, [1]).dataSync(), Uint8Array.of(0));
});

large("argmax and max", () => {
  const x = zeros([2, n / 2 + 0.5], { device });
  const row = x.shape[1]!;
  x.view(2 * row - 2, [1]).fill(5);
  assertEquals(x.max().itemSync(), 5);
  assertEquals(x.argmax(1).dataSync(), Int32Array.of(0, row - 2));
});

large("column sums", () => {
  const x = ones([2 ** 16 + 1, 2 ** 15 + 1], { device });
  const y = sum(x, 0);
  assertEquals(y.size, 2 ** 15 + 1);
  assertEquals(y.max().itemSync(), 2 ** 16 + 1);
  assertEquals(y.min().itemSync(), 2 ** 16 + 1);
});

large("softmax", () => {
  const x = zeros([2 ** 26 + 1, 33], { device });
  const y = x.softmax();
  assertEquals(
    y.view(y.size - 33, [33]).dataSync(),
    new Float32Array(33).fill(Math.fround(1 / 33)),
  );
});

large("transpose", () => {
  const [rows, cols] = [2 ** 16 + 1, 2 ** 15 + 1];
  const x = zeros([rows, cols], { device });
  x.view((rows - 1) * cols + 7, [1]).fill(3);
  const y = x.transpose();
  assertEquals(y.view(7 * rows + rows - 2, [3]).dataSync(), Float32Array.of(0, 3, 0));
  assertEquals(y.sum().itemSync(), 3);
});

large("gatherRows", () => {
  const rows = 2 ** 22 + 3;
  const x = zeros([rows, 513], { device, dtype: "uint8" });
  x.view((rows - 1) * 513, [513]).fill(255);
  const y = gatherRows(x, tensor([rows - 1, 0], { device, dtype: "int32" }), {
    dtype: "float32",
    scale: 1 / 255,
  });
  assertEquals(y.sum(1).dataSync(), Float32Array.of(513, 0));
});

large("matmul", () => {
  const [m, k] = [2 ** 16 + 3, 2 ** 15 + 1];
  const a = full([m, 1], 2, { device }), b = full([1, k], 3, { device });
  const c = a.matmul(b);
  assertEquals(c.view(c.size - 2, [2]).dataSync(), Float32Array.of(6, 6));
  assertEquals(c.min().itemSync(), 6);
  // And as an operand: c [m, k] times ones.
  assertEquals(c.matmul(ones([k, 1], { device })).max().itemSync(), 6 * k);
  assertEquals(a.matmul(c, { transposeA: true }).min().itemSync(), 12 * m);
});

large("rand", () => {
  const x = rand([n], { device });
  const mean = x.mean().itemSync();
  assertEquals(Math.abs(mean - 0.5) < 1e-4, true);
  assertEquals(x.max().itemSync() < 1, true);
});

large("cumsum", () => {
  const x = full([n], 1, { device, dtype: "int32" });
  assertEquals(x.cumsum(0).view(n - 2, [2]).dataSync(), Int32Array.of(n - 1 | 0, n | 0));
});

large("indexSelect and scatterAdd", () => {
  const [rows, cols] = [2 ** 16 + 1, 2 ** 15 + 1];
  const x = zeros([rows, cols], { device, dtype: "uint8" });
  x.view(rows * cols - 1, [1]).fill(5);
  const index = tensor([0, rows - 1], { device, dtype: "int32" });
  assertEquals(x.indexSelect(0, index).view(2 * cols - 2, [2]).dataSync(), Uint8Array.of(0, 5));
  const place = tensor([[cols - 1, cols - 1]], { device, dtype: "int32" });
  const y = zeros([rows, cols], { device }).scatterAdd(1, place, ones([1, 2], { device }));
  assertEquals(y.view(cols - 2, [2]).dataSync(), Float32Array.of(0, 2));
});
