// Layers that normalise images: their names, shapes and state, and what the case table leaves out.
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  autocast,
  groupNorm,
  instanceNorm,
  nn,
  ones,
  rand,
  ShapeError,
  tensor,
} from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

const channelsLast = { format: "channelsLast" } as const;

cleanTest("GroupNorm, InstanceNorm, LocalResponseNorm, BatchNorm2d: names and state", () => {
  const layers = [
    new nn.GroupNorm(2, 4),
    new nn.GroupNorm(2, 4, { affine: false, eps: 1e-3 }),
    new nn.InstanceNorm1d(3),
    new nn.InstanceNorm2d(3, { affine: true }),
    new nn.LocalResponseNorm(5, { alpha: 1 }),
    new nn.BatchNorm2d(3),
  ].map(later);
  assertEquals(layers.map(String), [
    "GroupNorm(2, 4)",
    "GroupNorm(2, 4, { eps: 0.001, affine: false })",
    "InstanceNorm1d(3)",
    "InstanceNorm2d(3, { affine: true })",
    "LocalResponseNorm(5, { alpha: 1 })",
    "BatchNorm2d(3)",
  ]);
  const own = ["weight", "bias"];
  const running = ["running_mean", "running_var", "num_batches_tracked"];
  assertEquals(layers.map((layer) => Object.keys(layer.stateDict())), [
    own,
    [],
    [],
    own,
    [],
    [...own, ...running],
  ]);
  const shapes = [[2, 4, 5], [2, 4, 5], [3, 7], [3, 2, 2], [2, 6, 3], [2, 3, 4, 5]];
  layers.forEach((layer, i) => {
    assertEquals(layer.forward(rand(shapes[i]!)).shape, shapes[i]);
    layer.summary({ inputShape: shapes[i]! });
  });
});

cleanTest("norms of images keep channelsLast, and are float32 under autocast", () => {
  const x = rand([2, 4, 3, 3]);
  const layer = later(new nn.BatchNorm2d(4));
  for (const fn of [(y = x) => groupNorm(y, 2), (y = x) => instanceNorm(y)]) {
    const [plain, last] = [fn(x), fn(x.to(channelsLast))];
    assertEquals([plain.format, last.format], ["contiguous", "channelsLast"]);
    last.dataSync().forEach((v, i) => assert(Math.abs(v - plain.dataSync()[i]!) < 1e-5));
    assertEquals(autocast("bfloat16", () => fn(x.to("bfloat16"))).dtype, "float32");
  }
  assertEquals(layer.forward(x.to(channelsLast)).format, "channelsLast");
});

cleanTest("norms of images: what they refuse", () => {
  const x = ones([2, 3, 2, 2]);
  assertThrows(() => groupNorm(x, 2), ShapeError, "a multiple of the 2 groups");
  assertThrows(() => groupNorm(ones([1, 3, 1, 1]), 3), ShapeError, "a single value a group");
  assertThrows(() => groupNorm(x, 3, { weight: ones([2]) }), ShapeError, "3 channels");
  assertThrows(() => groupNorm(x, 0), ArgumentError, "groups is 0");
  assertThrows(() => instanceNorm(ones([2, 3, 1, 1])), ShapeError, "more than one value");
  assertThrows(() => new nn.GroupNorm(2, 3), ArgumentError, "a multiple of the 2 groups");
  assertThrows(() => later(new nn.GroupNorm(2, 4)).forward(x), ShapeError, "its 4 channels");
  assertThrows(() => new nn.InstanceNorm2d(4).forward(x), ShapeError, "its 4 channels");
  assertThrows(() => new nn.InstanceNorm1d(3).forward(x), ShapeError, "[n, features, length]");
  assertThrows(() => later(new nn.BatchNorm2d(3)).forward(ones([2, 3])), ShapeError, "height");
  assertEquals(groupNorm(tensor([], { shape: [0, 4, 3, 3] }), 2).shape, [0, 4, 3, 3]);
});
