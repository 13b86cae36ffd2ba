// Models are saved, loaded and compared, and, where Python has onnx and onnxruntime, compared with
// what that makes of them: CUDENO_PYTHON is the interpreter, by default python3.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import * as c from "../../mod.ts";
import { cleanTest as test, inFolder, later, root } from "../_helpers.ts";
import { saveCases } from "./_save_cases.ts";

const { nn, onnx } = c;
const device = "cpu", place = { device } as const;
const leavesOf = (value: unknown): c.Tensor[] =>
  value instanceof c.Tensor ? [value] : Object.values(value as object).flatMap(leavesOf);
type Loose = { forward(...xs: c.Tensor[]): unknown };

const peer = new URL("tests/fixtures/onnx_peer.py", root).pathname;
const python = Deno.env.get("CUDENO_PYTHON") ?? "python3";

async function hasPeer(): Promise<boolean> {
  try {
    const args = ["-c", "import onnx, onnxruntime"];
    return (await new Deno.Command(python, { args, stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** The largest difference, by the largest number or 1. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [worst, scale] = [0, 1];
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
    scale = Math.max(scale, Math.abs(b[i]!));
  }
  return worst / scale;
}

test("onnx: every layer and model comes back from its file, for any batch", async () => {
  const missing = new Set<string>();
  const withPeer = await hasPeer();
  await inFolder(async (folder) => {
    for (const { name, make, inputs, options } of saveCases) {
      c.manualSeed(1);
      const model = make();
      const [first, ...args] = inputs(1);
      const bytes = await onnx.save(model as never, first as never, { ...options, args });
      const findings = (await onnx.check(bytes)).filter(({ found }) => !/is not there/.test(found));
      assertEquals(findings, [], name);
      const loaded = await onnx.load(bytes, { device }).catch((error) => {
        if (!(error instanceof onnx.MissingOperatorError)) throw error;
        for (const { op } of error.missing) missing.add(op);
      });
      model.eval();
      const runs = [1, 3, 7].map((n) => {
        const xs = inputs(n);
        const ys = c.noGrad(() => leavesOf((model as unknown as Loose).forward(...xs)));
        const found = loaded && Object.values(loaded.run(...xs));
        found?.forEach((y, i) => {
          assertEquals(y.shape, ys[i]!.shape, name);
          const worst = difference(y.dataSync(), ys[i]!.dataSync());
          assert(worst < 1e-5, `${name}, batch ${n}: output ${i} is off by ${worst}`);
        });
        const values = (x: c.Tensor) => ({ shape: x.shape, values: [...x.dataSync()] });
        const given = xs.map((x, i) => {
          return { name: i ? `input_${i}` : "input", dtype: x.dtype, ...values(x) };
        });
        const run = { inputs: given, outputs: ys.map(values) };
        for (const x of [...xs, ...ys, ...found ?? []]) x.dispose();
        return run;
      });
      for (const x of [first!, ...args]) x.dispose();
      loaded?.dispose();
      model.dispose();
      if (!withPeer) continue;
      const file = `${folder}/${name.replace(/\W+/g, "_")}`;
      await Deno.writeFile(`${file}.onnx`, bytes);
      await Deno.writeTextFile(`${file}.json`, JSON.stringify(runs));
    }
    if (!withPeer) return;
    const { stdout } = await new Deno.Command(python, { args: [peer, folder] }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    const reports = lines.map((line) => JSON.parse(line));
    assertEquals(reports.length, saveCases.length);
    assertEquals(reports.filter(({ difference }) => !(difference < 1e-5)), []);
  });
  assertEquals([...missing], []);
});

test("onnx: a model that is saved is as it was", async () => {
  const model = later(
    new nn.Sequential({
      conv: new nn.Conv2d(1, 2, 3, place),
      norm: new nn.BatchNorm2d(2, place),
      drop: new nn.Dropout(),
    }),
  );
  model.train();
  const norm = model.entries()[1]![1];
  norm.eval();
  c.manualSeed(5);
  using a = c.rand([2], place);
  c.manualSeed(5);
  using x = c.tensor(new Float32Array(9), { shape: [1, 1, 3, 3], device });
  x.requiresGrad = true;
  const before = c.memory(device).tensors;
  await onnx.save(model, x);
  assert(c.memory(device).tensors <= before);
  using b = c.rand([2], place);
  assertEquals([...b.dataSync()], [...a.dataSync()]); // the random numbers go on where they were
  assertEquals([...model.namedModules()].map(([, { training }]) => training), [
    true,
    true,
    false,
    true,
  ]);
  assert(model.parameters().every(({ grad, requiresGrad }) => grad === null && requiresGrad));
  assert(!Object.hasOwn(model, "forward"));
  model.dispose();
});

test("onnx: names, metadata, and norms within convolutions", async () => {
  const model = later(
    new nn.Sequential({
      conv: new nn.Conv2d(1, 2, 3, { ...place, bias: false }),
      norm: new nn.BatchNorm2d(2, place),
      act: new nn.ReLU(),
    }),
  );
  (model.stateDict()["norm.running_mean"]!).fill(0.5);
  using x = c.tensor(Float32Array.from({ length: 16 }, (_, i) => i % 5), {
    shape: [1, 1, 4, 4],
    device,
  });
  const options = {
    names: { inputs: ["photo"], outputs: ["scores"] },
    metadata: { classes: ["cat", "dog"], about: "a test" },
    batch: "images",
  };
  using loaded = { ...await graphOf(await onnx.save(model, x, options)), [Symbol.dispose]() {} };
  assertEquals(loaded.ops, ["Conv", "BatchNormalization", "Relu"]);
  assertEquals(loaded.inputs, [{ name: "photo", type: "float32", shape: ["images", 1, 4, 4] }]);
  assertEquals(loaded.outputs, [{ name: "scores", type: "float32", shape: ["images", 2, 2, 2] }]);
  assertEquals(loaded.metadata, {
    producer: "cudeno",
    classes: '["cat","dog"]',
    about: "a test",
  });
  assertEquals(
    loaded.weights.sort(),
    Object.keys(model.stateDict()).filter((n) => !/batches/.test(n)).sort(),
  );
  const folded = await graphOf(await onnx.save(model, x, { foldBatchNorm: true }));
  assertEquals([folded.ops, folded.weights], [["Conv", "Relu"], ["conv.weight", "conv.bias"]]);
  model.dispose();
});

// What a file is, though some operators may not be there.
async function graphOf(bytes: Uint8Array) {
  const { decodeMessage } = await import("../../lib/onnx/_wire.ts");
  const { graphOf } = await import("../../lib/onnx/graph.ts");
  const proto = decodeMessage("Model", bytes);
  const graph = graphOf(proto.graph!, { file: "", opsets: new Map([["", 17]]) });
  return {
    ops: graph.nodes.map(({ op }) => op),
    inputs: graph.inputs,
    outputs: graph.outputs,
    weights: [...graph.initializers.keys()],
    metadata: Object.fromEntries([
      ["producer", proto.producerName],
      ...proto.metadataProps.map(({ key, value }) => [key, value]),
    ]),
  };
}

test("onnx: what cannot be written is listed with its layers", async () => {
  class Noise extends nn.Module {
    override forward(x: c.Tensor): c.Tensor {
      return x.add(c.rand(x.shape, place));
    }
  }
  class Scatter extends nn.Module {
    override forward(x: c.Tensor): c.Tensor {
      const index = c.tensor(new Int32Array(x.size), { shape: x.shape, device });
      return x.scatter(1, index, x.mul(2));
    }
  }
  const model = new nn.Sequential({ a: new Noise(), b: new nn.Sequential(new Scatter()) });
  using x = c.tensor([[1, 2]], place);
  const error = await assertRejects(() => onnx.save(model, x), onnx.OnnxExportError);
  assertEquals(error.missing, ["uniform in a", "scatter in b.0"]);

  class Counts extends nn.Module {
    override forward(x: c.Tensor): c.Tensor {
      return x.mul(x.shape[0]!);
    }
  }
  const fixed = await assertRejects(() => onnx.save(new Counts(), x), c.ArgumentError);
  assertStringIncludes(fixed.message, "batch: null");
  const bytes = await onnx.save(new Counts(), x, { batch: null });
  using loaded = await onnx.load(bytes, { device });
  assertEquals(loaded.inputs[0]!.shape, [1, 2]);
});

test("onnx: weights go to a file beside it, and a loaded model is written again", async () => {
  const model = new nn.Residual(new nn.Tanh());
  class Scaled extends nn.Module {
    weight = c.keep(c.tensor([1, 2, 3], { device, requiresGrad: true }));
    override forward(x: c.Tensor): c.Tensor {
      return model.forward(x.mul(this.weight));
    }
  }
  using x = c.tensor([[1, 2, 3]], place);
  const scaled = later(new Scaled());
  await assertRejects(() => onnx.save(scaled, x, { externalData: true }), c.ArgumentError, "path");
  await inFolder(async (folder) => {
    const path = `${folder}/model.onnx`;
    await onnx.save(scaled, x, { path, externalData: true, metadata: { a: "b" } });
    assert((await Deno.stat(`${path}.data`)).size >= 12);
    assertEquals((await onnx.check(path)).filter(({ found }) => !/is not there/.test(found)), []);
    assertStringIncludes(JSON.stringify(await onnx.check(await Deno.readFile(path))), "weight");
  });
  class Twice extends nn.Module<c.Tensor, Record<string, c.Tensor>> {
    override forward(x: c.Tensor): Record<string, c.Tensor> {
      return { twice: x.mul(2), same: x };
    }
  }
  const bytes = await onnx.save(new Twice() as never, x as never, { metadata: { a: "b" } });
  using loaded = await onnx.load(bytes, { device });
  using again = await onnx.load(await onnx.save(loaded), { device });
  assertEquals([again.inputs, again.outputs, again.metadata], [
    loaded.inputs,
    loaded.outputs,
    loaded.metadata,
  ]);
  const { twice, same } = again.run(x);
  assertEquals([[...twice!.dataSync()], [...same!.dataSync()]], [[2, 4, 6], [1, 2, 3]]);
  twice!.dispose();
  same!.dispose();
  scaled.dispose();
});
