// The examples beside mnist.ts, as a user runs them: with --allow-ffi alone, each to its end and in
// flat memory.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deno, root } from "../_helpers.ts";

const folder = new URL("examples/", root);
const names = Array.from(Deno.readDirSync(folder), ({ name }) => name)
  .filter((name) => name.endsWith(".ts"));
const programs = names.filter((name) => !["program.ts", "char_models.ts"].includes(name));

const run = (name: string, ...args: string[]) =>
  deno(["run", "--allow-ffi", "--no-prompt", new URL(name, folder).pathname, ...args]);

/** Runs it on the CPU; its last line must be as wanted. */
async function ends(name: string, args: string[], last: RegExp): Promise<string> {
  const { code, out, err } = await run(name, "--device", "cpu", ...args);
  assertEquals(code, 0, err);
  assert(/^device: cpu, .+ GB\nlibrary: .*libcudeno_cpu\./.test(out), out);
  assert(/\nmemory: peak [\d.]+ MB, flat from (step|epoch) 2 on\n/.test(out), out);
  const line = out.trimEnd().split("\n").at(-1)!;
  assert(last.test(line), line);
  return out;
}

const losses = (out: string) =>
  [...out.matchAll(/^step \d+: loss ([\d.]+)$/gm)].map(([, x]) => +x!);

Deno.test("perceptron example: all points on their side, whatever the seed", async () => {
  for (const seed of ["1", "2", "3"]) {
    await ends("perceptron.ts", ["--seed", seed], /^accuracy 1\.0000 after \d+ steps$/);
  }
});

Deno.test("xor example: all four cases right", async () => {
  const out = await ends("xor.ts", [], /^4 of 4 right$/);
  assertStringIncludes(out, "1 xor 0 = 1\n1 xor 1 = 0\n");
});

for (const model of ["lstm", "transformer"]) {
  Deno.test(`char_lm example: the ${model} learns, and writes`, async () => {
    const size = ["--hidden", "32", "--layers", "1", "--context", "24", "--batch", "16"];
    const args = ["--model", model, "--steps", "60", "--sample", "40", "--lr", "0.02", ...size];
    const result = /^loss \d\.\d{3} a character, \d\.\d{3} on pages that it has not seen$/;
    const out = await ends("char_lm.ts", args, result);
    const [first, ...rest] = losses(out);
    assert(first! > 3.5 && rest.at(-1)! < 3, out);
    const written = out.slice(out.indexOf("\n\nThe ") + 2, out.lastIndexOf("\n\nloss"));
    assertEquals(written.length, 44, out);
    assertEquals(await ends("char_lm.ts", args, result), out, "the same seed, another text");
  });
}

Deno.test("mnist example: memory is flat", async () => {
  const args = ["--epochs", "3", "--hidden", "8", "--batch", "500"];
  await ends("mnist.ts", args, /^test accuracy 0\.\d{4}$/);
});

for (const name of programs) {
  Deno.test(`${name}: --help tells its options, and others are refused`, async () => {
    const [help, unknown, text, device] = await Promise.all([
      run(name, "--help"),
      run(name, "--sede", "1"),
      run(name, "--lr", "fast"),
      run(name, "--device", "tpu"),
    ]);
    assertEquals([help.code, help.err], [0, ""]);
    for (const option of ["device", "seed", "help", "lr"]) {
      assertStringIncludes(help.out, `--${option} `);
    }
    for (const { code, err } of [unknown, text, device]) {
      assertEquals(code, 1, err);
      assertEquals(err.trimEnd().split("\n").length, 1, err);
    }
    assertStringIncludes(unknown.err, "There is no option --sede");
    assertStringIncludes(text.err, "--lr is fast; it must be a number");
  });
}

Deno.test("no example is longer than 120 lines", async () => {
  for (const name of names) {
    const lines = (await Deno.readTextFile(new URL(name, folder))).trimEnd().split("\n").length;
    assert(lines <= 120, `${name} has ${lines} lines`);
  }
});
