// Sums over axes that are no neighbours, and over those of images in either memory format.
import { assertEquals } from "@std/assert";
import {
  arange,
  autocast,
  type Axes,
  devices,
  grad,
  logSumExp,
  mean,
  norm,
  sum,
  type Tensor,
  tensor,
  variance,
} from "../../../mod.ts";
import { cleanTest, nativeCalls } from "../../_helpers.ts";

const copies = ["cdn_transpose", "cdn_strided_copy", "cdn_copy"];

for (const { device } of devices()) {
  const on = (numbers: number[][][]) => tensor(numbers, { device });
  // The first pass gives 1e8 + 1 and -1e8 + 1, which float32 cannot hold.
  const x = () => on([[[1e8, 1], [0, 0]], [[-1e8, 1], [0, 0]]]);

  cleanTest(`reduce: nothing is rounded between the passes of a sum, on ${device}`, () => {
    assertEquals(sum(x(), [0, 2]).dataSync(), Float32Array.of(2, 0));
    assertEquals(mean(x(), [0, 2]).dataSync(), Float32Array.of(0.5, 0));
    assertEquals(sum(x(), [0, -1], { keepDims: true }).shape, [1, 2, 1]);
    for (const dtype of ["float16", "bfloat16"] as const) {
      const y = on([[[1024, 1], [0, 0]], [[-1024, 1], [0, 0]]]).mul(16).to(dtype);
      assertEquals(Array.from(sum(y, [0, 2]).dataSync()), [32, 0]);
      const half = autocast(dtype, () => sum(y, [0, 2]));
      assertEquals([half.dtype, ...half.dataSync()], ["float32", 32, 0]);
    }
    // Three runs of axes, and whole numbers, which stay in int32.
    const many = x().reshape([2, 1, 2, 1, 2]);
    assertEquals(sum(many, [0, 2, 4]).dataSync(), Float32Array.of(2));
    const whole = sum(x().to("int32"), [0, 2]);
    assertEquals([whole.dtype, ...whole.dataSync()], ["int32", 2, 0]);
  });

  cleanTest(
    `reduce: gradients of sums over axes apart have the inputs' dtype, on ${device}`,
    () => {
      for (const dtype of ["float32", "float64", "bfloat16"] as const) {
        const y = x().to(dtype).detach();
        y.requiresGrad = true;
        const [first] = grad(mean(y.mul(y), [0, 2]).sum(), [y], { createGraph: true });
        assertEquals([first!.dtype, ...first!.dataSync().slice(1, 4)], [dtype, 0.5, 0, 0]);
        const [second] = grad(sum(first!, [0, 2]).sum(), [y]);
        assertEquals(Array.from(second!.dataSync()), new Array(8).fill(0.5));
      }
    },
  );

  cleanTest(`reduce: what is no plain sum takes axes apart in one pass, on ${device}`, () => {
    assertEquals(
      variance(on([[[1e8, 8]], [[1e8, 8]]]), [0, 2], { correction: 0 }).dataSync(),
      Float32Array.of((1e8 - 8) ** 2 / 4),
    );
    assertEquals(norm(on([[[3e30]], [[4e30]]]), [0, 2]).dataSync(), Float32Array.of(5e30));
    assertEquals(
      logSumExp(on([[[1000, 0]], [[1000, 0]]]), [0, 2]).dataSync(),
      Float32Array.of(1000 + Math.LN2),
    );
  });

  cleanTest(`reduce: sums read images as they lie in memory, on ${device}`, () => {
    const images = arange(2 * 3 * 4 * 5).reshape([2, 3, 4, 5]).to(device);
    const last = images.to({ format: "channelsLast" });
    const direct: (Axes | undefined)[] = [undefined, 1, [2, 3], [0, 2, 3], [0, 1], [1, 2, 3]];
    for (const op of [sum, mean]) {
      for (const keepDims of [false, true]) {
        const of = (x: Tensor, axes: Axes | undefined) => op(x, axes, { keepDims });
        const check = (axes: Axes | undefined, y: Tensor) => {
          const wanted = of(images, axes);
          assertEquals([y.shape, y.dataSync()], [wanted.shape, wanted.dataSync()], `axes ${axes}`);
        };
        for (const axes of direct) {
          let y = last;
          const called = nativeCalls(copies, () => y = of(last, axes), device);
          assertEquals(called.map(({ name }) => name), [], `axes ${axes}`);
          check(axes, y);
        }
        for (const axes of [[], 0, 2, 3, [0, 2], [0, 3], [1, 2], [0, 1, 3]]) {
          check(axes, of(last, axes));
        }
      }
    }
    const calls = nativeCalls(["cdn_sum"], () => sum(last, [0, 2, 3]), device);
    assertEquals(calls.length, 1);
  });
}
