/**
 * Format, lint, types, and the tests of what changed since the last commit, in less than a minute.
 * `make quick` builds and runs it.
 *
 *     deno run -A .ci/quick.ts [FILE...]    (as if these files had changed)
 */

const limit = 55_000; // milliseconds
const deadline = performance.now() + limit;
Deno.chdir(new URL("..", import.meta.url));

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return ""; // removed
  }
}

function git(...args: string[]): string[] {
  const { success, stdout } = new Deno.Command("git", { args, stderr: "inherit" }).outputSync();
  if (!success) {
    throw new Error("make quick asks git what changed: run it in a clone, or make test");
  }
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
}

function filesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
      isDirectory ? filesIn(`${folder}/${name}`) : `${folder}/${name}`
    );
  } catch {
    return [];
  }
}

const isTest = (path: string) => path.endsWith("_test.ts");
const tests = filesIn("tests").filter(isTest);
/** Tests that loop over the table of cases: they run for the cases of a family alone. */
const tables = ["ops", "grad", "parity"].map((name) => `tests/ops/${name}_test.ts`);

/** What a file of tests/ imports by path, and what that imports as long as it is in tests/. */
function importsOf(path: string, seen = new Set<string>()): Set<string> {
  for (const [, to] of read(path).matchAll(/from "(\.[^"]+)"/g)) {
    const file = new URL(to!, new URL(path, "file:///")).pathname.slice(1);
    if (seen.has(file) || (tables.includes(path) && file.startsWith("tests/cases/"))) continue;
    seen.add(file);
    if (file.startsWith("tests/") && file !== "tests/cases.ts") importsOf(file, seen);
  }
  return seen;
}

/** The files of cases that call an operation of a family: it is where mod.ts takes it from. */
function casesOf(family: string): string[] {
  const names = [...read("mod.ts").matchAll(/\{([^}]*)\} from "\.\/lib\/ops\/(\w+)\//g)]
    .filter(([, , of]) => of === family).flatMap(([, list]) => list!.match(/\w+/g)!)
    .filter((name) => name !== "type");
  return filesIn("tests/cases").filter((path) =>
    [...read(path).matchAll(/\{([^}]*)\} from "\.\.\/\.\.\/mod\.ts"/g)]
      .some(([, list]) => list!.match(/\w+/g)!.some((name) => names.includes(name)))
  );
}

/** For a changed file: families of operations, and folders of tests. */
const rules: [pattern: RegExp, families: string[], folders: string[]][] = [
  [/^(?:lib|cuda)\/ops\/(\w+)\//, ["$1"], []],
  [/^cuda\/ops\/optim\//, [], ["optim"]],
  [/^cuda\/image\//, [], ["io"]],
  [/^cuda\/.pu\/gemm\//, ["linalg"], []],
  [/^cuda\/.pu\/shape\//, ["shape"], []],
  [/^cuda\/.pu\/sort\//, ["index"], []],
  [/^cuda\/(.pu\/)?(kernel|tile)\//, ["elementwise", "reduce"], []],
  [/^(cuda\/(runtime|.pu\/device)\/|cuda\/[^/]*$|lib\/native\/)/, ["elementwise"], ["native"]],
  [/^lib\/(core\/|[^/]*$)/, ["elementwise"], ["core"]],
  [/^lib\/(nn|optim|train|io|data)\//, [], ["$1"]],
  [/^lib\/models\//, [], ["nn"]],
  [/^(mod\.ts|README\.md|examples\/|docs\/)/, [], ["docs"]],
];

const changed = new Set(
  Deno.args.length > 0
    ? Deno.args
    : [...git("diff", "--name-only", "HEAD"), ...git("ls-files", "-o", "--exclude-standard")],
);
const chosen = new Set([...changed].filter((path) => tests.includes(path)));
const caseFiles = new Set([...changed].filter((path) => path.startsWith("tests/cases/")));
for (const path of changed) {
  for (const [pattern, families, folders] of rules) {
    const match = path.match(pattern);
    if (!match) continue;
    for (const name of families) {
      const family = name.replace("$1", match[1]!);
      casesOf(family).forEach((file) => caseFiles.add(file));
      filesIn(`tests/ops/${family}`).forEach((file) => chosen.add(file));
    }
    for (const name of folders) {
      filesIn(`tests/${name.replace("$1", match[1]!)}`).filter(isTest)
        .forEach((file) => chosen.add(file));
    }
  }
}
for (const test of tests) {
  if ([...importsOf(test)].some((path) => changed.has(path))) chosen.add(test);
}

/** The names of the cases that files of cases have, as a filter. */
async function filterOf(files: Iterable<string>): Promise<string> {
  const names: string[] = [];
  for (const file of files) {
    const module = await import(new URL(file, `file://${Deno.cwd()}/`).href);
    for (const list of Object.values(module)) {
      if (Array.isArray(list)) names.push(...list.flatMap(({ name, call }) => call ? [name] : []));
    }
  }
  const escaped = names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return names.length > 0 ? `/(^|: )(${escaped.join("|")})[ :]/` : "";
}

const typescript = [...changed].filter((path) => path.endsWith(".ts") && read(path) !== "");
const jobs: [name: string, ...args: string[]][] = [
  ["format", "fmt", "--check"],
  ["lint", "lint", "--quiet"],
  ["columns", "run", "--allow-read", ".ci/columns.ts"],
  ["types", "check", "--quiet", "mod.ts", ...typescript],
];
const test = (name: string, ...args: string[]) =>
  jobs.push([name, "test", "-A", "--no-check", "--reporter=dot", ...args]);
// First what was edited, then the cases, then what only may be concerned.
const edited = [...chosen].filter((path) => changed.has(path));
for (const path of edited) test(path, path);
const filter = await filterOf([...caseFiles].filter((path) => read(path) !== ""));
if (filter !== "") {
  const whole = tables.filter((path) => !edited.includes(path));
  const of = [...caseFiles].map((path) => path.slice("tests/cases/".length, -3)).join(", ");
  for (const path of whole) test(`${path} (${of})`, path, `--filter=${filter}`);
}
for (const path of chosen) if (!edited.includes(path)) test(path, path);

let failed = 0;
const late: string[] = [];
async function work(): Promise<void> {
  for (let job; (job = jobs.shift());) {
    const [name, ...args] = job;
    const start = performance.now();
    if (start > deadline) {
      late.push(name);
      continue;
    }
    const child = new Deno.Command(Deno.execPath(), {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let stopped = false;
    const timer = setTimeout(() => (stopped = true, child.kill()), deadline - start);
    const { success, stdout, stderr } = await child.output();
    clearTimeout(timer);
    if (!success && stopped) {
      late.push(name);
      continue;
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${success ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
    if (success) continue;
    failed++;
    const decoder = new TextDecoder();
    console.log(decoder.decode(stdout) + decoder.decode(stderr));
  }
}
await Promise.all(Array.from({ length: Math.min(4, navigator.hardwareConcurrency) }, work));

if (late.length > 0) {
  console.log(`\nNo time for these, which make test runs:\n  ${late.join("\n  ")}`);
}
const seconds = ((performance.now() - deadline + limit) / 1000).toFixed(0);
console.log(`\n${changed.size} files changed; ${failed} checks failed (${seconds} s)`);
Deno.exit(failed > 0 ? 1 : 0);
