// Slices, joins and selections beyond the table of cases: views, gradients past NaN, bad input, the
// native checks.
import { assert, assertEquals } from "@std/assert";
import {
  arange,
  chunk,
  concat,
  devices,
  flip,
  grad,
  noGrad,
  ones,
  pad,
  repeatInterleave,
  roll,
  scope,
  select,
  slice,
  split,
  stack,
  type Tensor,
  tensor,
  tile,
  tril,
  triu,
  where,
  zeros,
} from "../../../mod.ts";
import { writeLayout, writeWindow } from "../../../lib/core/layout.ts";
import { cleanTest, refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);

for (const device of names) {
  cleanTest(`view: its gradient goes to where it is in the tensor, on ${device}`, () => {
    const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], device, requiresGrad: true });
    const y = x.view(1, [2, 2]);
    y.mul(y).sum().backward();
    assertEquals([...x.grad!.dataSync()], [0, 4, 6, 8, 10, 0]);
    x.view(0, []).mul(3).backward(); // adds to it
    assertEquals([...x.grad!.dataSync()], [3, 4, 6, 8, 10, 0]);
    const [first] = grad(x.view(2, [3]).mul(x.view(0, [3])).sum(), [x], { createGraph: true });
    const [second] = grad(first!.view(0, [2]).sum(), [x]);
    assertEquals([...second!.dataSync()], [0, 0, 1, 1, 0, 0]);
    assert(!noGrad(() => x.view(0, [6])).requiresGrad);
    const last = x.reshape([1, 2, 3, 1]).to({ format: "channelsLast" });
    const [third] = grad(last.view(4, [2]).sum(), [x]);
    assertEquals([...third!.dataSync()], [0, 0, 0, 0, 1, 1]);
  });
}

cleanTest("view: what looks like PyTorch's is told of reshape()", () => {
  const x = zeros([4, 24]);
  for (const args of [[[6, 16]], [6, 16], [[6, 16], 0]]) {
    refuse(
      () => x.view(...args as [number, number[]]),
      "argument",
      "view: ",
      "offset",
      "reshape()",
    );
  }
  refuse(() => x.view([6, 16] as never, [2]), "argument", "view: ", "[6, 16] and [2]", "reshape()");
});

cleanTest("slice: one piece of memory is a view, anything else a copy", () => {
  const x = arange(24).reshape([4, 3, 2]);
  const views = [
    x.slice(0, 1, 3),
    x.select(0, 2),
    x.slice(0, 1, 2).slice(1, 1),
    x.slice(0, -1, undefined, 5),
    x.select(0, 1).select(0, 2).select(0, 1),
    ...x.split([1, 3]),
    ...x.chunk(2),
  ];
  const copies = [x.slice(1, 1, 2), x.select(1, 0), x.slice(0, 0, 4, 2), x.flip(0)];
  const before = copies.map((y) => [...y.dataSync()]);
  x.fill(7);
  for (const y of views) assert(y.dataSync().every((value) => value === 7));
  assertEquals(copies.map((y) => [...y.dataSync()]), before);
  assert(x.slice(1) === x && x.slice(0, 0, 100) === x);
  assertEquals(x.slice(0, 3, 1).shape, [0, 3, 2]);
  assertEquals(x.slice(2, 5, undefined, -3).shape, [4, 3, 1]);
});

cleanTest("split and chunk give the parts that PyTorch gives", () => {
  const sizes = (parts: Tensor[]) => parts.map((part) => part.shape[0]);
  assertEquals(sizes(split(zeros([7]), 3)), [3, 3, 1]);
  assertEquals(sizes(split(zeros([7]), 100)), [7]);
  assertEquals(sizes(split(zeros([0]), 3)), [0]);
  assertEquals(sizes(split(zeros([0]), 0)), [0]);
  assertEquals(sizes(split(zeros([3]), [0, 3, 0])), [0, 3, 0]);
  assertEquals(sizes(chunk(zeros([5]), 3)), [2, 2, 1]);
  assertEquals(sizes(chunk(zeros([6]), 4)), [2, 2, 2]);
  assertEquals(sizes(chunk(zeros([0]), 3)), [0, 0, 0]);
});

