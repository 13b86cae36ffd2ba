// Every public function and class shows an example; `deno test --doc` (part of `make test`) runs
// them all.
import { assert, assertEquals } from "@std/assert";
import * as cudeno from "../../mod.ts";
import { exists, root } from "../_helpers.ts";

interface Documented {
  name: string;
  declarations: { kind: string; jsDoc?: unknown; def: { extends?: string; hasBody?: boolean } }[];
}

// mod.ts names these as namespaces, whose members deno doc lists only when it is given the file.
const modules = ["mod.ts", "lib/nn/mod.ts", "lib/nn/init.ts", "lib/optim/mod.ts"];
modules.push("lib/optim/schedule/mod.ts", "lib/data/mod.ts", "lib/data/transforms/mod.ts");
modules.push("lib/io/mod.ts", "lib/models/mod.ts", "lib/train/callbacks/mod.ts", "lib/plot/mod.ts");

// Exported as types, for signatures, or as what layers extend.
const typesOnly = [
  "Backend",
  "TensorBase",
  "Batch",
  "BatchNorm",
  "ConvBase",
  "ImageNorm",
  "InstanceNorm",
  "Pad2d",
  "RNNBase",
  "RNNCellBase",
  "PoolBase",
  "TransformerLayer",
];

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
        if (def.hasBody && declarations.length > 1) continue; // its overloads are documented
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

interface Symbols {
  name: string;
  declarations: { kind: string; def: { elements?: Symbols[] } }[];
}

Deno.test("deno doc of mod.ts shows what its namespaces hold", async () => {
  const args = ["doc", "--json", "mod.ts"];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, cwd: root }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  const [{ symbols }] = Object.values(nodes) as [{ symbols: Symbols[] }];
  const check = (shown: Symbols[], place: object, path: string) => {
    const missing = Object.keys(place).filter((key) => !shown.some(({ name }) => name === key));
    assertEquals(missing.filter((key) => key !== "MultiheadAttention"), [], path);
    for (const { name, declarations } of shown) {
      const [first] = declarations;
      const inner = (place as Record<string, object>)[name];
      if (first!.kind === "namespace") check(first!.def.elements!, inner!, `${path}${name}.`);
    }
  };
  check(symbols, cudeno, "");
  // Of what namespaces export by name deno doc shows nothing: types are not checked for above.
  const nn = symbols.find(({ name }) => name === "nn")!.declarations[0]!.def.elements!;
  assert(nn.some(({ name }) => name === "TransformerLayerOptions"));
});

// What a name of the README's table stands for: an export, a member of a namespace, a method of
// Tensor or Trainer.
function isThere(name: string): boolean {
  const places = [
    cudeno,
    cudeno.optim.schedule,
    cudeno.nn.Module.prototype,
    cudeno.Trainer.prototype,
  ];
  const found = (place: object, path: string[]): boolean =>
    path.length === 0 ||
    (path[0]! in place && found((place as Record<string, object>)[path[0]!]!, path.slice(1)));
  const path = name.replace("Tensor.", "Tensor.prototype.").split(".");
  return places.some((place) => found(place, path));
}

Deno.test("all that the README's table names is there", async () => {
  const text = await Deno.readTextFile(new URL("README.md", root));
  const table = text.split("## What is there")[1]!.split("\n## ")[0]!;
  const names = [...table.matchAll(/`([^`]+)`/g)].flatMap(([, code]) => code!.split(/\s+/));
  const dtypes = ["float32", "float64", "float16", "bfloat16", "int32", "uint8"];
  const others = [...dtypes, "cpu", "cuda", "cuda:1", "createGraph", "using", "summary()"];
  const real = names.filter((name) =>
    !others.includes(name) && !/[({}]/.test(name) && name !== "memoryLimit"
  );
  assertEquals(real.filter((name) => !isThere(name)), []);
  assert(real.length > 150, `only ${real.length} names were found`);
});

Deno.test("the README's table names all layers", async () => {
  const text = await Deno.readTextFile(new URL("README.md", root));
  const named = (name: string) => new RegExp(`\\b${name}\\b`).test(text);
  const bases = [...typesOnly, "MultiheadAttention", "init"];
  const activations = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "GELU",
    "SiLU",
    "Softplus",
    "Sigmoid",
    "Tanh",
  ];
  const untold = [...bases, ...activations, "Softmax", "LogSoftmax"];
  const layers = Object.keys(cudeno.nn).filter((name) => !name.endsWith("Loss"));
  assertEquals(layers.filter((name) => !untold.includes(name) && !named(name)), []);
});

Deno.test("the files that the pages link to are there", async () => {
  const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md"];
  for await (const { name } of Deno.readDir(new URL("docs", root))) pages.push(`docs/${name}`);
  const missing: string[] = [];
  let seen = 0;
  for (const page of pages) {
    const text = await Deno.readTextFile(new URL(page, root));
    for (const [, link] of text.matchAll(/\]\(([^)#\s]+)/g)) {
      if (/^https?:/.test(link!)) continue;
      seen++;
      if (!exists(new URL(link!, new URL(page, root)))) missing.push(`${page}: ${link}`);
    }
  }
  assertEquals(missing, []);
  assert(seen > 30, `only ${seen} links were found`);
});
