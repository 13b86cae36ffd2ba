// An operation that does not exist, added to a copy of the tree as CONTRIBUTING says: by edits in
// five places. All else follows, so that it is typed, checked, built, fuzzed and tested.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deno, exists, inFolder, root } from "../_helpers.ts";

/** Puts text before the first match in a file of the copy, or makes the file. */
type Edit = [path: string, text: string, before?: RegExp];

const prototypes = `int32_t cdn_softsign(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_softsign_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
`;
const places: Edit[][] = [
  [[
    "cuda/ops/elementwise/softsign.cu",
    `#include "kernel/elementwise.h"

using namespace cdn;

namespace {

struct Softsign {
  template <class T> CDN_FN T operator()(T x) const { return x / (T(1) + fn::abs(x)); }
};
struct SoftsignGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    T size = T(1) + fn::abs(x);
    return dy / (size * size);
  }
};

}  // namespace

CDN_API int32_t cdn_softsign(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_softsign", Floats{}, Just<Softsign>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_softsign_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype) {
  return unary_grad("cdn_softsign_grad", Floats{}, Just<SoftsignGrad>{}, dx, dy, x, n, dtype);
}
`,
  ]],
  [["cuda/cudeno.h", prototypes, /\/\* Fill and cast/]],
  [[
    "lib/ops/elementwise/softsign.ts",
    `import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { floats } from "../_operands.ts";
import { sloped, unary } from "./_unary.ts";
import { add, div, mul } from "./binary.ts";
import { abs, sign } from "./unary.ts";

/**
 * x / (1 + |x|). Floats.
 *
 * \`\`\`ts
 * import { softsign, tensor } from "@cudeno/cudeno";
 * console.log(softsign(tensor([1, -3])).dataSync()); // 0.5, -0.75
 * \`\`\`
 */
export function softsign(x: Tensor): Tensor {
  return unary("softsign", x, floats, calls.cdn_softsign, (grad) => {
    return sloped("softsign", calls.cdn_softsign_grad, grad, x, (x) => {
      const size = add(abs(x), 1);
      return div(mul(sign(x), -2), mul(mul(size, size), size));
    });
  });
}
`,
  ]],
  [
    ["tests/cases/activations.ts", "  softsign,\n", /^ {2}softplus,/m],
    [
      "tests/cases/activations.ts",
      `  parametric("softsign", "", (x) => softsign(x), null, (x) => x / (1 + Math.abs(x)), {
    dtypes: floats,
    fill: awayFromZero(0.1, 4),
    tolerance: roundings(4),
    specials: [elementwise("NaN and zeros", [[NaN, NaN], [0, 0]])],
  }),
`,
      /(?<=Cases: readonly Case\[\] = \[\n)/,
    ],
  ],
  [["lib/ops/elementwise/mod.ts", 'export * from "./softsign.ts";\n', /export/]],
];

async function apply(folder: string, [path, text, before]: Edit): Promise<void> {
  const old = before ? await Deno.readTextFile(`${folder}/${path}`) : "";
  const at = before ? old.search(before) : 0;
  assert(at >= 0, `${path} has no ${before}`);
  await Deno.writeTextFile(`${folder}/${path}`, old.slice(0, at) + text + old.slice(at));
}

async function output(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `${command} ${args.join(" ")}: ${out}${err}`);
  return out!;
}

async function inCopy(folder: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await deno(args, { cwd: folder, env: { CUDENO_LIBRARY: "" } });
  assertEquals(code, 0, `deno ${args.join(" ")}: ${out}${err}`);
  return out;
}

// Whether the CPU library's parts are there, so that only what is new has to be compiled.
function isBuilt(): boolean {
  const made = (path: string) => Deno.statSync(new URL(path, root)).mtime!.getTime();
  const object = "cuda/build/obj/cpu/ops/elementwise/unary.cu.o";
  return exists(new URL(object, root)) && made(object) >= made("cuda/cudeno.h");
}

Deno.test("an operation is added in the five places that CONTRIBUTING names", () =>
  inFolder(async (folder) => {
    const tree = [".ci", "cuda", "lib", "tests", "mod.ts", "deno.json", "Makefile"];
    await output("cp", ["-a", ...tree, folder], root.pathname);
    if (exists(new URL("vendor", root))) {
      await Deno.symlink(`${root.pathname}vendor`, `${folder}/vendor`);
    }
    const header = await Deno.stat(`${folder}/cuda/cudeno.h`);
    for (const edit of places.flat()) await apply(folder, edit);

    const args = ["-rq", "--exclude=build", "--exclude=vendor", root.pathname, folder];
    const { stdout } = await new Deno.Command("diff", { args }).output();
    const changed = new TextDecoder().decode(stdout).split("\n")
      .filter((line) => line.startsWith("Files ") || line.startsWith(`Only in ${folder}`));
    assertEquals(changed.length, 5, changed.join("\n"));

    const text = await Deno.readTextFile(new URL("CONTRIBUTING.md", root));
    const section = text.split("## Adding an operation")[1]!.split("\n## ")[0]!;
    assertEquals([...section.matchAll(/^(\d)\. /gm)].map(([, number]) => number), [..."12345"]);
    for (const [[path]] of places as [Edit][]) {
      assertStringIncludes(section, path.slice(0, path.lastIndexOf("/") + 1));
    }

    await inCopy(folder, "run", "--allow-read", "--allow-write", ".ci/symbols.ts");
    const table = await Deno.readTextFile(`${folder}/tests/native/table.h`);
    assertStringIncludes(table.split("MANAGING")[0]!, "X(softsign) ");
    await inCopy(folder, "check", "mod.ts", "tests/cases.ts");
    await inCopy(folder, "lint", "--quiet", "lib/ops/elementwise", "tests/cases");
    if (!isBuilt()) return;

    // The other objects need not be compiled again for a declaration more.
    await Deno.utime(`${folder}/cuda/cudeno.h`, header.atime!, header.mtime!);
    await output("make", ["--silent", "cuda/build/libcudeno_cpu.so"], folder);
    await output("cp", ["README.md", folder], root.pathname);
    const tests = ["ops/ops", "ops/grad", "native/abi", "docs/docs"].map((name) =>
      `tests/${name}_test.ts`
    );
    await Deno.remove(`${folder}/cuda/build/libcudeno_cuda.so`).catch(() => {});
    const filter = "--filter=/softsign|table|fuzzer|exports|example/";
    const out = await inCopy(folder, "test", "-A", "--no-check", filter, ...tests);
    for (const test of ["matches", "gradients", "second derivatives"]) {
      assert(new RegExp(`^softsign\\(\\):? ${test} .*ok`, "m").test(out), out);
    }
  }));
