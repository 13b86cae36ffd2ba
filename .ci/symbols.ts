/**
 * Writes lib/native/symbols.ts, the functions of cuda/cudeno.h as Deno sees them:
 *
 *     deno run --allow-read --allow-write .ci/symbols.ts
 *
 * The types are written out in full, since an importer's `isolatedDeclarations` allows nothing
 * else.
 */

export interface Prototype {
  name: string;
  parameters: string[];
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

// The type alone: a parameter's name is its last word.
function parameterType(parameter: string): string {
  return ffiType(parameter.trim().replace(/\w+$/, "").trim(), "buffer");
}

/** The functions that a header without comments declares, in its order. */
export function parse(text: string): Prototype[] {
  return [...text.matchAll(/([\w ]+?[\s*]+)(cdn_\w+) ?\(([^)]*)\)/g)].map(
    ([, result, name, list]) => ({
      name: name!,
      parameters: list!.trim() === "void" ? [] : list!.split(",").map(parameterType),
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

function line({ name, parameters, result }: Prototype, alias?: string): string {
  const list = parameters.map((type) => `"${type}"`).join(", ");
  const [before, after] = alias ? [`name: "${name}", `, ", nonblocking: true"] : ["", ""];
  return `  ${alias ?? name}: { ${before}parameters: [${list}], result: "${result}"${after} },`;
}

/** The text of lib/native/symbols.ts. */
export async function generate(): Promise<string> {
  const { header, statements } = await readHeader();
  const prototypes = parse(statements);
  const aliases = Object.entries(elsewhere).map(([alias, name]) =>
    line(prototypes.find((prototype) => prototype.name === name)!, alias)
  );
  return `\
// Written by .ci/symbols.ts from cuda/cudeno.h; change that and run this. tests/native/abi_test.ts
// compares the two.

/**
 * Every exported function, in the header's order: u32 is a handle, i64 a size (a BigInt), f64 a
 * scalar.
 */
// deno-fmt-ignore
export const symbols = {
${prototypes.map((prototype) => line(prototype)).join("\n")}
} as const;

/** The same functions called on another thread, for waiting without holding up the event loop. */
// deno-fmt-ignore
export const waiting = {
${aliases.join("\n")}
} as const;

/** The version of the ABI that this table describes. */
export const abiVersion = ${header.match(/#define CDN_ABI_VERSION (\d+)/)![1]};
`;
}

if (import.meta.main) {
  await Deno.writeTextFile(new URL("../lib/native/symbols.ts", import.meta.url), await generate());
}
