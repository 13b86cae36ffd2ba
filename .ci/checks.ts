/**
 * Runs every check and every test, two at a time, goes on after a failure, and ends with the line
 * `N passed, N failed`: each check counts as one, each Deno test as one. `make test` runs it.
 *
 *     deno run -A .ci/checks.ts [ASAN TSAN]
 *
 * ASAN and TSAN are the programs that throw bad calls at the C ABI under the sanitizers.
 */

const root = new URL("..", import.meta.url);
Deno.chdir(root);

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

let passed = 0;
let failed = 0;
let skipped = 0;
const failures: string[] = [];

function count(name: string, ok: boolean): void {
  if (ok) passed++;
  else {
    failed++;
    failures.push(name);
  }
}

/** Runs a program, shows what it printed when it has ended, and returns that and its success. */
async function run(name: string, command: string, args: string[]) {
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const start = performance.now();
  const { success, stdout, stderr } = await child.output();
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  console.log(`\n== ${name} (${seconds} s)\n${text}${decoder.decode(stderr)}`.trimEnd());
  return { success, text, errors: decoder.decode(stderr) };
}

/** Runs something that passes or fails as a whole. */
async function check(name: string, command: string, ...args: string[]): Promise<void> {
  count(name, (await run(name, command, args)).success);
}

/**
 * Runs `deno test` and adds up what its closing line says. What went wrong is said once more at the
 * end, where it is found.
 */
async function test(name: string, ...args: string[]): Promise<number> {
  const { success, text: coloured } = await run(name, deno, ["test", "-A", ...args]);
  // deno-lint-ignore no-control-regex
  const text = coloured.replace(/\x1b\[[\d;]*m/g, "");
  const lines = text.matchAll(
    /^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed(?:.*? \| (\d+) ignored)?/gm,
  );
  const [, ok = 0, bad = 0, ignored = 0] = [...lines].at(-1)?.map(Number) ?? [];
  passed += ok;
  failed += bad;
  skipped += ignored || 0;
  if (bad > 0) failures.push(`${name}\n${text.split(/^ ERRORS $/m).at(-1)!.trim()}\n`);
  else if (!success) count(`${name} (ended before its summary)`, false);
  return ok + bad;
}

/**
 * `deno doc --lint`, but that constructors need no text: without one, editors show the class's on
 * hover.
 */
async function checkDocumentation(): Promise<void> {
  const name = "documentation (deno doc --lint)";
  const { success, errors } = await run(name, deno, ["doc", "--lint", "--quiet", ...modules]);
  // deno-lint-ignore no-control-regex
  const found = errors.replace(/\x1b\[[\d;]*m/g, "").split(/^(?=error\[)/m).slice(1);
  const meant = found.filter((text) =>
    !(text.startsWith("error[missing-jsdoc]") && text.includes("constructor("))
  );
  count(name, success || (found.length > 0 && meant.length === 0));
  if (meant.length > 0) console.log(`== not of a constructor\n${meant.join("")}`);
}

const deno = Deno.execPath();
const present = (...paths: string[]) => paths.filter(exists);
const code = present("mod.ts", "lib", "examples", "tests", "bench", ".ci");

// With what mod.ts names as namespaces, which it does not look into by itself.
const parts = [
  "nn",
  "optim",
  "optim/schedule",
  "data",
  "data/transforms",
  "io",
  "models",
  "onnx",
  "plot",
  "train/metrics",
  "train/callbacks",
];
const modules = ["mod.ts", "lib/nn/init.ts", ...parts.map((part) => `lib/${part}/mod.ts`)];
const [asan, tsan] = Deno.args;
const table = "tests/ops/ops_test.ts"; // as long as all others together

async function statics(): Promise<number> {
  await check("format (deno fmt)", deno, "fmt", "--check");
  await check("lint (deno lint)", deno, "lint", "--quiet");
  await check("lines of at most 100 columns", deno, "run", "--allow-read", ".ci/columns.ts");
  await check("types (deno check)", deno, "check", "--quiet", ...code);
  await checkDocumentation();
  if (asan) await check("bad calls under AddressSanitizer", asan);
  if (tsan) await check("bad calls under ThreadSanitizer", tsan, "--calls", "20000");
  return await test(`tests (deno test ${table})`, table);
}

async function others(): Promise<number> {
  // In parallel, so that isolates meet in one process.
  const run = await test("tests (deno test, the others)", "--parallel", `--ignore=${table}`);
  await test(
    "examples in the documentation",
    "--doc",
    ...present("mod.ts", "lib", "README.md", "docs"),
  );
  return run;
}

// Side by side, since each is one thread for the most part.
const tests = (await Promise.all([statics(), others()])).reduce((a, b) => a + b);

if (tests === 0) count("no test ran", false);
if (failures.length > 0) console.log(`\nFailed: ${failures.join(", ")}`);
if (skipped > 0) console.log(`\n${skipped} tests were skipped`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed > 0 ? 1 : 0);