for (const device of names) {
  cleanTest(
    `where: what stands in the branch not taken does not reach gradients, on ${device}`,
    () => {
      const x = tensor([-1, 0, 4], { device, requiresGrad: true });
      const safe = where(x.gt(0), x.sqrt(), 0);
      assertEquals([...safe.dataSync()], [0, 0, 2]);
      const held = tensor([NaN, Infinity, 1], { device, requiresGrad: true });
      const [dx, dHeld] = grad(where(x.gt(0), x, held).sum(), [x, held]);
      assertEquals([[...dx!.dataSync()], [...dHeld!.dataSync()]], [[0, 0, 1], [1, 1, 0]]);
      // One tensor in both places gets both shares.
      const [both] = grad(where(x.gt(0), x, x).sum(), [x]);
      assertEquals([...both!.dataSync()], [1, 1, 1]);
      const [scaled] = grad(where(x.gt(0), x.mul(tensor([NaN, NaN, 3], { device })), 0).sum(), [x]);
      // as PyTorch: 0 times NaN
      assertEquals([...scaled!.dataSync()].map(Number.isNaN), [true, true, false]);
      assertEquals(scaled!.dataSync()[2], 3);
    },
  );

  cleanTest(`gradients of parts add up in the whole, on ${device}`, () => {
    const x = arange(0, 6, 1, { device }).reshape([2, 3]);
    x.requiresGrad = true;
    const [a, b, c] = split(x, 1, 1) as [Tensor, Tensor, Tensor];
    concat([a.mul(1), c.mul(3), a.mul(10)], 1).sum().backward();
    assertEquals([...x.grad!.dataSync()], [11, 0, 3, 11, 0, 3]);
    x.grad!.dispose();
    x.grad = null;
    b.sum().backward();
    x.slice(0, 0, 1).select(1, -1).sum().backward();
    assertEquals([...x.grad!.dataSync()], [0, 1, 1, 0, 1, 0]);
    x.grad!.dispose();
    // A gradient that is a view must not keep others from writing to theirs.
    const p = tensor([1, 2], { device, requiresGrad: true });
    const q = tensor([3, 4], { device, requiresGrad: true });
    concat([p, q]).mul(tensor([1, 2, 3, 4], { device })).sum().backward();
    noGrad(() => p.grad!.fill(0));
    assertEquals([[...p.grad!.dataSync()], [...q.grad!.dataSync()]], [[0, 0], [3, 4]]);
    p.grad!.dispose();
    q.grad!.dispose();
  });

  cleanTest(`a slice with a step has a gradient of its elements and zeros on ${device}`, () => {
    for (const n of [1, 8, 47, 64, 4096]) {
      for (
        const [start, stop, step] of [[0, n, 2], [1, n - 3, 2], [0, n, 3], [3, n, 100]] as const
      ) {
        for (const dtype of ["float32", "float64", "bfloat16"] as const) {
          scope(() => {
            const x = zeros([n], { device, dtype, requiresGrad: true });
            const y = slice(x, 0, start, stop, step);
            y.backward(ones(y.shape, { device, dtype }));
            const wanted = Array.from(
              { length: n },
              (_, i) => Number(i >= start && i < Math.max(0, stop) && (i - start) % step === 0),
            );
            assertEquals(Array.from(x.grad!.dataSync(), Number), wanted, `${n}: ${start} ${step}`);
          });
        }
      }
    }
  });

  cleanTest(
    `strided writes outside, twice to one place, or of too little are refused, on ${device}`,
    () => {
      const y = zeros([6], { device });
      const x = ones([4], { device });
      const { backend } = y;
      const write = (shape: number[], strides: number[], offset: number, zeros = 0n) =>
        backend.check(backend.functions.cdn_strided_write(
          y.handle,
          x.handle,
          writeWindow({ shape, strides, offset }),
          shape.length,
          zeros,
          y.code,
        ));
      refuse(() => write([2], [2], 0, 2n), "native", "zeros is 2", "layout reaches, 3");
      refuse(() => write([2], [2], 0, 7n), "native", "y");
      refuse(() => write([2], [0], 0), "native", "stride 0");
      refuse(() => write([2, 2], [1, 1], 0), "native", "twice");
      refuse(() => write([2, 2], [2, 2], 0), "native", "twice");
      refuse(() => write([2, 2], [-1, 1], 2), "native", "twice");
      refuse(() => write([2], [1], -1), "native", "offset is -1");
      refuse(() => write([2], [-1], 0), "native", "before the start of y");
      refuse(() => write([2], [1], 5), "native", "y");
      refuse(() => write([5], [1], 0), "native", "x");
      refuse(() => write([2], [2 ** 52], 0), "native");
      assertEquals([...y.dataSync()], [0, 0, 0, 0, 0, 0]);
      write([2, 2], [-1, 3], 1);
      assertEquals([...y.dataSync()], [1, 1, 0, 1, 1, 0]);
      write([1, 1], [0, 0], 5);
      write([0], [-1], 0);
      assertEquals([...y.dataSync()], [1, 1, 0, 1, 1, 1]);
      const band = (low: bigint, high: bigint) =>
        backend.check(
          backend.functions.cdn_band(y.handle, y.handle, 1n, 2n, 3n, low, high, y.code),
        );
      band(-(2n ** 63n), 2n ** 63n - 1n);
      assertEquals([...y.dataSync()], [1, 1, 0, 1, 1, 1]);
      band(2n ** 63n - 1n, 2n ** 63n - 1n);
      assertEquals([...y.dataSync()], [0, 0, 0, 0, 0, 0]);
    },
  );

  cleanTest(`where: numbers for both, and strides that lead outside, on ${device}`, () => {
    const condition = tensor([1, 0, 2], { dtype: "uint8", device });
    const y = zeros([3], { device });
    const { backend } = y;
    const call = (a: number, b: number, rows: number, layout: BigInt64Array<ArrayBuffer>) =>
      backend.check(
        backend.functions.cdn_where(y.handle, condition.handle, a, b, layout, rows, 5, 6, y.code),
      );
    call(0, 0, 1, writeLayout([3], [1], [0], [0]));
    assertEquals([...y.dataSync()], [5, 6, 5]);
    refuse(() => call(0, 0, 1, writeLayout([3], [2], [0], [0])), "native", "condition");
    refuse(() => call(condition.handle, 0, 1, writeLayout([3], [1], [1], [0])), "native", "a");
    refuse(() => call(0, 0, 1, writeLayout([3], [-1], [0], [0])), "native", "negative");
    refuse(() => call(0, 0, 9, writeLayout([], [], [], [])), "native", "rank is 9");
  });
}

