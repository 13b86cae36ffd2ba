// The module in other people's projects, and the library that it opens there.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { relative } from "@std/path";
import { deno, inFolder, modUrl, program, root } from "../_helpers.ts";

/** A program that trains a few steps. */
const training = (from: string) => `
  import { data, nn, optim, scope, tensor, Trainer } from "${from}";
  const set = new data.TensorDataset(
    tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
    tensor([0, 1, 1, 1], { dtype: "int32" }),
  );
  const model = new nn.Sequential(new nn.Linear(2, 4), new nn.Tanh(), new nn.Linear(4, 2));
  const optimizer: optim.Optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  const history = await trainer.fit(set, { epochs: 30, batchSize: 2, callbacks: [] });
  scope(() => console.log([...trainer.predict(set.inputs).argmax(1).dataSync()].join(" ")));
  console.log(history.length);
`;

/** Runs deno in a project with a deno.json and a main.ts of its own. */
function inProject(args: string[], config: object, main: (folder: string) => string) {
  return inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify(config));
    await Deno.writeTextFile(`${folder}/main.ts`, main(folder));
    return await deno([...args, "main.ts"], { cwd: folder });
  });
}

for (const how of ["file URL", "relative path", "absolute path"]) {
  Deno.test(`import: another project imports mod.ts by ${how}, and trains`, async () => {
    const path = new URL(modUrl).pathname;
    const args = ["run", "--no-prompt", "--check", "--allow-ffi"];
    const { code, out, err } = await inProject(args, {}, (folder) =>
      training(
        how === "file URL" ? modUrl : how === "relative path" ? relative(folder, path) : path,
      ));
    assertEquals([code, out], [0, "0 1 1 1\n30\n"], err);
  });
}

Deno.test("import: nothing happens by it, and no permission is needed", async () => {
  const { code, out, err } = await program(
    `import * as cudeno from "${modUrl}";
     const { nn, optim, Trainer, DeviceError } = cudeno;
     console.log(typeof nn.Linear, typeof optim.SGD, typeof Trainer, new DeviceError("x").code);`,
    { flags: ["--no-prompt"] },
  );
  assertEquals([code, out, err], [0, "function function function device\n", ""]);
});

Deno.test("import: the package's entries are what mod.ts has under their names", async () => {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const [all, plot, onnx] = await Promise.all(
    [".", "./plot", "./onnx"].map((entry) => import(new URL(exports[entry], root).href)),
  );
  assertEquals(Object.keys(plot), Object.keys(all.plot));
  assertEquals(Object.keys(onnx), Object.keys(all.onnx));
});

Deno.test("import: the examples' name, by the README's line of deno.json", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const line = readme.match(/^\{ "imports": .*$/m)![0];
  const config = JSON.parse(line.replace("/path/to/cudeno/mod.ts", modUrl));
  // It runs; that it type-checks is the matter of the tests below.
  const args = ["run", "--no-prompt", "--no-check", "--allow-ffi"];
  const { code, err } = await inProject(args, config, () => training("@cudeno/cudeno"));
  assertEquals(code, 0, err);
});

// Everything that a project's compiler may be told to insist on, and sets of type declarations.
const insisting = {
  exactOptionalPropertyTypes: true,
  isolatedDeclarations: true,
  verbatimModuleSyntax: true,
  erasableSyntaxOnly: true,
  noPropertyAccessFromIndexSignature: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  allowUnreachableCode: false,
  allowUnusedLabels: false,
};
const dom = ["dom", "dom.iterable", "dom.asynciterable", "esnext", "deno.ns"];
const projects: Record<string, object> = {
  "all that can be insisted on": { ...insisting, lib: ["deno.window"] },
  "the same with the DOM": { ...insisting, lib: dom },
  "the DOM and unstable APIs": { lib: ["dom", "dom.asynciterable", "deno.ns", "deno.unstable"] },
  "no strictness": { strict: false },
};

for (const [name, compilerOptions] of Object.entries(projects)) {
  Deno.test(`import: type-checks in a project with ${name}`, async () => {
    // options may always be undefined
    const given = "optim.SGD([], { lr: 1, momentum: undefined })";
    const { code, err } = await inProject(
      ["check"],
      { compilerOptions },
      () => `${training(modUrl)}\nconsole.log(() => new ${given});`,
    );
    assertEquals(code, 0, err);
  });
}

Deno.test("import: a project that is told to insist does", async () => {
  const { code, err } = await inProject(
    ["check"],
    { compilerOptions: insisting },
    () => "const x: { a?: number } = { a: undefined };\nexport const f = () => x.a;",
  );
  assertEquals(code, 1);
  for (const error of ["TS2375", "TS9007"]) assertStringIncludes(err, error);
});

Deno.test("import: the first use without --allow-ffi says what is missing", async () => {
  const { code, err } = await program(`import { zeros } from "${modUrl}"; zeros([1]);`, {
    flags: ["--no-prompt"],
  });
  assertEquals(code, 1);
  assertStringIncludes(err, "LibraryError");
  assertStringIncludes(err, "--allow-ffi");
});

