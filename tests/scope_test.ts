// Who frees a tensor, and what using it afterwards says.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { DisposedError, keep, memory, ones, scope, type Tensor, tensor, zeros } from "../mod.ts";
import { cleanTest as test } from "./fixtures/helpers.ts";

test("scope: frees all but what is returned", () => {
  let lost: Tensor | undefined;
  const kept = scope(() => {
    lost = zeros([3]);
    return lost.add(1);
  });
  assert(lost!.disposed && !kept.disposed);
  assertEquals([...kept.dataSync()], [1, 1, 1]);
});

test("scope: tensors in returned arrays, objects and maps survive", () => {
  const { list, deep, map, text } = scope(() => {
    zeros([1]);
    return {
      list: [zeros([1]), ones([1])],
      deep: { er: [{ x: ones([2]) }] },
      map: new Map([["k", zeros([3])]]),
      text: "as it is",
    };
  });
  const all = [...list, deep.er[0]!.x, map.get("k")!];
  assertEquals(all.map((x) => x.dataSync().length), [1, 1, 2, 3]);
  assertEquals(text, "as it is");
});

test("scope: what is returned passes to the scope around", () => {
  let inner: Tensor | undefined;
  const outer = scope(() => {
    inner = scope(() => zeros([2]).add(1));
    assert(!inner.disposed);
    return inner.mul(2);
  });
  assert(inner!.disposed && !outer.disposed);
});

test("scope: an error frees all, and goes on", () => {
  const before = memory().tensors;
  let made: Tensor | undefined;
  assertThrows(
    () =>
      scope(() => {
        made = zeros([2]);
        scope(() => made!.add(1));
        throw new TypeError("stop");
      }),
    TypeError,
    "stop",
  );
  assert(made!.disposed);
  assertEquals(memory().tensors, before);
});

test("scope: an async function is awaited, nested ones too, and errors free all", async () => {
  const before = memory().tensors;
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1));
  const made: Tensor[] = [];
  const kept = await scope(async () => {
    made.push(zeros([1]));
    await pause();
    made.push(zeros([2]));
    const inner = await scope(async () => {
      await pause();
      made.push(zeros([3]));
      return made[2]!.add(1);
    });
    assertEquals(made.map((x) => x.disposed), [false, false, true]);
    await pause();
    return inner.add(1);
  });
  assert(made.every((x) => x.disposed));
  assertEquals([...kept.dataSync()], [2, 2, 2]);
  const failing = scope(async () => {
    made.push(zeros([4]));
    await pause();
    throw new TypeError("stop");
  });
  assertEquals(await failing.catch((error) => error.message), "stop");
  assertEquals(memory().tensors, before + 1);
});

test("keep: takes a tensor out of all scopes", () => {
  let x: Tensor | undefined;
  scope(() => scope(() => void (x = keep(zeros([1])))));
  assert(!x!.disposed);
  x!.dispose();
});

test("scope: the gradient of a leaf made in it is freed with the leaf, unless returned", () => {
  const before = memory().tensors;
  for (let i = 0; i < 5; i++) {
    scope(() => {
      const x = tensor([1, 2], { requiresGrad: true });
      x.mul(x).sum().backward();
      assertEquals([...x.grad!.dataSync()], [2, 4]);
    });
  }
  const leaked = memory().tensors - before;
  const grad = scope(() => {
    const x = tensor([1, 2], { requiresGrad: true });
    x.mul(x).sum().backward();
    return x.grad!;
  });
  assertEquals([...grad.dataSync()], [2, 4]);
  grad.dispose();
  assertEquals(leaked, 0);
});

test("using frees at the end of the block; disposing twice is harmless", () => {
  let seen: Tensor;
  {
    using x = zeros([1]);
    seen = x;
    assert(!seen.disposed);
  }
  assert(seen.disposed);
  const before = memory().tensors;
  seen.dispose();
  seen[Symbol.dispose]();
  assertEquals(memory().tensors, before);
});

test("a view keeps the memory alive when its origin is gone", () => {
  const x = tensor([1, 2, 3, 4]);
  const y = x.reshape([2, 2]);
  const z = x.detach();
  x.dispose();
  zeros([4]); // would take the memory if it were free
  assertEquals([[...y.dataSync()], [...z.dataSync()]], [[1, 2, 3, 4], [1, 2, 3, 4]]);
});

test("using a disposed tensor is an error that says where it was disposed", async () => {
  const byHand = zeros([2, 3]);
  byHand.dispose();
  let byUsing: Tensor;
  {
    using x = zeros([2, 3]);
    byUsing = x;
  }
  let byScope: Tensor | undefined;
  scope(() => void (byScope = zeros([2, 3])));
  let byAsyncScope: Tensor | undefined;
  // deno-lint-ignore require-await
  await scope(async () => void (byAsyncScope = zeros([2, 3])));
  const cases = { byHand, byUsing, byScope: byScope!, byAsyncScope: byAsyncScope! };
  for (const [how, x] of Object.entries(cases)) {
    for (
      const use of [
        () => x.add(1),
        () => ones([2, 3]).add(x),
        () => x.dataSync(),
        () => x.view(0, [1]),
      ]
    ) {
      const error = assertThrows(use, DisposedError);
      assertEquals(error.code, "disposed");
      assertStringIncludes(error.message, "A float32 tensor of shape [2, 3] was used after it was");
      assertStringIncludes(error.message, "scope_test.ts:", how);
    }
  }
  assertStringIncludes(assertThrows(() => byScope!.exp(), DisposedError).message, "scope ended");
});

Deno.test("scope: async scopes that overlap are an error, not lost tensors", async () => {
  const started = Promise.withResolvers<void>();
  const first = scope(async () => {
    await started.promise;
  });
  const second = scope(async () => {
    await first.catch(() => {});
  });
  started.resolve();
  await assertRejects(() => first, DisposedError, "async scope");
  await second;
});
