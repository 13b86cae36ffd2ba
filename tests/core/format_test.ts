// Tensors whose channels lie side by side in memory: whatever an operation knows of it, it gives
// the same numbers, or an error.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  add,
  arange,
  ArgumentError,
  batchNorm,
  concat,
  devices,
  dropout,
  io,
  memory,
  type MemoryFormat,
  NativeError,
  nn,
  ones,
  optim,
  rand,
  relu,
  scope,
  type Shape,
  ShapeError,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { type Case, cases, inputsOf, toleranceOf, uploadAll } from "../cases.ts";
import { cleanTest, later } from "../_helpers.ts";
import { difference } from "../reference.ts";

const channelsLast = { format: "channelsLast" } as const;
const isImage = (x: { shape: Shape }) => x.shape.length === 4;
const last = (x: Tensor) => x.to(channelsLast);

// Which inputs of a case are converted: all that can be, the first or the others.
const choices = {
  all: () => true,
  "the first": (i: number) => i === 0,
  "the others": (i: number) => i > 0,
};

function assertSame(c: Case, y: Tensor, wanted: Tensor, what: string, times = 4) {
  assertEquals([y.shape, y.dtype], [wanted.shape, wanted.dtype], what);
  const grid = { shape: wanted.shape, values: Array.from(wanted.dataSync()) };
  assertEquals(difference(y.dataSync(), grid, times * toleranceOf(c, y.dtype)), undefined, what);
}

for (const c of cases) {
  const shapes = c.shapes.filter(([first]) => first?.length === 4);
  if (shapes.length === 0 || c.name.startsWith("dropout")) continue; // whose mask follows memory
  for (const { device } of devices()) {
    Deno.test(`${c.name}: the same in channelsLast, gradients too, on ${device}`, () => {
      for (const given of shapes) {
        for (const [name, chosen] of Object.entries(choices)) {
          const dtype = c.dtypes.includes("float64") ? "float64" : c.dtypes[0]!;
          const what = `${dtype} ${JSON.stringify(given)}, ${name}`;
          scope(() => {
            const grids = inputsOf(c, given, dtype);
            const upload = () => uploadAll(c, grids, dtype, device, c.gradShapes !== undefined);
            const [plain, converted] = [upload(), upload()];
            const inputs = converted.map((x, i) => isImage(x) && chosen(i) ? last(x) : x);
            const [wanted, y] = [c.call(...plain), c.call(...inputs)];
            assertSame(c, y, wanted, what);
            if (!wanted.requiresGrad || wanted.size === 0) return;
            const gradient = rand(y.shape, { dtype: y.dtype, device });
            wanted.backward(gradient);
            y.backward(gradient);
            plain.forEach((x, i) => {
              if (!x.grad) return assertEquals(converted[i]!.grad, null);
              // Those of weights add up whole images, in another order.
              assertSame(c, converted[i]!.grad!, x.grad, `${what}: gradient ${i}`, 256);
            });
          });
        }
      }
    });
  }
}

const numbered = (...shape: Shape) => arange(shape.reduce((a, b) => a * b)).reshape(shape);

cleanTest("format: concat keeps it where all have it", () => {
  const parts = [numbered(2, 3, 2, 5), numbered(2, 1, 2, 5)];
  const kept = concat(parts.map(last), 1);
  assertEquals(kept.format, "channelsLast");
  assertEquals(kept.dataSync(), concat(parts, 1).dataSync());
  assertEquals(concat([last(parts[0]!), parts[1]!], 1).format, "contiguous");
});

cleanTest("format: reads are in row-major order, whatever the dtype", async () => {
  const shape = [2, 3, 2, 5];
  for (const dtype of ["float32", "float64", "float16", "bfloat16", "int32", "uint8"] as const) {
    const x = numbered(...shape).to(dtype);
    const y = x.to(channelsLast);
    assertEquals([y.format, y.shape, y.dtype], ["channelsLast", shape, dtype]);
    assertEquals(y.dataSync(), x.dataSync());
    assertEquals(await y.data(), x.dataSync());
    assertEquals(y.toJSON(), x.toJSON());
    assertEquals(y.to({ format: "contiguous" }).dataSync(), x.dataSync());
    // As it lies in memory.
    const pixels = y.make([2, 2, 5, 3], dtype);
    const { functions } = y.backend;
    const bytes = BigInt(pixels.dataSync().BYTES_PER_ELEMENT * (dtype === "bfloat16" ? 0.5 : 1));
    const stored = y.stored("channelsLast").handle;
    y.backend.check(functions.cdn_copy(pixels.handle, stored, 0n, 0n, 60n * bytes));
    assertEquals(pixels.dataSync(), x.permute([0, 2, 3, 1]).dataSync());
  }
  const text = String(last(numbered(1, 2, 1, 2)));
  assertEquals(
    text.split("\n")[0],
    "Tensor [1, 2, 1, 2] float32 cpu channelsLast".replace("cpu", ones([]).device),
  );
  assertStringIncludes(String(last(numbered(20, 20, 20, 2))), "1.5999e+04]]]]");
});

