// Who frees a tensor, and what using it afterwards says.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  autocast,
  DisposedError,
  keep,
  memory,
  noGrad,
  ones,
  scope,
  Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, modUrl, program } from "../_helpers.ts";

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

test("using a disposed tensor is an error that says how to learn where it was disposed", () => {
  const byHand = zeros([2, 3]);
  byHand.dispose();
  let byScope: Tensor | undefined;
  scope(() => void (byScope = zeros([2, 3])));
  for (const [x, how] of [[byHand, ""], [byScope!, ": its scope ended"]] as const) {
    const uses = [
      () => x.add(1),
      () => ones([2, 3]).add(x),
      () => x.dataSync(),
      () => x.view(0, [1]),
    ];
    for (const use of uses) {
      const error = assertThrows(use, DisposedError);
      assertEquals(error.code, "disposed");
      assertStringIncludes(
        error.message,
        `A float32 tensor of shape [2, 3] was used after it was disposed${how} (run with ` +
          "CUDENO_DEBUG=1",
      );
    }
  }
});

test("CUDENO_DEBUG=1: a disposed tensor says where it was disposed", async () => {
  const { out, err } = await program(
    `import { scope, zeros } from "${modUrl}";
const byHand = zeros([1]), tensors = [byHand];
byHand.dispose();
{ using x = zeros([1]); tensors.push(x); }
scope(() => void tensors.push(zeros([1])));
await scope(async () => void tensors.push(zeros([1])));
for (const x of tensors) try { x.add(1); } catch (e) { console.log(e.message); }`,
    { flags: ["--allow-ffi", "--allow-env=CUDENO_DEBUG"], env: { CUDENO_DEBUG: "1" } },
  );
  const places = [...out.matchAll(/disposed: (.*?) at .*main\.ts:(\d+)/g)].map((m) => m.slice(1));
  const ended = "its scope ended";
  assertEquals(places, [["disposed", "3"], ["disposed", "4"], [ended, "5"], [ended, "6"]], err);
});

Deno.test("scope: a thousand flows that take turns each free their own", async () => {
  const before = memory().tensors;
  const turn = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
  let open = 0, most = 0;
  const alive = () => memory().tensors - before;
  const flow = async (i: number) => {
    most = Math.max(most, ++open);
    const x = ones([1]).mul(i);
    await turn();
    const inner = await scope(async () => {
      const y = x.add(1);
      await turn();
      scope(() => y.mul(2)); // freed: not passed on by the scope around
      const z = scope(() => [y.mul(2).add(0)])[0]!;
      await turn();
      return { z };
    });
    const failed = await scope(async () => {
      const lost = zeros([1]);
      await turn();
      if (i % 3 === 0) throw new TypeError(`inner ${i}`);
      lost.dispose();
    }).catch((error) => error.message);
    assertEquals(failed, i % 3 === 0 ? `inner ${i}` : undefined);
    await turn();
    open--;
    if (i % 5 === 0) throw new TypeError(`outer ${i}`);
    assertEquals([...x.dataSync(), ...inner.z.dataSync()], [i, 2 * (i + 1)]);
    return inner.z;
  };
  const made = await scope(async () => {
    const settled = await Promise.allSettled(
      Array.from({ length: 1000 }, (_, i) => scope(() => flow(i))),
    );
    assertEquals(alive(), 800); // what 800 flows have returned; 200 have thrown
    return settled.map((result) => result.status === "fulfilled" ? result.value : result.reason);
  });
  assertEquals(most, 1000); // all at once
  assertEquals(alive(), 800);
  for (const [i, x] of made.entries()) {
    if (i % 5 === 0) {
      assertEquals(x.message, `outer ${i}`);
    } else {
      assertEquals([...x.dataSync()], [2 * (i + 1)]);
      x.dispose();
    }
  }
  assertEquals(alive(), 0);
});

test("scope: a server has one for each request", async () => {
  const before = memory().tensors;
  const weights = keep(tensor([1, 2, 3]));
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) =>
      scope(async () => {
        const x = weights.mul(Number(await request.text()));
        await new Promise((resolve) => setTimeout(resolve, 2));
        return new Response(`${await x.sum().item()}`);
      }),
  );
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const url = `http://127.0.0.1:${server.addr.port}`;
      return Number(await (await fetch(url, { method: "POST", body: `${i}` })).text());
    }),
  );
  await server.shutdown();
  assertEquals(answers, Array.from({ length: 40 }, (_, i) => 6 * i));
  weights.dispose();
  assertEquals(memory().tensors, before);
});

