/**
 * Writes what is made of cuda/cudeno.h, which tests/native/abi_test.ts compares:
 *
 *     deno run --allow-read --allow-write .ci/symbols.ts
 *
 * - lib/native/symbols.ts: its functions as Deno sees them,
 * - lib/native/calls.ts: those that take tensors, as operations call them,
 * - cuda/runtime/functions.inc: those that programs may call, by their numbers there,
 * - tests/native/table.h: their names, as the fuzzer sorts them.
 *
 * The types are written out in full, since an importer's `isolatedDeclarations` allows nothing
 * else.
 */

export interface Prototype {
  name: string;
  parameters: { name: string; type: string }[];
  result: string;
}

// Sizes are i64, to be given as BigInt: a number takes Deno's slow path.
const scalars: Record<string, string> = {
  uint32_t: "u32",
  int32_t: "i32",
  int64_t: "i64",
  double: "f64",
};

function ffiType(type: string, pointer: string): string {
  if (type.endsWith("*")) return pointer;
  const known = scalars[type];
  if (known === undefined) throw new Error(`cudeno.h: type ${type} has no counterpart here`);
  return known;
}

// A parameter's name is its last word. A list of handles is told from other buffers.
function parameterOf(text: string): Prototype["parameters"][number] {
  const [, type, name] = text.trim().match(/^(.*?)(\w+)$/)!;
  const pointer = /^const uint32_t ?\*/.test(type!) ? "handles" : "buffer";
  return { name: name!, type: ffiType(type!.trim(), pointer) };
}

/** The functions that a header without comments declares, in its order. */
export function parse(text: string): Prototype[] {
  return [...text.matchAll(/([\w ]+?[\s*]+)(cdn_\w+) ?\(([^)]*)\)/g)].map(
    ([, result, name, list]) => ({
      name: name!,
      parameters: list!.trim() === "void" ? [] : list!.split(",").map(parameterOf),
      result: ffiType(result!.trim(), "pointer"),
    }),
  );
}

