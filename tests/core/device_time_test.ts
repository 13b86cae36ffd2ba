import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import {
  ArgumentError,
  devices,
  deviceTime,
  DisposedError,
  randn,
  type Tensor,
} from "../../mod.ts";
import { cleanTest as test } from "../_helpers.ts";

for (const { device } of devices()) {
  test(`deviceTime: ${device}, more work takes more time`, async () => {
    const x = randn([200, 200], { device });
    const products = (n: number) => () => {
      for (let i = 0; i < n; i++) x.matmul(x);
    };
    await deviceTime(products(1), { device });
    let none = Infinity; // the least of some, as the machine may be busy with other things
    for (let i = 0; i < 5; i++) none = Math.min(none, await deviceTime(() => {}, { device }));
    assert(none >= 0);
    assertGreater(await deviceTime(products(200), { device }), none);
  });
}

test("deviceTime: an async function is awaited, its tensors are freed", async () => {
  let made: Tensor | undefined;
  const microseconds = await deviceTime(async () => {
    made = randn([10]);
    await made.data();
    return made;
  });
  assertGreater(microseconds, 0);
  assert(made?.disposed);
});

test("deviceTime: what the function throws comes through, and later calls work", async () => {
  const x = randn([4]);
  x.dispose();
  await assertRejects(() => deviceTime(() => x.add(1)), DisposedError);
  await assertRejects(() => deviceTime(() => Promise.reject(new RangeError("late"))), RangeError);
  assert(await deviceTime(() => {}) >= 0);
});

test("deviceTime: bad arguments", async () => {
  const nothing = 3 as unknown as () => void;
  await assertRejects(() => deviceTime(nothing), ArgumentError, "must be a function");
  const options = { devise: "cpu" } as Record<string, string>;
  await assertRejects(() => deviceTime(() => {}, options), ArgumentError, "device");
  const error = await assertRejects(() => deviceTime(() => {}, { device: "tpu" as "cpu" }));
  assertEquals((error as ArgumentError).code, "argument");
});
