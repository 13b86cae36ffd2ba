import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  crossEntropy,
  DisposedError,
  memory,
  rand,
  resetPeakMemory,
  scope,
  softmax,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, halves, modUrl, network, program } from "../_helpers.ts";

/** The figures that must not grow. */
function figures() {
  const { live, peak, tensors, reserved } = memory();
  return { live, peak, tensors, reserved };
}

test("a training loop with scope takes the same memory from the second step on", () => {
  const { model, optimizer, loss } = network();
  const set = halves(32);
  resetPeakMemory();
  let second: ReturnType<typeof figures> | undefined;
  for (let step = 1; step <= 50; step++) {
    scope(() => {
      const output = loss.forward(model.forward(set.inputs), set.targets);
      optimizer.zeroGrad();
      output.backward();
      optimizer.step();
    });
    if (step === 2) second = figures();
    if (step > 2) assertEquals(figures(), second, `step ${step}`);
  }
});

test("Trainer.fit takes the same memory from the second step on", async () => {
  const { model, trainer } = network();
  const set = halves(32);
  resetPeakMemory();
  const inStep: ReturnType<typeof figures>[] = [];
  const watched = {
    length: 32,
    device: set.device,
    batch(index: Tensor) {
      inStep.push(figures());
      return set.batch(index);
    },
  };
  const afterEpoch: ReturnType<typeof figures>[] = [];
  const callbacks = [{ onEpochEnd: () => void afterEpoch.push(figures()) }];
  const options = { epochs: 13, batchSize: 8, validation: set, callbacks };
  await trainer.fit(watched, { ...options, capture: false }); // or batch() runs now and then only
  assertEquals(inStep.length, 52);
  // As each step begins there is what there was an epoch before; the peak counts from the first
  // validation on.
  for (let step = 6; step < inStep.length; step++) {
    const [now, before] = [inStep[step]!, inStep[step - 4]!];
    assertEquals([now.live, now.tensors], [before.live, before.tensors], `step ${step + 1}`);
  }
  for (const after of afterEpoch.slice(1)) assertEquals(after, afterEpoch[1]);
  model.zeroGrad();
});

test("data() gives the values of the moment, whatever happens while it waits", async () => {
  const x = zeros([100_000]);
  const reading = x.data();
  x.fill(1);
  const again = x.data();
  x.dispose();
  rand([100_000]);
  assertEquals(new Set(await reading), new Set([0]));
  assertEquals(new Set(await again), new Set([1]));
  const items = await Promise.all(Array.from({ length: 100 }, (_, i) => tensor(i).item()));
  assertEquals(items, Array.from({ length: 100 }, (_, i) => i));
});

Deno.test("a process waits for data() that nobody awaits", async () => {
  const { code, out } = await program(`
    import { ones } from "${modUrl}";
    ones([1000, 1000]).sum().item().then((sum) => console.log("sum", sum));
    console.log("first");
  `);
  assertEquals([code, out], [0, "first\nsum 1000000\n"]);
});