cleanTest("bad input: slices and joins say what was wrong", () => {
  const x = zeros([2, 3]);
  const index = zeros([2, 3], { dtype: "int32" });
  const nothing = undefined as unknown as Tensor;
  refuse(() => slice(x, 2), "shape", "slice: axis is 2", "-2..1");
  refuse(() => slice(x, 0, 0.5), "argument", "slice: start is 0.5", "whole number");
  refuse(() => slice(x, 0, 0, NaN), "argument", "stop is NaN");
  refuse(() => slice(x, 0, 0, 1, 0), "argument", "step is 0");
  refuse(() => slice(nothing, 0), "argument", "slice", "tensor");
  refuse(() => slice(tensor(1), 0), "shape", "slice");
  refuse(() => select(x, 1, 3), "shape", "select: index is 3", "[2, 3]", "-3..2");
  refuse(() => select(x, 1, 0.5), "shape", "index is 0.5");
  refuse(() => split(x, [1, 1], 1), "shape", "split", "[1, 1]", "3 elements", "[2, 3]");
  refuse(() => split(x, [4, -1], 1), "shape", "[4, -1]");
  refuse(() => split(x, 0), "argument", "split: the size is 0");
  refuse(() => chunk(x, 0), "argument", "chunk: chunks is 0");
  refuse(() => flip(x, [0, -2]), "argument", "flip", "twice");
  refuse(() => flip(x, 2), "shape", "flip: axis is 2");
  refuse(() => concat([]), "argument", "concat", "one tensor or more");
  refuse(() => concat([x, nothing]), "argument", "concat", "undefined");
  refuse(() => concat([x, zeros([3, 3])], 1), "shape", "concat", "[2, 3]", "[3, 3]", "axis 1");
  refuse(() => concat([x, zeros([3])]), "shape", "[2, 3]", "[3]");
  refuse(() => concat([x, index]), "dtype", "concat", "float32 and int32");
  refuse(() => concat([tensor(1), tensor(2)]), "shape", "concat: axis is 0");
  refuse(() => stack([x, zeros([3, 2])]), "shape", "stack", "[2, 3]", "[3, 2]", "the same");
  refuse(() => stack([x, x], 3), "shape", "stack: axis is 3");
  refuse(() => stack([zeros([1, 1, 1, 1, 1, 1, 1, 1])]), "shape", "stack", "more than 8");
  refuse(() => pad(x, [[1, 1]]), "argument", "pad", "[[1, 1]]", "[2, 3]");
  refuse(() => pad(x, [[1, 1], [0.5, 0]]), "argument", "whole numbers");
  refuse(() => pad(x, [[0, 0], [-2, -2]]), "shape", "pad", "more away than there is in [2, 3]");
  refuse(() => pad(x, [[0, 0], [2 ** 52, 0]]), "shape", "pad", "counted");
  refuse(() => pad(index, [[0, 0], [1, 0]], { value: 0.5 }), "dtype", "0.5 is no int32");
  refuse(() => pad(x, [[0, 0], [1, 0]], { valeu: 1 } as object), "argument", "value?");
  refuse(() => roll(x, 0.5), "argument", "roll", "shifts[0] is 0.5");
  refuse(() => roll(x, [1, 2], 0), "argument", "roll", "[1, 2]", "as many");
  refuse(() => roll(x, 1, 2), "shape", "roll: axis is 2");
  refuse(() => repeatInterleave(x, -1), "argument", "repeats is -1");
  refuse(() => repeatInterleave(x, [1], 0), "shape", "repeats is [1]", "2 counts");
  refuse(() => repeatInterleave(x, [1, 1.5], 0), "argument", "repeats[1] is 1.5");
  refuse(() => pad(x, [[2, 0], [0, 0]], { mode: "reflect" }), "shape", "pad", "at most 1");
  refuse(() => pad(x, [[0, 0], [0, 4]], { mode: "wrap" }), "shape", "mode circular", "at most 3");
  refuse(() => tile(x, [-1]), "argument", "tile", "[-1]");
  refuse(() => tile(x, [1, 1, 1, 1, 1, 1, 1, 1, 1]), "shape", "tile", "more than 8");
  refuse(() => tril(zeros([3])), "shape", "tril", "[3]", "two axes");
  refuse(() => triu(x, 0.5), "argument", "triu: diagonal is 0.5");
  refuse(() => where(x, x, 0), "dtype", "where: condition", "float32", "uint8");
  refuse(() => where(x.gt(0), 1, 0), "argument", "where", "one must be a tensor");
  refuse(() => where(x.gt(0), x, nothing), "argument", "where", "undefined");
  refuse(() => where(x.gt(0), x, index), "dtype", "float32 and int32");
  refuse(() => where(x.gt(0), zeros([4]), 0), "shape", "where", "[2, 3]", "[4]");
  refuse(() => where(x.gt(0), index, 0.5), "dtype", "0.5 is no int32");
});

cleanTest("second derivatives pass through windows and selections", () => {
  const x = tensor([1, 2, 3, 4], { requiresGrad: true });
  const parts = scope(() => {
    const cube = (y: Tensor) => y.mul(y).mul(y);
    const y = pad(cube(slice(x, 0, undefined, undefined, -2)), [[1, 0]]).sum();
    const [first] = grad(y, [x], { createGraph: true });
    const [second] = grad(first!.sum(), [x]);
    return [[...first!.dataSync()], [...second!.dataSync()]];
  });
  assertEquals(parts, [[0, 12, 0, 48], [0, 12, 0, 24]]);
});

cleanTest("the gradient of tile is rounded once for three axes", () => {
  const x = zeros([1, 1, 1], { dtype: "bfloat16", requiresGrad: true });
  const upstream = tensor([256, 1, 1, 1, 1, 1, 1, 1], { dtype: "bfloat16", shape: [2, 2, 2] });
  const [dx] = scope(() => grad(tile(x, [2, 2, 2]), [x], { gradOutputs: upstream }));
  assertEquals(dx!.to("float32").itemSync(), 264); // 263, half way from 262, which is odd
});
