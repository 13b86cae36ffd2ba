// docs/guide.md, followed in an empty folder.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { full, io } from "../../mod.ts";
import { deno, exists, inFolder, modUrl, root } from "../_helpers.ts";

Deno.test("guide: its programs and commands do what it says, in an empty folder", async () => {
  const text = await Deno.readTextFile(new URL("docs/guide.md", root));
  const [config] = text.match(/^\{ "imports".*$/m)!;
  const programs = [...text.matchAll(/```ts ignore\n\/\/ (\w+\.ts)\n([^]*?)```/g)];
  assertEquals(programs.length, text.match(/```ts/g)!.length);
  const commands = text.match(/^deno run .*$/gm)!.map((line) => line.split(" ").slice(1));
  await inFolder(async (cwd) => {
    const at = (name: string) => new URL(`file://${cwd}/${name}`);
    const own = config.replace("/path/to/cudeno/mod.ts", modUrl);
    await Deno.writeTextFile(at("deno.json"), own);
    for (const [, name, source] of programs) await Deno.writeTextFile(at(name!), source!);
    for (const [i, name] of ["day", "night"].entries()) {
      await Deno.mkdir(at(`photos/${name}`), { recursive: true });
      using picture = full([3, 24, 24], i ? 0.1 : 0.8, { device: "cpu" });
      const png = await io.encodePng(picture);
      for (let k = 0; k < 20; k++) await Deno.writeFile(at(`photos/${name}/${k}.png`), png);
    }
    const checked = await deno(["check", ...programs.map(([, name]) => name!)], { cwd });
    assertEquals(checked.code, 0, checked.err);
    const outs = new Map<string, string>();
    for (const args of commands) {
      const { code, out, err } = await deno(args, { cwd });
      assertEquals(code, 0, `${args}: ${err}`);
      outs.set(args.at(-1)!, out);
    }
    assertStringIncludes(outs.get("first.ts")!, "2, 4, 6, 8");
    assert(+/seen ([\d.]+)/.exec(outs.get("train.ts")!)![1]! > 0.95, outs.get("train.ts"));
    assert(+/accuracy ([\d.]+)/.exec(outs.get("animals.ts")!)![1]! > 0.8, outs.get("animals.ts"));
    const [bern, rome] = outs.get("predict.ts")!.match(/\d+\.\d+/g)!.map(Number);
    assert(Math.abs(bern! - 610) < 40 && Math.abs(rome! - 240) < 40, outs.get("predict.ts"));
    assert(+/accuracy ([\d.]+)/.exec(outs.get("photos.ts")!)![1]! > 0.7, outs.get("photos.ts"));

    // interrupted, it comes to the same
    const weights = await Deno.readFile(at("houses.safetensors"));
    await Deno.remove(at("houses.safetensors"));
    await Deno.remove(at("checkpoint.safetensors"));
    const train = commands.find((args) => args.at(-1) === "train.ts")!;
    const source = programs.find(([, name]) => name === "train.ts")![2]!;
    const kill =
      "{ onEpochEnd: ({ epoch }) => void (epoch === 9 && Deno.kill(Deno.pid, 'SIGKILL')) }";
    const killed = source.replace("last] }", `last, ${kill}] }`);
    assert(killed !== source);
    await Deno.writeTextFile(at("killed.ts"), killed);
    await deno(train.toSpliced(1, 0, "--allow-run").with(-1, "killed.ts"), { cwd });
    assert(!exists(at("houses.safetensors")), "it was not killed");
    const { out, err } = await deno(train, { cwd });
    assertStringIncludes(out, "goes on after epoch 9\n", err);
    assertEquals(await Deno.readFile(at("houses.safetensors")), weights);
  });
});