Deno.test("import: mod.ts is `export *` lines", async () => {
  const text = await Deno.readTextFile(new URL("mod.ts", root));
  assert(text.split("\n").length < 80);
  const statements = text.replace(/\/\*[\s\S]*?\*\//g, "").trim().split(/\n+/);
  assertEquals(statements.filter((line) => !/^export \* (as \w+ )?from ".*";$/.test(line)), []);
});

Deno.test("import: no name that was public once is gone, value or type", async () => {
  const { code, out } = await deno(["doc", "--json", modUrl], { cwd: root });
  assertEquals(code, 0);
  const { nodes } = JSON.parse(out) as { nodes: Record<string, { symbols: { name: string }[] }> };
  const names = Object.values(nodes).flatMap(({ symbols }) => symbols.map(({ name }) => name));
  const file = new URL("tests/fixtures/public_names.txt", root);
  const wanted = (await Deno.readTextFile(file)).trim().split(/\s+/);
  assert(wanted.length > 240);
  assertEquals(wanted.filter((name) => !names.includes(name)), []);
});

Deno.test("import: lib/ and mod.ts import by relative paths alone, but for scope.ts", async () => {
  const { code, out } = await deno(["info", "--json", modUrl], { cwd: root });
  assertEquals(code, 0);
  const { modules } = JSON.parse(out) as {
    modules: { specifier: string; dependencies?: { specifier: string }[] }[];
  };
  assert(modules.length > 20);
  for (const { specifier, dependencies = [] } of modules) {
    if (specifier === "node:async_hooks") continue;
    assert(specifier === modUrl || specifier.startsWith(`${root.href}lib/`), specifier);
    const others = dependencies.map((d) => d.specifier).filter((name) => !name.startsWith("."));
    const scope = specifier === `${root.href}lib/core/scope.ts`;
    assertEquals(others, scope ? ["node:async_hooks"] : [], specifier);
  }
});

/** What init() says to a library, in a process of its own. */
async function opening(library: string, flags = ["--allow-ffi"]): Promise<string> {
  const { out } = await program(
    `import { init } from "${modUrl}";
     try { init({ library: ${JSON.stringify(library)} }); }
     catch (error) { console.log(error.name, error.code, error.cause?.name, error.message); }`,
    { flags },
  );
  assert(out.startsWith("LibraryError library "), out);
  return out;
}

Deno.test("library: a library that is missing, is none or may not be opened", async () => {
  const missing = await opening("/nowhere/libcudeno_cpu.so");
  assertStringIncludes(missing, "Error No cpu library could be opened. Tried:");
  assertStringIncludes(missing, "/nowhere/libcudeno_cpu.so: ");
  assertStringIncludes(missing, "make cpu");
  const none = new URL("deno.json", root).pathname;
  assertStringIncludes(await opening(none), `${none}: `);
  assertStringIncludes(await opening("/nowhere/libcudeno_cuda.so"), "No cuda library");
  assertStringIncludes(
    await opening("/nowhere/libcudeno_cpu.so", ["--no-prompt"]),
    "NotCapable Opening /nowhere/libcudeno_cpu.so needs the permission",
  );
});

Deno.test("library: without any library, the error names every path tried", () =>
  inFolder(async (folder) => {
    await new Deno.Command("cp", { args: ["-R", "lib", "mod.ts", folder], cwd: root }).output();
    await Deno.writeTextFile(`${folder}/main.ts`, `import { zeros } from "./mod.ts"; zeros([1]);`);
    const run = async (env: Record<string, string>) => {
      const flags = ["--no-check", "--allow-ffi", "--allow-env=CUDENO_LIBRARY"];
      const { code, err } = await deno(["run", ...flags, "main.ts"], { cwd: folder, env });
      assertEquals(code, 1);
      assertStringIncludes(err, "LibraryError: No cpu library could be opened. Tried:");
      return err;
    };
    assertStringIncludes(await run({}), "/cuda/build/libcudeno_cpu.");
    // One that is named is the only one that will do.
    const err = await run({ CUDENO_LIBRARY: "/nowhere/libcudeno_cpu.so" });
    assertStringIncludes(err, "/nowhere/libcudeno_cpu.so: ");
    assert(!err.includes("/cuda/build/"), err);
  }));

const compiler = ["g++", "clang++", "c++"].find((name) => {
  try {
    return new Deno.Command(name, { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
});

Deno.test({
  name: "library: a library of another ABI version",
  ignore: !compiler,
  fn: () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(
        `${folder}/other.cpp`,
        'extern "C" int cdn_abi_version() { return 999; }',
      );
      const path = `${folder}/libcudeno_cpu.so`;
      const args = ["-shared", "-fPIC", "other.cpp", "-o", path];
      assert((await new Deno.Command(compiler!, { args, cwd: folder }).output()).success);
      const text = await opening(path);
      assertStringIncludes(text, `${path}: the library has ABI version 999, this module needs `);
    }),
});

Deno.test("import: lib/core has no circle, of types either", async () => {
  const { out } = await deno(["info", "--json", new URL("lib/core/tensor.ts", root).pathname]);
  type Place = { specifier: string };
  type Found = Place & { dependencies?: { code?: Place; type?: Place }[] };
  const { modules } = JSON.parse(out) as { modules: Found[] };
  const open = new Map(modules.map(({ specifier, dependencies = [] }) => {
    return [specifier, dependencies.map(({ code, type }) => (code ?? type)!.specifier)];
  }));
  assert(open.size > 10);
  for (let before = 0; before !== open.size;) {
    before = open.size;
    for (const [file, named] of open) {
      if (!named.some((other) => open.has(other))) open.delete(file);
    }
  }
  assertEquals([...open.keys()], []);
});