cleanTest("format: writes are in row-major order too", async () => {
  const x = numbered(2, 3, 2, 2);
  const y = last(ones([2, 3, 2, 2]));
  assertEquals(y.copyFrom(x).dataSync(), x.dataSync());
  assertEquals(x.mul(0).copyFrom(y).dataSync(), x.dataSync());
  assertEquals(y.fill(0).copyFrom(x.dataSync()).dataSync(), x.dataSync());
  assertEquals((await y.fill(0).copyFromAsync(x.dataSync())).dataSync(), x.dataSync());
  assertEquals(y.fill(7).dataSync(), x.fill(7).dataSync());
  const half = last(x.to("bfloat16")).copyFrom(Float32Array.from(x.dataSync(), (_, i) => i));
  assertEquals([...half.dataSync()], Array.from({ length: 24 }, (_, i) => i));
});

cleanTest("format: views, slices and shapes see row-major order", () => {
  const x = numbered(2, 3, 2, 2);
  const y = last(x);
  for (
    const fn of [
      (x: Tensor) => x.view(5, [2, 3]),
      (x: Tensor) => x.reshape([6, 4]),
      (x: Tensor) => x.slice(1, 1, 3),
      (x: Tensor) => x.select(0, 1),
      (x: Tensor) => x.flatten(1).sum(1),
      (x: Tensor) => x.detach(),
      (x: Tensor) => x.clone(),
    ]
  ) assertEquals(fn(y).dataSync(), fn(x).dataSync());
  assertEquals([y.detach(), y.clone()].map((x) => x.format), ["channelsLast", "channelsLast"]);
  y.detach().fill(3);
  assert(y.dataSync().every((value) => value === 3), "detach() has the same memory");
});

cleanTest("format: what works element by element keeps it", () => {
  const [x, y] = [rand([2, 3, 4, 5]), rand([2, 3, 4, 5])];
  const column = rand([3, 1, 1]);
  const kept: Record<string, (x: Tensor) => Tensor> = {
    relu,
    gelu: (x) => x.gelu(),
    "add()": (x) => x.add(x),
    "add() of another format": (x) => x.add(y),
    "add() to another format": (x) => y.add(x),
    "add() of a bias": (x) => x.add(column),
    "add() to a bias": (x) => column.add(x),
    "mul() by a number": (x) => x.mul(2),
    "gt()": (x) => x.gt(0.5),
    "where()": (x) => y.where(x.gt(0.5), x),
    "to()": (x) => x.to("float16"),
    "dropout()": (x) => dropout(x, { p: 0.5 }),
    "batchNorm()": (x) => batchNorm(x, { training: true }),
  };
  for (const [name, fn] of Object.entries(kept)) {
    assertEquals(fn(last(x)).format, "channelsLast", name);
    assertEquals(fn(x).format, "contiguous", name);
  }
  for (const fn of [(x: Tensor) => x.softmax(), (x: Tensor) => x.sum([2, 3], { keepDims: true })]) {
    assertEquals(fn(last(x)).format, "contiguous");
  }
});

cleanTest("format: to() with several changes, recorded", () => {
  const x = rand([2, 3, 2, 2], { requiresGrad: true });
  const y = x.to({ format: "channelsLast", dtype: "float64", device: x.device });
  assertEquals([y.format, y.dtype, y.device], ["channelsLast", "float64", x.device]);
  y.mul(y).sum().backward();
  assertEquals([...x.grad!.dataSync()], [...x.mul(2).dataSync()]);
  assert(x.to({}) === x && x.to({ format: "contiguous", dtype: "float32" }) === x);
  assertThrows(() => x.sum(0).to(channelsLast), ShapeError, "only images");
  assertThrows(() => x.to({ format: "nhwc" as MemoryFormat }), ArgumentError, '"contiguous" or');
  assertThrows(() => x.to({ layout: 1 } as object), ArgumentError, "layout");
});

cleanTest("format: the gradient of dropout falls where the elements stayed", () => {
  const x = last(ones([2, 3, 4, 5])).detach();
  x.requiresGrad = true;
  const y = dropout(x, { p: 0.5 });
  y.backward(ones([2, 3, 4, 5]));
  assertEquals(x.grad!.dataSync(), y.dataSync());
});

