// examples/mnist.ts as a user runs it.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { devices, io, nn } from "../../mod.ts";
import { deno, inFolder, root } from "../_helpers.ts";

const found = devices();
const path = new URL("examples/mnist.ts", root).pathname;

/** Runs the example with --allow-ffi and perhaps more. */
function mnist(args: string[], { cwd = root.pathname, allow = [] as string[], file = path } = {}) {
  return deno(["run", "--allow-ffi", ...allow, "--no-prompt", file, ...args], { cwd });
}

async function haveAllData(): Promise<boolean> {
  try {
    return (await Deno.stat(new URL("data/mnist/t10k-labels-idx1-ubyte.gz", root))).isFile;
  } catch {
    return false;
  }
}

/** The accuracy in the last line. */
function accuracy(out: string): number {
  const last = out.trimEnd().split("\n").at(-1)!;
  const match = /^test accuracy (0\.\d{4})$/.exec(last);
  assert(match, last);
  return Number(match[1]);
}

Deno.test("mnist example: one epoch on the CPU, from here and from elsewhere", async () => {
  const whole = await haveAllData();
  await inFolder(async (folder) => {
    for (const cwd of [root.pathname, folder]) {
      const { code, out, err } = await mnist(["--epochs", "1", "--device", "cpu"], { cwd });
      assertEquals(code, 0, err);
      assertStringIncludes(out, whole ? "\ndata: MNIST\n" : "\ndata: a subset of MNIST;");
      assert(/^device: cpu, .+ GB\nlibrary: .*libcudeno_cpu\./.test(out), out);
      assertStringIncludes(out, "Linear(784, 256)");
      assert(/^Epoch 1\/1 100% (54000\/54000|4500\/4500) loss .* images\/s /.test(err), err);
      assert(accuracy(out) > (whole ? 0.95 : 0.7), out);
    }
  });
});

Deno.test("mnist example: it chooses a device by itself, the GPU where there is one", async () => {
  const { code, out, err } = await mnist(["--epochs", "0", "--hidden", "8"]);
  assertEquals(code, 0, err);
  const [first] = found;
  assertStringIncludes(out, `device: ${first!.device}, ${first!.name}`);
  if (first!.computeCapability) assertStringIncludes(out, first!.computeCapability);
});

Deno.test("mnist example: without the whole data it takes the subset, and says so", async () => {
  await inFolder(async (folder) => {
    const copy = ["examples", "lib", "mod.ts", "deno.json"];
    await new Deno.Command("cp", { args: ["-R", ...copy, folder], cwd: root }).output();
    await Deno.symlink(new URL("vendor", root), `${folder}/vendor`);
    await Deno.symlink(new URL("cuda", root), `${folder}/cuda`);
    const { code, out, err } = await mnist(["--epochs", "3"], {
      file: `${folder}/examples/mnist.ts`,
    });
    assertEquals(code, 0, err);
    assertStringIncludes(out, "data: a subset of MNIST; `make data` fetches all of it\n");
    assertStringIncludes(err, "Epoch 3/3 100% 4500/4500 ");
    assert(accuracy(out) > 0.85, out); // another seed has 0.89
  });
});

Deno.test("mnist example: the same seed gives the same result, another seed another", async () => {
  const run = async (seed: string) => {
    const args = ["--epochs", "1", "--hidden", "8", "--batch", "1000", "--device", "cpu"];
    const { err } = await mnist([...args, "--seed", seed]);
    return /loss [\d.]+ accuracy [\d.]+% lr \S+ val loss [\d.]+/.exec(err)![0];
  };
  const first = await run("5");
  assertEquals(await run("5"), first);
  assert(await run("6") !== first);
});

Deno.test("mnist example: --help", async () => {
  const { code, out, err } = await mnist(["--help"]);
  assertEquals([code, err], [0, ""]);
  for (const name of "epochs batch lr hidden patience device seed out help".split(" ")) {
    assertStringIncludes(out, `--${name} `);
  }
});

/** It must end at once, with one line about what is wrong and no stack. */
async function refused(args: string[], ...parts: string[]) {
  const { code, out, err } = await mnist(args);
  assertEquals(code, 1, `${args}: ${out}`);
  for (const part of parts) assertStringIncludes(err, part);
  assert(!err.includes("    at ") && !err.includes("Epoch"), err);
}

Deno.test("mnist example: options that it does not know, or cannot use", async () => {
  await Promise.all([
    refused(["--epoch", "1"], "There is no option --epoch", "--help"),
    refused(["5"], "There is no option 5"),
    refused(["--epochs", "many"], "--epochs is many; it must be a number"),
    refused(["--lr"], "--lr is ; it must be a number"),
  ]);
  await Promise.all([
    refused(["--epochs", "1.5"], "epochs is 1.5", "whole number"),
    refused(["--batch", "0"], "batchSize is 0", "at least 1"),
    refused(["--hidden=-3"], "-3", "at least 1"),
    refused(["--lr=-1"], "lr is -1", "at least 0"),
    refused(["--seed", "0.5"], "seed is 0.5"),
    refused(["--device", "tpu"], "tpu", "cuda"),
    refused(["--patience=-1"], "patience is -1"),
  ]);
});

Deno.test({
  name: "mnist example: --device cuda without a GPU is an error, not the CPU",
  ignore: found.some(({ device }) => device !== "cpu"),
  fn: () => refused(["--device", "cuda"], "cuda"),
});

Deno.test("mnist example: --out saves weights that load, and needs --allow-write", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/mnist.safetensors`;
    const args = ["--epochs", "0", "--hidden", "16", "--out", file];
    // Before it trains, not after.
    await refused(args, "--allow-write");

    for (const epochs of ["0", "1"]) {
      const given = [...args, "--epochs", epochs, "--batch", "500"];
      const { code, out, err } = await mnist(given, { allow: [`--allow-write=${folder}`] });
      assertEquals(code, 0, err);
      assertStringIncludes(out, `weights: ${file}\ntest accuracy 0.`);
      assertEquals(out.includes("\nbest epoch: 1\n"), epochs === "1", out);
      const model = new nn.Sequential(
        new nn.Flatten(),
        new nn.Linear(784, 16),
        new nn.ReLU(),
        new nn.Linear(16, 10),
      );
      const state = await io.loadSafetensors(file);
      assertEquals(model.loadStateDict(state), { missing: [], unexpected: [] });
      assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["mnist.safetensors"]);
      for (const x of Object.values(state)) x.dispose();
      model.dispose();
    }
  });
});