test("backward through what was disposed gives the right gradient or a DisposedError", () => {
  const chains: Record<string, (x: Tensor) => [middle: Tensor, end: Tensor]> = {};
  const chain = (name: string, first: (x: Tensor) => Tensor, second: (h: Tensor) => Tensor) =>
    chains[name] = (x) => {
      const h = first(x);
      return [h, second(h)];
    };
  const w = rand([3, 3]);
  const target = tensor([0, 1, 2], { dtype: "int32" });
  const ops: Record<string, (x: Tensor) => Tensor> = {
    add: (x) => x.add(1),
    mul: (x) => x.mul(x),
    exp: (x) => x.exp(),
    sqrt: (x) => x.sqrt(),
    relu: (x) => x.relu(),
    sigmoid: (x) => x.sigmoid(),
    matmul: (x) => x.matmul(w),
    transpose: (x) => x.transpose(),
    reshape: (x) => x.reshape([9]).reshape([3, 3]),
    softmax: (x) => softmax(x),
    max: (x) => x.max(1, { keepDims: true }).mul(x),
  };
  for (const [a, first] of Object.entries(ops)) {
    for (const [b, second] of Object.entries(ops)) chain(`${a}, ${b}`, first, second);
    chain(`${a}, crossEntropy`, first, (h) => crossEntropy(h, target));
  }
  const start = rand([3, 3], { low: 0.5 });
  let works = 0;
  for (const [name, run] of Object.entries(chains)) {
    scope(() => {
      const gradient = (dispose: boolean) => {
        const x = start.clone();
        x.requiresGrad = true;
        const [middle, end] = run(x);
        const loss = end.sum();
        if (dispose) middle.dispose();
        rand([3, 3]); // takes the memory that was freed
        loss.backward();
        using grad = x.grad!;
        return [...grad.dataSync()];
      };
      const wanted = gradient(false);
      assertNotEquals(wanted, []);
      try {
        assertEquals(gradient(true), wanted, name);
        works++;
      } catch (error) {
        if (!(error instanceof DisposedError)) throw error;
      }
    });
  }
  assert(works > 0);
});

const dropTensors = `
  import { memory, rand } from "${modUrl}";
  (() => { for (let i = 0; i < 100; i++) rand([10, 10]).exp(); })();
  if (memory().tensors !== 200) throw new Error("there are " + memory().tensors);
  for (let i = 0; i < 100 && memory().tensors > 0; i++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  console.log("left", memory().tensors);
`;
const gc = "--v8-flags=--expose-gc";

Deno.test("tensors that nobody disposed are freed when they are collected", async () => {
  // Without --allow-env: the variable is not read, and nobody is asked.
  const { code, out, err } = await program(dropTensors, {
    flags: ["--allow-ffi", gc],
    env: { CUDENO_DEBUG: "1" },
  });
  assertEquals([code, out, err], [0, "left 0\n", ""]);
});

Deno.test("CUDENO_DEBUG=1 warns of tensors that nobody disposed", async () => {
  const { code, out, err } = await program(dropTensors, {
    flags: ["--allow-ffi", "--allow-env=CUDENO_DEBUG", gc],
    env: { CUDENO_DEBUG: "1" },
  });
  assertEquals([code, out], [0, "left 0\n"]);
  const line = (column: string) =>
    `cudeno: a float32 tensor of shape [10, 10], made at ${column}, was collected without ` +
    "dispose(); use scope() or `using`";
  // rand() and exp() by their columns in line 3, of a file of any name.
  const lines = err.trim().split("\n").map((said) =>
    said.replace(/made at \S+:(3:\d+),/, "made at $1,")
  );
  const wanted = ["rand(", "exp("].map((call) => {
    const column = dropTensors.split("\n")[2]!.indexOf(call) + 1;
    return line(`3:${column}`);
  });
  assertEquals(lines.toSorted(), wanted.flatMap((said) => new Array(100).fill(said)).toSorted());
});

Deno.test("more memory than there is; all tensors stay usable", async () => {
  const { code, out, err } = await program(`
    import { init, memory, ones } from "${modUrl}";
    const mib = 2 ** 20;
    init({ memoryLimit: 64 * mib });
    const small = ones([1000]);
    const big = ones([10, mib]);
    const live = memory().live;
    const ops = [() => big.add(1), () => big.exp(), () => ones([2 ** 50]), () => big.to("float64")];
    for (const op of ops) {
      try {
        op();
        console.log("that was no error");
      } catch (error) {
        console.log(error.name, error.code, error.message);
      }
    }
    console.log(memory().live - live, small.add(1).sum().itemSync(), big.sum().itemSync());
    big.dispose();
    console.log(ones([10, mib]).sum().itemSync());
  `);
  const lines = out.split("\n");
  for (const line of lines.slice(0, 4)) {
    assert(
      /^OutOfMemoryError memory .* \d+ bytes: \d+ live, \d+ cached, limit 67108864/.test(line),
      line,
    );
  }
  assertEquals([code, err, ...lines.slice(4)], [0, "", "0 2000 10485760", "10485760", ""]);
});