cleanTest("format: batchNorm trains on the same statistics", () => {
  const x = rand([3, 4, 5, 2]);
  const [a, b] = [later(new nn.BatchNorm1d(4)), later(new nn.BatchNorm1d(4))];
  for (const [norm, input] of [[a, x], [b, last(x)]] as const) {
    const { running_mean: runningMean, running_var: runningVar } = norm.stateDict();
    const options = { weight: norm.stateDict().weight, bias: null, training: true };
    batchNorm(input, { ...options, runningMean: runningMean!, runningVar: runningVar! });
  }
  for (const [key, value] of Object.entries(a.stateDict())) {
    const found = b.stateDict()[key]!.dataSync();
    value.dataSync().forEach((v, i) => assert(Math.abs(v - found[i]!) < 1e-6, key));
  }
});

cleanTest("format: what does not know of it cannot write past it", () => {
  const y = last(rand([2, 3, 2, 2]));
  const before = y.dataSync();
  for (
    const write of [
      () => y.view(0, [4]).fill(1),
      () => y.slice(0, 0, 1).copyFrom(ones([1, 3, 2, 2])),
      () => y.reshape([-1]).copyFrom(new Float32Array(24)),
    ]
  ) assertThrows(write, NativeError, "may only be read");
  const { functions } = y.backend;
  assertThrows(
    () => y.backend.check(functions.cdn_relu(y.handle, ones([24]).handle, 24n, 0)),
    NativeError,
    "may only be read",
  );
  assertEquals(y.dataSync(), before);
  y.view(0, [24]).clone().fill(1); // a copy is the caller's
});

cleanTest("format: disposed is disposed, and nothing is left behind", () => {
  const x = rand([2, 3, 2, 2]);
  const y = last(x);
  const tensors = memory().tensors;
  scope(() => y.sum().add(y.softmax().sum()).itemSync());
  y.dataSync();
  y.copyFrom(x.dataSync());
  assertEquals(memory().tensors, tensors);
  y.dispose();
  for (const use of [() => y.sum(), () => relu(y), () => y.dataSync(), () => add(x, y)]) {
    assertThrows(use, Error, "disposed");
  }
});

cleanTest("format: safetensors hold row-major order and load into any", async () => {
  const x = numbered(2, 3, 2, 2);
  const path = await Deno.makeTempFile();
  try {
    await io.saveSafetensors(path, { x: last(x) });
    const { x: found } = await io.loadSafetensors(path);
    assertEquals([found!.format, found!.dataSync()], ["contiguous", x.dataSync()]);
    const module = new class extends nn.Module {
      x = last(x.mul(0)).detach();
      override forward(y: Tensor): Tensor {
        return y.mul(this.x);
      }
    }();
    module.loadStateDict({ x: found! });
    const before = memory().tensors;
    module.loadStateDict({ x: last(x) });
    assertEquals(memory().tensors - before, 1); // what was given, no copy in another format
    assertEquals([module.x.format, module.x.dataSync()], ["channelsLast", x.dataSync()]);
  } finally {
    await Deno.remove(path);
  }
});

const optimizers = {
  SGD: (p: Tensor) => new optim.SGD([p], { lr: 0.1, momentum: 0.9 }),
  AdamW: (p: Tensor) => new optim.AdamW([p], { lr: 0.1 }),
};
for (const [name, make] of Object.entries(optimizers)) {
  cleanTest(`format: ${name} trains a parameter in channelsLast as any other`, () => {
    const start = rand([4, 3, 2, 2]);
    const target = rand([4, 3, 2, 2]);
    const trained = [start.clone(), last(start).detach()].map((p) => {
      p.requiresGrad = true;
      const optimizer = later(make(p));
      const average = later(new optim.EMA([p], { decay: 0.5 }));
      for (let step = 0; step < 4; step++) {
        scope(() => {
          const error = p.sub(target);
          error.mul(error).sum().add(p.softmax().norm()).backward();
        });
        optim.clipGradNorm([p], 0.5);
        optimizer.step();
        average.update();
        optimizer.zeroGrad();
      }
      const [state] = Object.values(optimizer.stateDict().tensors);
      return [p, state!, average.stateDict().tensors["0"]!];
    });
    assertEquals(trained[1]!.map(({ format }) => format), new Array(3).fill("channelsLast"));
    trained[0]!.forEach((x, i) => {
      const found = trained[1]![i]!.dataSync();
      x.dataSync().forEach((v, j) => assert(Math.abs(v - found[j]!) < 1e-6, `${i}: ${j}`));
    });
  });
}

cleanTest("format: one channel or one pixel needs no copy", () => {
  for (const shape of [[3, 1, 4, 2], [3, 5, 1, 1]]) {
    const x = numbered(...shape);
    const y = last(x);
    assertEquals(y.dataSync(), x.dataSync());
    y.reshape([-1]).fill(2);
    assert(y.dataSync().every((value) => value === 2), "a view of the same memory");
  }
  assertEquals(last(tensor([], { shape: [0, 3, 2, 2] })).sum().itemSync(), 0);
});