test("scope: noGrad() and autocast() in one flow do not reach into others", async () => {
  const w = ones([2, 2], { requiresGrad: true });
  const seen = await Promise.all(Array.from({ length: 30 }, (_, i) =>
    scope(async () => {
      const found: unknown[] = [];
      for (let turn = 0; turn < 3; turn++) {
        const y = i % 3 === 0
          ? noGrad(() => w.matmul(w))
          : i % 3 === 1
          ? autocast("bfloat16", () => w.matmul(w))
          : w.matmul(w);
        found.push(`${y.requiresGrad} ${y.dtype}`);
        await null;
      }
      return new Set(found);
    })));
  const wanted = ["false float32", "true bfloat16", "true float32"];
  seen.forEach((found, i) => assertEquals([...found], [wanted[i % 3]]));
});

test("scope: what goes on after its scope's end makes tensors for the scope around", async () => {
  const go = Promise.withResolvers<void>();
  let late: Promise<Tensor> | undefined;
  let lost: Tensor | undefined;
  await scope(async () => {
    scope(() => { // nobody waits for what it starts
      late = (async () => {
        await go.promise;
        return zeros([1]);
      })();
    });
    go.resolve();
    lost = await late;
    assert(!lost!.disposed);
  });
  assert(lost!.disposed);
});

test("scope: keep() finds the owner from another flow, and a result leaves its scope", async () => {
  const go = Promise.withResolvers<void>();
  const shared: Tensor[] = [];
  const first = scope(async () => {
    shared.push(zeros([1]), zeros([2]));
    await go.promise;
  });
  await scope(async () => {
    keep(shared[0]!);
    await null;
    return shared[1]; // the first scope's, and stays so
  });
  assert(!shared[1]!.disposed);
  go.resolve();
  await first;
  assertEquals(shared.map((x) => x.disposed), [false, true]);
  shared[0]!.dispose();
});

test("scope: finds tensors in sets, keys of maps, objects of any class, circles and depths", () => {
  class Pair {
    first = zeros([1]);
    #hidden = zeros([2]);
    get hidden() {
      return this.#hidden;
    }
  }
  const all = scope(() => {
    const nodes = Array.from({ length: 40 }, () => ({ x: ones([1]), to: [] as unknown[] }));
    for (const node of nodes) node.to = nodes; // without a memory of what was seen, that never ends
    const circle: unknown[] = [];
    circle.push(circle, zeros([4]));
    let deep: unknown = zeros([5]);
    for (let i = 0; i < 20_000; i++) deep = i % 2 ? [deep] : { deep };
    const bare = Object.assign(Object.create(null), { x: zeros([6]) }) as { x: Tensor };
    const key = zeros([7]);
    return {
      ...{ nodes, circle, deep, bare, map: new Map([[key, 1]]), set: new Set([[zeros([3])]]) },
      ...{ pair: new Pair(), bytes: new Uint8Array(1e7), key },
    };
  });
  let at = all.deep;
  while (!(at instanceof Tensor)) {
    at = Array.isArray(at) ? at[0] : (at as { deep: unknown }).deep;
  }
  const alive = [...all.nodes.map(({ x }) => x), all.circle[1] as Tensor, at, all.bare.x, all.key];
  alive.push([...all.set][0]![0]!, all.pair.first);
  assertEquals(alive.filter((x) => x.disposed), []);
  assert(all.pair.hidden.disposed);
});

test("scope: a getter that throws in what is returned loses no tensor", () => {
  const before = memory().tensors;
  const trap = Object.defineProperty({}, "x", {
    enumerable: true,
    get: () => {
      throw new TypeError("trap");
    },
  });
  assertThrows(() => scope(() => [zeros([1]), trap]), TypeError, "trap");
  assertThrows(() => scope(() => [trap, zeros([1])]), TypeError, "trap");
  assertEquals(memory().tensors, before);
});

test("scope: one that stays open does not hold what was disposed in it", async () => {
  const { out, err } = await program(
    `import { scope, zeros } from "${modUrl}";
await scope(async () => {
  const seen = (() => { const x = zeros([1]); x.dispose(); return new WeakRef(x); })();
  await new Promise((resolve) => setTimeout(resolve, 1));
  globalThis.gc();
  console.log(seen.deref());
});`,
    { flags: ["--allow-ffi", "--v8-flags=--expose-gc"] },
  );
  assertEquals(out, "undefined\n", err);
});