test("memoryLimit: a small tensor finds room in a large free block", async () => {
  const { code, err } = await program(
    `import { init, zeros } from "${modUrl}";
     init({ device: "cpu", memoryLimit: 32 * 2 ** 20 });
     const large = zeros([2 ** 19]); // takes the only segment there is room for
     console.log(zeros([1]).add(1).itemSync(), large.size);`,
  );
  assertEquals(code, 0, err);
});

test("a process may end while another thread is inside the library", async () => {
  const { code, err } = await program(
    `import { init, rand } from "${modUrl}";
     init({ device: "cpu" });
     const x = rand([1 << 22]);
     for (let i = 0; i < 20; i++) x.data(); // on other threads
     Deno.exit(0);`,
  );
  assertEquals(code, 0, err);
});

Deno.test("the memory of 300,000 training steps is flat after the first tenth", async () => {
  const { code, out, err } = await program(
    `import { init, mseLoss, nn, optim, rand, scope } from "${modUrl}";
     init({ device: "cpu", seed: 1 });
     const model = new nn.Sequential(new nn.Linear(4, 8), new nn.Tanh(), new nn.Linear(8, 1));
     const optimizer = new optim.Adam(model.parameters());
     const x = rand([16, 4]), y = rand([16, 1]);
     let first = 0;
     for (let i = 0; i < 300_000; i++) {
       scope(() => {
         const loss = mseLoss(model.forward(x), y);
         optimizer.zeroGrad();
         loss.backward();
         optimizer.step();
       });
       if (i % 1000 === 0) await new Promise((resolve) => setTimeout(resolve));
       if (i === 30_000) first = Deno.memoryUsage().rss;
     }
     console.log(Deno.memoryUsage().rss - first);`,
    // V8 lets its heap of young objects grow by and by, which is not ours to measure.
    { flags: ["-A", "--v8-flags=--max-semi-space-size=4"], env: { CUDENO_THREADS: "1" } },
  );
  assertEquals([code, err], [0, ""]);
  assert(Number(out) < 4 << 20, `it has grown by ${out.trim()} bytes`);
});

// A cgroup of version 1 or 2 in which 600 MiB may be used, where this process may make one.
function smallGroup(): string | undefined {
  for (const [root, limit] of [["memory/", "memory.limit_in_bytes"], ["", "memory.max"]] as const) {
    const group = `/sys/fs/cgroup/${root}cudeno-${crypto.randomUUID()}`;
    try {
      Deno.mkdirSync(group);
      Deno.writeTextFileSync(`${group}/${limit}`, `${600 << 20}`);
      return group;
    } catch {
      try {
        Deno.removeSync(group);
      } catch { /* it was not made */ }
    }
  }
  return undefined;
}
const group = Deno.build.os === "linux" ? smallGroup() : undefined;

Deno.test({
  name: "a container's limit is an OutOfMemoryError, not the end of the process",
  ignore: group === undefined,
  async fn() {
    const source = `import { init, memory, zeros } from "${modUrl}";
      init({ device: "cpu" });
      const all = [];
      try {
        for (;;) all.push(zeros([1 << 20]));
      } catch (error) {
        for (const x of all) x.dispose();
        console.log(error.name, all.length > 50, memory().limit < ${
      600 << 20
    }, zeros([2]).add(1).sum().itemSync());
      }`;
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(file, source);
      const command = `echo $$ > ${group}/cgroup.procs || exit 77; ` +
        `exec "${Deno.execPath()}" run -A --no-check ${file}`;
      const { code, stdout } = await new Deno.Command("sh", { args: ["-c", command] }).output();
      if (code === 77) return; // the group may be made here, but not entered
      const out = new TextDecoder().decode(stdout);
      assertEquals([code, out], [0, "OutOfMemoryError true true 2\n"]);
    } finally {
      await Deno.remove(file);
      await Deno.remove(group!);
    }
  },
});
