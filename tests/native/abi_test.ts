// The TypeScript side of the C ABI held against cuda/cudeno.h: names, order, types, codes; and what
// the libraries export.
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { type DType, dtypeInfo } from "../../lib/core/dtype.ts";
import { type MatmulPrecision, precisionCode } from "../../lib/core/precision.ts";
import { call } from "../../lib/native/call.ts";
import { abiVersion, symbols, waiting } from "../../lib/native/symbols.ts";
import { DisposedError, NativeError, tensor, zeros } from "../../mod.ts";
import { lossKinds } from "../../lib/ops/loss/_loss.ts";
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
      {
        name: "cdn_y",
        parameters: [
          { name: "a", type: "handles" },
          { name: "n", type: "i64" },
          { name: "b", type: "f64" },
        ],
        result: "i32",
      },
    ],
  );
});

const here = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

Deno.test("the tables are those that .ci/symbols.ts writes from the header", async () => {
  for (const [path, text] of Object.entries(await generate())) {
    assertEquals(await here(path), text, `${path}: run .ci/symbols.ts`);
  }
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
  const choices = ["PRECISION", "ACTIVATION", "LOSS", "RESIZE", "BORDER"];
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
  lossKinds.forEach((name, i) => assertEquals(codes[`LOSS_${name.toUpperCase()}`], i, name));
  assertEquals(codes["OK"], 0);
  const library = await Deno.readTextFile(new URL("../../lib/native/library.ts", import.meta.url));
  const written = [...library.matchAll(/const ([A-Z_]+) = (\d+);/g)];
  assert(written.length > 0);
  for (const [, name, value] of written) assertEquals(Number(value), codes[name!], name);
});

Deno.test("the fuzzer has a place for every function", async () => {
  const [computing, managing] = (await here("tests/native/table.h")).split("#define MANAGING")
    .map((part) => [...part.matchAll(/\bX\((\w+)\)/g)].map(([, name]) => name!));
  assertEquals([...computing!, ...managing!].map((name) => `cdn_${name}`).sort(), names.toSorted());
  assert(computing!.includes("relu") && managing!.includes("alloc"));
  const fuzzer = await here("tests/native/fuzz.cpp") + await here("tests/native/fuzzer.h");
  assertEquals(managing!.filter((name) => !new RegExp(`api\\.${name}\\b`).test(fuzzer)), []);
});

Deno.test("call: numbers become sizes, tensors handles, and a status an error", () => {
  const [x, y] = [tensor([-1, 2], { device: "cpu" }), zeros([2], { device: "cpu" })];
  call("cdn_relu", y, x, 2, y.code);
  assertEquals([...y.dataSync()], [0, 2]);
  call("cdn_add", y, x, null, new BigInt64Array([2n, 1n, 0n]), 1, 3, y.code);
  assertEquals([...y.dataSync()], [2, 5]);
  assertThrows(() => call("cdn_relu", y, x, 3, y.code), NativeError, "relu: ");
  assertThrows(() => call("cdn_relu", y, null, 2, y.code), NativeError, "relu: ");
  x.dispose();
  assertThrows(() => call("cdn_relu", y, x, 2, y.code), DisposedError, "after it was disposed");
  (() => {
    // @ts-expect-error there is no such function
    call("cdn_relo", y, x, 2, y.code);
    // @ts-expect-error the dtype is missing
    call("cdn_relu", y, x, 2);
    // @ts-expect-error a number is no tensor
    call("cdn_relu", y, 5, 2, y.code);
    // @ts-expect-error no tensor says on which library
    call("cdn_sync", 0);
  });
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
