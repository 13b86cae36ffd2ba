// The TypeScript side of the C ABI held against cuda/cudeno.h: names, order, types, codes; and what
// the libraries export.
import { assert, assertEquals, assertGreater } from "@std/assert";
import { type DType, dtypeInfo } from "../../lib/core/dtype.ts";
import { type MatmulPrecision, precisionCode } from "../../lib/core/precision.ts";
import { abiVersion, symbols, waiting } from "../../lib/native/symbols.ts";
import { generate, parse, readHeader } from "../../.ci/symbols.ts";

const { header, statements } = await readHeader();
const prototypes = parse(statements);
const names = prototypes.map(({ name }) => name);

function enumerators(prefix: string): Record<string, number> {
  const found = statements.matchAll(new RegExp(`\\b${prefix}(\\w+) = (-?\\d+)`, "g"));
  return Object.fromEntries([...found].map(([, name, value]) => [name, Number(value)]));
}

Deno.test("the header is read in full", () => {
  assertGreater(names.length, 70);
  // Nothing of the form name( is left out.
  assertEquals([...statements.matchAll(/\b(cdn_\w+) ?\(/g)].map(([, name]) => name), names);
  assertEquals(new Set(names).size, names.length);
  assertEquals(
    parse("const char *cdn_x(void); int32_t cdn_y(const uint32_t *a,\n int64_t n, double b);"),
    [
      { name: "cdn_x", parameters: [], result: "pointer" },
      { name: "cdn_y", parameters: ["buffer", "i64", "f64"], result: "i32" },
    ],
  );
});

Deno.test("the symbol table is the one that .ci/symbols.ts writes from the header", async () => {
  const written = await Deno.readTextFile(new URL("../../lib/native/symbols.ts", import.meta.url));
  assertEquals(written, await generate());
  assertEquals(Object.keys(symbols), names);
  assertEquals(symbols.cdn_free, { parameters: ["u32"], result: "i32" });
});

Deno.test("functions called on another thread are declared as their originals", () => {
  for (const [alias, { name, parameters, result, nonblocking }] of Object.entries(waiting)) {
    assert(!(alias in symbols), `${alias} hides a function`);
    const original = symbols[name as keyof typeof symbols];
    assertEquals([...parameters], [...original.parameters], alias);
    assertEquals(result as string, original.result, alias);
    assertEquals(nonblocking, true, alias);
  }
});

Deno.test("version, dtype codes and status codes are the header's", async () => {
  assertEquals(Number(header.match(/#define CDN_ABI_VERSION (\d+)/)?.[1]), abiVersion);

  const codes = enumerators("CDN_");
  const dtypes = ["FLOAT32", "FLOAT64", "INT32", "UINT8", "FLOAT16", "BFLOAT16"];
  const choices = ["PRECISION", "ACTIVATION"];
  const statuses = Object.keys(codes).filter((name) =>
    !dtypes.includes(name) && !choices.includes(name.split("_")[0]!)
  );
  assertEquals(statuses.map((name) => codes[name]), statuses.map((_, i) => i));
  for (const name of dtypes) {
    assertEquals(dtypeInfo(name.toLowerCase() as DType).code, codes[name], name);
  }
  for (const name of ["FLOAT32", "IEEE", "TF32", "BFLOAT16"]) {
    const code = precisionCode(name.toLowerCase() as MatmulPrecision);
    assertEquals(code, codes[`PRECISION_${name}`], name);
  }
  assertEquals(codes["OK"], 0);
  const library = await Deno.readTextFile(new URL("../../lib/native/library.ts", import.meta.url));
  const written = [...library.matchAll(/const ([A-Z_]+) = (\d+);/g)];
  assert(written.length > 0);
  for (const [, name, value] of written) assertEquals(Number(value), codes[name!], name);
});

Deno.test("the fuzzer calls every function", async () => {
  const table = await Deno.readTextFile(new URL("api.h", import.meta.url));
  const called = [...table.matchAll(/\bX\((\w+)\)/g)].map(([, name]) => `cdn_${name}`);
  assertEquals(called.sort(), names.toSorted());
});

const build = new URL("../../cuda/build/", import.meta.url);

function libraries(): URL[] {
  return ["libcudeno_cpu.so", "libcudeno_cuda.so", "asan/libcudeno_cpu.so"]
    .map((path) => new URL(path, build))
    .filter((file) => {
      try {
        return Deno.statSync(file).isFile;
      } catch {
        return false;
      }
    });
}

async function exports(file: URL): Promise<string[] | undefined> {
  try {
    const nm = new Deno.Command("nm", { args: ["-D", "--defined-only", file.pathname] });
    const { success, stdout, stderr } = await nm.output();
    assert(success, new TextDecoder().decode(stderr));
    // Lines are "address type name"; type A is the name of a version, no symbol.
    return new TextDecoder().decode(stdout).split("\n").map((line) => line.trim().split(/\s+/))
      .filter((words) => words.length === 3 && words[1] !== "A").map((words) => words[2]!);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

for (const file of libraries()) {
  const name = file.pathname.split("/cuda/build/")[1]!;
  const found = await exports(file);
  Deno.test({
    name: `${name} exports the header's functions and nothing else`,
    ignore: found === undefined,
    fn() {
      const missing = names.filter((name) => !found!.includes(name));
      const extra = found!.filter((name) => !names.includes(name));
      assertEquals({ missing, extra }, { missing: [], extra: [] }, "is it older than cudeno.h?");
    },
  });
}
