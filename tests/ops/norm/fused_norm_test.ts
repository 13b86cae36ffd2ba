// Batch norm of images and what is computed with it: digits, memory, and that layers fuse it only
// where that is the same.
import { assert, assertEquals } from "@std/assert";
import {
  ArgumentError,
  autocast,
  batchNorm,
  devices,
  type DType,
  DTypeError,
  grad,
  groupNorm,
  linear,
  memory,
  nn,
  rand,
  randn,
  relu,
  ShapeError,
  type Tensor,
  tensor,
} from "../../../mod.ts";
import { ShortcutBlock } from "../../../lib/models/_shortcut_block.ts";
import { cleanTest, later, nativeCalls, refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);
const formats = ["contiguous", "channelsLast"] as const;
const learned = { requiresGrad: true } as const;

function assertNear(found: Tensor, wanted: ArrayLike<number>, tolerance: number, what: string) {
  const largest = Array.from(wanted).reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  found.dataSync().forEach((v, i) =>
    assert(Math.abs(v - wanted[i]!) <= tolerance * largest, `${what}: [${i}] ${v}, ${wanted[i]}`)
  );
}

for (const device of names) {
  cleanTest(`batchNorm: means far from 0, and an outlier first, on ${device}`, () => {
    const shape = [4, 16, 9, 8];
    const pixels = 4 * 9 * 8;
    // Numbers that the dtype holds: a few last places about the mean.
    const spread: Partial<Record<DType, [mean: number, unit: number][]>> = {
      float32: [[1e4, 2 ** -8], [1e7, 4], [0, 1]],
      bfloat16: [[1e4, 64], [1e7, 2 ** 16], [0, 1]],
    };
    for (const [dtype, kinds] of Object.entries(spread) as [DType, [number, number][]][]) {
      for (const [mean, unit] of kinds) {
        for (const outlier of [0, 1e6]) {
          const at = (c: number, k: number) =>
            mean + unit * ((7 * k + c) % 5 - 2) + (k === 0 ? outlier * unit : 0);
          const x = tensor(
            Array.from({ length: 4 * 16 * 72 }, (_, i) => {
              const [n, c, p] = [Math.floor(i / 1152), Math.floor(i / 72) % 16, i % 72];
              return at(c, n * 72 + p);
            }),
            { shape, dtype, device },
          );
          const kept = x.dataSync();
          const g = Array.from({ length: kept.length }, (_, i) => Math.cos(i));
          const [y, dx] = [new Float64Array(kept.length), new Float64Array(kept.length)];
          for (let c = 0; c < 16; c++) {
            const places = Array.from(
              { length: pixels },
              (_, k) => (Math.floor(k / 72) * 16 + c) * 72 + k % 72,
            );
            const average = (f: (i: number) => number) =>
              places.reduce((sum, i) => sum + f(i), 0) / pixels;
            const middle = average((i) => kept[i]!);
            const rstd = 1 / Math.sqrt(average((i) => (kept[i]! - middle) ** 2) + 1e-5);
            const normal = (i: number) => (kept[i]! - middle) * rstd;
            const [sum, along] = [average((i) => g[i]!), average((i) => g[i]! * normal(i))];
            for (const i of places) {
              y[i] = normal(i);
              dx[i] = rstd * (g[i]! - sum - normal(i) * along);
            }
          }
          for (const format of formats) {
            const leaf = x.to({ format }).detach();
            leaf.requiresGrad = true;
            const found = batchNorm(leaf, { training: true });
            const what = `${dtype} ${mean} ${outlier} ${format}`;
            const tolerance = dtype === "float32" ? 1e-6 : 2 ** -8;
            assertNear(found, y, tolerance, what);
            const upstream = tensor(g, { shape, device }).to(dtype);
            const [slope] = grad(found, [leaf], { gradOutputs: upstream });
            const size = Math.max(...dx.map(Math.abs));
            const scaled = slope!.to("float32").div(size);
            assertNear(scaled, dx.map((v) => v / size), 2 * tolerance, `d ${what}`);
          }
        }
      }
    }
  });

  cleanTest(`batchNorm with relu and residual keeps x and y alone, on ${device}`, () => {
    const shape = [8, 32, 16, 16];
    const bytes = 4 * 8 * 32 * 16 * 16;
    for (const format of formats) {
      const [x, residual] = [0, 1].map(() => rand(shape, { device }).to({ format }));
      const [weight, bias] = [0, 1].map(() => rand([32], { device, ...learned }));
      for (const given of [x!, x!.detach()]) given.requiresGrad = true;
      const before = memory(device).live;
      const y = batchNorm(x!, {
        ...{ weight, bias, residual, training: true, activation: "relu" },
      });
      const more = memory(device).live - before;
      assert(more >= bytes && more < bytes + 4096, `${more} bytes, of which y has ${bytes}`);
      y.sum().backward();
      for (const leaf of [x, weight, bias]) leaf!.grad!.dispose();
    }
  });

  cleanTest(`batchNorm: NaN passes relu, and float32 weights serve 16 bits, on ${device}`, () => {
    for (const format of formats) {
      const x = randn([3, 8, 2, 2], { device, dtype: "bfloat16" }).to({ format });
      const [weight, bias] = [0, 1].map(() => randn([8], { device, ...learned }));
      const options = { weight, bias, training: true };
      const run = (activation?: "relu") => {
        const y = batchNorm(x, { ...options, activation });
        const gradients = grad(y.mul(y).sum(), [weight!, bias!]);
        return [y, ...gradients];
      };
      const [y, dweight] = run("relu");
      assertEquals([y!.dtype, dweight!.dtype, y!.format], ["bfloat16", "float32", format]);
      assertEquals(y!.dataSync(), relu(run()[0]!).dataSync());
      const wide = batchNorm(x.to("float32"), { ...options, activation: "relu" });
      assertNear(y!, wide.dataSync(), 2 ** -8, "y");
      const spoilt = tensor([[NaN, 1], [2, -1], [3, 0]], { device });
      const found = batchNorm(spoilt, { training: true, activation: "relu" }).dataSync();
      assertEquals([found[0], found[2], found[4], found[3]], [NaN, NaN, NaN, 0]);
    }
    const short = rand([8], { device, dtype: "bfloat16" });
    const x = rand([3, 8], { device });
    refuse(() => batchNorm(x, { weight: short }), DTypeError, "weight", "bfloat16");
    const mixed = { weight: rand([8], { device }), bias: short };
    refuse(() => batchNorm(x.to("bfloat16"), mixed), DTypeError, "bias", "float32");
    refuse(() => batchNorm(x, { residual: rand([8], { device }) }), ShapeError, "residual", "[8]");
    refuse(
      () => batchNorm(x, { residual: x.to("float64") }),
      DTypeError,
      ...["residual", "float64"],
    );
    const wrong = { activation: "gelu" as "relu" };
    refuse(() => batchNorm(x, wrong), ArgumentError, "activation", "relu");
  });

  cleanTest(`groupNorm: groups of many neighbours, as in float64, on ${device}`, () => {
    // Of a few pixels for each thread, and on GPUs, which keep them, of more than a block has.
    const shapes = [[2, 136, 32, 64], [2, 34, 128, 136]];
    for (const shape of shapes.slice(0, device === "cpu" ? 1 : 2)) {
      for (const [dtype, tolerance] of [["float32", 2e-6], ["bfloat16", 2 ** -6]] as const) {
        const x = randn(shape, { device, mean: 100, std: 8 }).to(dtype);
        const [weight, bias] = [0, 1].map(() => rand([shape[1]!], { device }).to(dtype));
        for (const groups of [shape[1]!, shape[1]! / 2]) {
          const run = (dtype: DType) =>
            groupNorm(x.to(dtype), groups, { weight: weight!.to(dtype), bias: bias!.to(dtype) });
          const off = run(dtype).to("float64").sub(run("float64")).abs().max().dataSync()[0]!;
          assert(off < 5 * tolerance, `${dtype} ${shape} ${groups}: off by ${off}`);
        }
      }
    }
  });

  cleanTest(`what reads a batch norm alone may take its gate, on ${device}`, () => {
    const run = (read: (y: Tensor) => Tensor, residual?: Tensor) => {
      const [x, more] = [leaves[0]!, residual];
      const y = batchNorm(x, { training: true, activation: "relu", residual: more });
      return grad(read(y), more ? [x, more] : [x]).map((g) => g.dataSync());
    };
    const leaves = [0, 1].map(() => randn([6, 4], { device, ...learned }));
    const weight = randn([3, 4], { device });
    for (const residual of [undefined, leaves[1]]) {
      const taken = run((y) => linear(y, weight).sum(), residual);
      const left = run((y) => linear(y, weight).sum().add(y.sum().mul(0)), residual);
      taken.forEach((g, i) => g.forEach((v, k) => assert(Math.abs(v - left[i]![k]!) < 1e-5)));
    }
  });
}

