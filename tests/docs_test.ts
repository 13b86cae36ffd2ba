// Every public function and class shows an example; `deno test --doc` (part of `make test`) runs them all.
import { assertEquals } from "@std/assert";
import { exists, root } from "./fixtures/helpers.ts";

interface Documented {
  name: string;
  declarations: { kind: string; jsDoc?: unknown; def: { extends?: string } }[];
}

// mod.ts names these as namespaces, whose members deno doc lists only when it is given the file.
const modules = ["mod.ts", "lib/nn/mod.ts", "lib/nn/init.ts", "lib/optim/mod.ts"];
modules.push("lib/optim/schedule/mod.ts", "lib/data/mod.ts", "lib/io/mod.ts", "lib/models/mod.ts");

// Exported as types, for signatures, or as what layers extend.
const typesOnly = ["Backend", "TensorBase", "Batch", "BatchNorm", "RNNBase", "RNNCellBase"];

Deno.test("every public function and class has an example", async () => {
  const args = ["doc", "--json", ...modules.filter((path) => exists(new URL(path, root)))];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, cwd: root }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  const without = new Set<string>();
  let seen = 0;
  for (const { symbols } of Object.values(nodes) as { symbols: Documented[] }[]) {
    for (const { name, declarations } of symbols) {
      for (const { kind, jsDoc, def } of declarations) {
        if (kind !== "function" && kind !== "class") continue;
        if (name.endsWith("Error") || typesOnly.includes(name)) continue;
        seen++;
        if (!JSON.stringify(jsDoc ?? "").includes("```ts")) {
          without.add(`${name} ${def.extends ?? ""}`.trim());
        }
      }
    }
  }
  assertEquals([...without], []);
  if (seen < 50) throw new Error(`only ${seen} functions and classes were found`);
});
