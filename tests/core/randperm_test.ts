import { assert, assertEquals } from "@std/assert";
import {
  ArgumentError,
  type DeviceName,
  devices,
  manualSeed,
  memory,
  randperm,
} from "../../mod.ts";
import { cleanTest, refuse } from "../_helpers.ts";

cleanTest("randperm: each number once, any order about as often", () => {
  manualSeed(5);
  for (const { device } of devices()) ordersOn(device);
});

function ordersOn(device: DeviceName) {
  for (const n of [0, 1, 2, 5, 1000, 10_001]) {
    const order = randperm(n, { device });
    assertEquals([order.shape, order.dtype, order.device], [[n], "int32", device]);
    assertEquals(order.dataSync().toSorted(), Int32Array.from({ length: n }, (_, i) => i));
  }
  const orders = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    using order = randperm(3, { device });
    const key = order.dataSync().join();
    orders.set(key, (orders.get(key) ?? 0) + 1);
  }
  assertEquals(orders.size, 6);
  for (const count of orders.values()) assert(Math.abs(count - 500) < 100, `${count}`);
}

cleanTest("randperm: by its seed alone, or by the library's, the same everywhere", () => {
  const found = devices().map(({ device }) => {
    manualSeed(9);
    const before = memory().tensors;
    const all = [{}, { seed: 7 }, {}, { seed: 7 }, { seed: 8 }].map((options) => {
      using order = randperm(100, { ...options, device });
      return order.dataSync().join();
    });
    assertEquals(memory().tensors, before);
    assertEquals(all[1], all[3]);
    assertEquals(new Set(all).size, 4);
    return all;
  });
  for (const one of found) assertEquals(one, found[0]);
  manualSeed(7);
  assertEquals(randperm(100).dataSync(), randperm(100, { seed: 7 }).dataSync());
  refuse(() => randperm(-1), ArgumentError, "n is -1");
  refuse(() => randperm(1.5), ArgumentError, "n is 1.5");
  refuse(() => randperm(3, { seed: -1 }), ArgumentError, "randperm: the seed is -1");
  refuse(() => randperm(3, { dtype: "int32" } as never), ArgumentError, "no option dtype");
});
