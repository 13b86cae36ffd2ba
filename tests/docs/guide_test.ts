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
    const quiet = { stdout: "null", stderr: "null" } as const;
    const child = new Deno.Command(Deno.execPath(), { args: train, cwd, ...quiet }).spawn();
    let ended = false;
    child.status.then(() => ended = true);
    while (!ended && !exists(at("checkpoint.safetensors"))) {
      await new Promise((go) => setTimeout(go, 5));
    }
    child.kill("SIGKILL");
    await child.status;
    assert(!exists(at("houses.safetensors")), "it was done before it was killed");
    const { out, err } = await deno(train, { cwd });
    assert(/^goes on after epoch \d+$/m.test(out), out + err);
    assertEquals(await Deno.readFile(at("houses.safetensors")), weights);
  });
});