/** cuda/cudeno.h without comments, and without directives on one line. */
export async function readHeader(): Promise<{ header: string; statements: string }> {
  const file = new URL("../cuda/cudeno.h", import.meta.url);
  const header = (await Deno.readTextFile(file)).replace(/\/\*[\s\S]*?\*\//g, " ");
  return { header, statements: header.replace(/^\s*#.*$/gm, "").replace(/\s+/g, " ") };
}

/** The functions that are also called on another thread: the name there, and the header's. */
const elsewhere = {
  wait_for_read: "cdn_read_wait",
  wait_for_write: "cdn_write_wait",
};

function symbol({ name, parameters, result }: Prototype, alias?: string): string {
  const list = parameters.map(({ type }) => type === "handles" ? `"buffer"` : `"${type}"`);
  const [before, after] = alias ? [`name: "${name}", `, ", nonblocking: true"] : ["", ""];
  return `  ${alias ?? name}: { ${before}parameters: [${
    list.join(", ")
  }], result: "${result}"${after} },`;
}

// Handles that are no tensor's.
const others = ["stream", "event", "ticket", "first", "second", "program"];
const isTensor = ({ name, type }: Prototype["parameters"][number]) =>
  type === "u32" && !others.includes(name);

// Each is a function of its own, in which V8 finds one native function, and calls it directly.
function call({ name, parameters }: Prototype): string {
  const types: Record<string, string> = { i32: "number", f64: "number", i64: "Size" };
  const tensors = parameters.filter(isTensor).map((p) => p.name);
  const typed = parameters.map((p) => `${p.name}: ${isTensor(p) ? "T" : types[p.type] ?? "Host"}`);
  const given = parameters.map((p) =>
    isTensor(p) ? `${p.name}_` : p.type === "i64" ? `BigInt(${p.name})` : p.name
  );
  const on = tensors.length === 1 ? tensors[0] : `(${tensors.join(" ?? ")})`;
  const names = parameters.map((p) => p.name).join(", ");
  // Handles first, as one may be that of a copy, which is a call of its own.
  const handles = tensors.map((x) => `${x}_ = handleOf(${x})`).join(", ");
  return `  ${name}(${typed.join(", ")}): void { const { backend } = ${on}!, ${handles}; ` +
    `told?.("${name}", [${names}], [${tensors.map((x) => `${x}_`).join(", ")}]); ` +
    `backend.check(backend.functions.${name}(${given.join(", ")})); },`;
}

// Those that the fuzzer calls with arguments made up by type alone: sizes and scalars, and handles,
// the output's first. What has a `bytes` manages memory; what has more than is often right at once
// has a place of its own.
function isComputing({ name, parameters }: Prototype): boolean {
  const own = /^cdn_(matmul_fused|attention(_grad)?)$/.test(name);
  return parameters.length > 1 && isTensor(parameters[0]!) && !own &&
    !parameters.some((p) => p.name === "bytes" || p.type === "handles");
}

// Those that do work on the device with tensors, and nothing else.
function isProgrammable({ parameters, result }: Prototype): boolean {
  return result === "i32" && parameters.some((p) => isTensor(p) || p.type === "handles") &&
    !parameters.some(({ name }) => ["host", "ticket", "uses"].includes(name)) &&
    parameters.length > 1;
}

function names(macro: string, prototypes: Prototype[]): string {
  const list = prototypes.map(({ name }) => `  X(${name.slice("cdn_".length)})`);
  return `#define ${macro}(X) \\\n${list.join(" \\\n")}`;
}

/** The texts of the files, by path. */
export async function generate(): Promise<Record<string, string>> {
  const { header, statements } = await readHeader();
  const prototypes = parse(statements);
  const aliases = Object.entries(elsewhere).map(([alias, name]) =>
    symbol(prototypes.find((prototype) => prototype.name === name)!, alias)
  );
  const written = "// Written by .ci/symbols.ts from cuda/cudeno.h, to be changed there.";
  const tensors = prototypes.filter((p) => p.result === "i32" && p.parameters.some(isTensor));
  const programmable = prototypes.filter((p) => isProgrammable(p) && p.name !== "cdn_view");
  return {
    "cuda/runtime/functions.inc": `${written}
${programmable.map(({ name }) => `CDN_FUNCTION(${name})`).join("\n")}
`,
    "lib/native/symbols.ts": `${written}

/**
 * Every exported function, in the header's order: u32 is a handle, i64 a size (a BigInt), f64 a
 * scalar.
 */
// deno-fmt-ignore
export const symbols = {
${prototypes.map((prototype) => symbol(prototype)).join("\n")}
} as const;

/** The same functions called on another thread, for waiting without holding up the event loop. */
// deno-fmt-ignore
export const waiting = {
${aliases.join("\n")}
} as const;

/** The functions that a program may call, in the order of their numbers there: their parameters. */
// deno-fmt-ignore
export const programmable: Readonly<Record<string, string>> = {
${
      programmable.map((p) => `  ${p.name}: "${p.parameters.map((x) => x.name).join(" ")}",`).join(
        "\n",
      )
    }
};

/** The version of the ABI that this table describes. */
export const abiVersion = ${header.match(/#define CDN_ABI_VERSION (\d+)/)![1]};
`,
    "lib/native/calls.ts": `${written}
import { type Argument as T, handleOf, type Host, type Size, told } from "./arguments.ts";

/** The functions that take tensors, as call() runs them and as helpers take kernels. */
// deno-fmt-ignore
export const calls = {
${tensors.map(call).join("\n")}
};
`,
    "tests/native/table.h": `${written}
#pragma once
// clang-format off
${names("COMPUTING", prototypes.filter(isComputing))}
${names("MANAGING", prototypes.filter((prototype) => !isComputing(prototype)))}
// clang-format on
`,
  };
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(await generate())) {
    await Deno.writeTextFile(new URL(`../${path}`, import.meta.url), text);
  }
}
