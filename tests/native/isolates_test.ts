// Each isolate is a context of its own: it ends at any moment without harm, what it owned is freed,
// and nobody sees its faults or waits for its work. What could end the process runs in a process of
// its own, where main holds no library.
import { assertEquals, assertStringIncludes } from "@std/assert";
import { devices } from "../../mod.ts";
import { modUrl, program } from "../_helpers.ts";

const kinds = new Set(devices().map(({ device }) => device === "cpu" ? "cpu" : "cuda"));

/**
 * Runs `main` in a process of its own; there `work(source)` starts a Worker of that source, which
 * has `m`, `init`ed.
 */
async function isolates(device: string, main: string, env: Record<string, string> = {}) {
  const prelude = `
    const head = 'import * as m from ${JSON.stringify(modUrl)}; m.init({ device: ${
    JSON.stringify(device)
  } });';
    function work(source) {
      const url = "data:application/javascript," + encodeURIComponent(head + source);
      return new Worker(url, { type: "module" });
    }
    const message = (worker) =>
      new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));`;
  const { code, out, err } = await program(`${prelude}\n${main}\nconsole.log("ended well");`, {
    flags: ["-A"],
    env,
  });
  assertEquals(code, 0, `${out}${err}`);
  assertStringIncludes(out, "ended well");
  return out;
}

// What an isolate may be in the middle of: what it needs, and what it does again and again. In
// between it lets the event loop have its turn, as a Worker that never does so is never ended by
// Deno.
const busy: Record<string, [needs: string, does: string]> = {
  "data()": ["const x = m.randn([1 << 20])", "await x.add(1).data()"],
  "many data() at once": [
    "const x = m.randn([1 << 18])",
    "await Promise.all(Array.from({ length: 20 }, () => x.data()))",
  ],
  "copyFromAsync()": [
    "const x = m.zeros([1 << 22]), a = new Float32Array(x.size)",
    "await x.copyFromAsync(a)",
  ],
  "synchronize()": [
    "const x = m.randn([300, 300])",
    "x.matmul(x).dispose(); await m.synchronize()",
  ],
  "a product": ["const x = m.randn([700, 700])", "x.matmul(x).dispose()"],
  "dataSync()": ["const x = m.randn([1 << 22])", "x.dataSync()"],
  "allocation": ["", "for (let i = 0; i < 10000; i++) m.zeros([1 << 14]).dispose()"],
  "training": [
    "const net = new m.nn.Linear(64, 64), o = new m.optim.Adam(net.parameters());" +
    "const x = m.randn([64, 64])",
    "m.scope(() => { o.zeroGrad(); net.forward(x).sum().backward(); o.step(); })",
  ],
  "deviceTime()": ["const x = m.randn([100, 100])", "await m.deviceTime(() => x.matmul(x))"],
};
const loops = Object.values(busy).map(([needs, does]) =>
  `${needs}; for (;;) { ${does}; await new Promise((resolve) => setTimeout(resolve)); }`
);