class Own extends nn.BatchNorm2d {
  override forward(x: Tensor): Tensor {
    return super.forward(x).mul(2);
  }
}

const native = ["cdn_batch_norm", "cdn_relu", "cdn_binary", "cdn_add"];
const called = (fn: () => void) => nativeCalls(native, fn).map(({ name }) => name);

cleanTest("Sequential and the blocks of ResNets fuse batch norm where that is the same", () => {
  const x = randn([3, 4, 5, 5]).to({ format: "channelsLast" });
  const block = (norm: nn.Module, relu = true, downsample?: nn.Module) =>
    later(new ShortcutBlock({ conv: new nn.Conv2d(4, 4, 1), norm }, { relu, downsample }));
  const plain = (made: ShortcutBlock, residual: Tensor) => {
    const [[, conv], [, norm]] = made.entries() as [[string, nn.Module], [string, nn.Module]];
    return norm.forward(conv.forward(x)).add(residual).relu();
  };
  for (const residual of [x, x.to({ format: "contiguous" })]) {
    const made = block(new nn.BatchNorm2d(4));
    assertEquals(called(() => made.forward(x)), ["cdn_batch_norm"]);
    assertNear(made.forward(x), plain(made, residual).dataSync(), 1e-6, "block");
  }
  const doubled = block(new Own(4));
  assert(called(() => doubled.forward(x)).includes("cdn_relu"), "a subclass computes by itself");
  assertNear(doubled.forward(x), plain(doubled, x).dataSync(), 1e-6, "subclass");
  const narrow = block(new nn.BatchNorm2d(4), true, later(new nn.Conv2d(4, 1, 1)));
  assertEquals(narrow.forward(x).shape, x.shape); // broadcast, so not fused
  const model = later(new nn.Sequential(new nn.BatchNorm2d(4), new nn.ReLU()));
  assertEquals(called(() => model.forward(x)), ["cdn_batch_norm"]);
  assertEquals(model.forward(x).dataSync(), relu(batchNorm(x, { training: true })).dataSync());
  refuse(() => model.forward(rand([2, 3, 4, 4])), ShapeError, "0: BatchNorm2d(4)", "4 features");
  assertEquals(
    autocast("bfloat16", () => block(new nn.BatchNorm2d(4)).forward(x)).dtype,
    "float32",
  );
  assertEquals(later(new nn.Sequential(new Own(4), new nn.ReLU())).forward(x).shape, x.shape);
  const unfused = later(new nn.Sequential(new nn.BatchNorm2d(4), new nn.GELU()));
  assertEquals(called(() => unfused.forward(x)), ["cdn_batch_norm"]);
});