for (const device of kinds) {
  Deno.test(`${device}: an isolate that alone holds the library ends during a call`, async () =>
    void await isolates(
      device,
      `for (const source of ${JSON.stringify(loops)}) {
        for (let i = 0; i < 3; i++) {
          const worker = work("postMessage(1);" + source);
          await message(worker);
          await pause(4 + 11 * i);
          worker.terminate();
        }
      }
      await pause(300);`,
    ));

  Deno.test(`${device}: an isolate ends by close() or an error while calls go on`, async () =>
    void await isolates(
      device,
      `for (const end of ["self.close()", "setTimeout(() => { throw new Error('on purpose') })"]) {
        const copy = "x.copyFromAsync(new Float32Array(x.size))";
        for (const call of ["x.data()", copy, "m.synchronize()"]) {
          const worker = work("const x = m.randn([1 << 22]);" + call + ";" + call + ";" + end);
          worker.onerror = (event) => event.preventDefault();
          await pause(150);
        }
      }
      await pause(300);`,
    ));

  Deno.test(`${device}: what an isolate owned is freed when it ends`, async () =>
    void await isolates(
      device,
      `const m = await import(${JSON.stringify(modUrl)});
      m.init({ device: ${JSON.stringify(device)}, memoryLimit: 1 << 20 });
      const heldByOthers = () => { // the process knows, and says so when memory runs out
        try {
          m.zeros([1 << 22]);
        } catch (error) {
          return Number(/threads hold (\\d+)/.exec(error.message)[1]);
        }
      };
      const fail = "setTimeout(() => { throw new Error('on purpose') });";
      for (const end of ["", "self.close();", fail]) {
        const workers = Array.from({ length: 4 }, () =>
          work("const x = m.ones([20 << 18]), y = m.ones([1000]); await x.data(); postMessage(1);" +
            "onmessage = () => {" + end + "};"));
        for (const worker of workers) worker.onerror = (event) => event.preventDefault();
        await Promise.all(workers.map(message));
        if (heldByOthers() < 80 << 20) {
          throw new Error("4 isolates of 20 MiB hold " + heldByOthers());
        }
        for (const worker of workers) end ? worker.postMessage(1) : worker.terminate();
        for (let i = 0; i < 1200 && heldByOthers() > 0; i++) await pause(50);
        if (heldByOthers() > 0) throw new Error("ended, they hold " + heldByOthers());
      }`,
    ));

  Deno.test(`${device}: faults, seeds, statistics and limits are an isolate's own`, async () =>
    void await isolates(
      device,
      `const m = await import(${JSON.stringify(modUrl)});
      m.init({ device: ${JSON.stringify(device)}, seed: 5 });
      const first = m.rand([2]).dataSync();
      m.manualSeed(5);
      const worker = work(\`
        m.manualSeed(77);
        m.init({ device: ${JSON.stringify(device)}, memoryLimit: 64 << 20 });
        const x = m.tensor([[1, 2]]), index = m.tensor([9], { dtype: "int32" });
        const y = m.gatherRows(x, index);
        await new Promise((resolve) => setTimeout(resolve, 100)); // the fault lies there
        postMessage("bad index");
        onmessage = async () => {
          const faults = [];
          try {
            m.zeros([64 << 18]);
          } catch (error) {
            if (!(error instanceof m.OutOfMemoryError)) throw error;
          }
          for (let i = 0; i < 2; i++) {
            await m.synchronize().catch((error) => faults.push(error.message));
          }
          postMessage({ faults, live: m.memory().tensors });
          return [x, index, y]; // kept from the garbage collector until here
        };\`);
      await message(worker);
      const healthy = m.tensor([1, 2, 3]);
      await m.synchronize();
      const same = (a, b) => {
        if (String([...a]) !== String([...b])) throw new Error(a + " is not " + b);
      };
      same(await healthy.data(), [1, 2, 3]);
      same(m.rand([2]).dataSync(), first);
      m.zeros([40 << 18]).dispose(); // more than the worker's limit
      same([m.memory().limit > 64 << 20], [true]);
      const before = m.memory().tensors, { cached } = m.memory();
      worker.postMessage("go");
      const { faults, live } = await message(worker);
      same([faults.length, faults[0].includes("9")], [1, true]);
      same([live, m.memory().tensors], [3, before]);
      same([m.memory().cached], [cached]); // its limit is no reason to take what others keep
      worker.terminate();`,
    ));

  Deno.test(`${device}: nobody waits for another isolate's product, nor for a copy`, async () =>
    void await isolates(
      device,
      `const m = await import(${JSON.stringify(modUrl)});
      m.init({ device: ${JSON.stringify(device)} });
      const x = m.ones([10]);
      let early = false;
      for (let i = 0; i < 20 && !early; i++) { // the machine may be busy with other things
        const product = work("const x = m.randn([1500, 1500]);" +
          "postMessage(1); x.matmul(x).dataSync(); postMessage(2);");
        let ended = false;
        await message(product);
        product.onmessage = () => ended = true;
        for (let i = 0; i < 20; i++) await x.data();
        x.relu().dataSync();
        early = !ended || ${device !== "cpu"};
        while (!ended) await pause(5);
        product.terminate();
      }
      if (!early) throw new Error("a read came after the other isolate's product");
      const large = m.zeros([32 << 20]), source = new Float32Array(large.size);
      await large.copyFromAsync(source);
      let least = Infinity; // of several times, as the machine may be busy with other things
      for (let i = 0; i < 5; i++) {
        const start = performance.now();
        const copy = large.copyFromAsync(source);
        await pause(1);
        const begun = performance.now();
        x.relu().dispose();
        const relu = performance.now() - begun;
        await copy;
        least = Math.min(least, relu / (performance.now() - start));
      }
      if (least > 0.5) throw new Error(\`relu took \${least} of a copy\`);`,
    ));
}

Deno.test("what is another isolate's by number is an error, a second copy's never", async () =>
  void await isolates(
    "cpu",
    `const { openLibrary } = await import(${
      JSON.stringify(modUrl.replace("mod.ts", "lib/native/library.ts"))
    });
    const again = await import(${JSON.stringify(modUrl)} + "?copy");
    const m = await import(${JSON.stringify(modUrl)});
    const x = m.tensor([1, 2], { device: "cpu" });
    again.init({ device: "cpu" }); // the same isolate opens the library once more, and nothing ends
    if (x.dataSync()[1] !== 2) throw new Error("lost");
    const worker = work("onmessage = ({ data }) => { const { functions } = m.zeros([1]).backend;" +
      "const y = new Float32Array(2); postMessage(functions.cdn_read(y, data, 0n, 8n)); };" +
      "postMessage(0)");
    await message(worker);
    worker.postMessage(x.handle);
    const status = await message(worker);
    if (status !== 2) throw new Error("status " + status);
    worker.terminate();`,
  ));
