/**
 * Fills vendor/ with the @std packages that deno.json names, so that `deno run`, `test` and `check`
 * need neither flag nor network: from JSR where it can be reached, else from the npm package
 * `deno-std`, which holds the stable modules as JavaScript.
 *
 *     deno run -A .ci/vendor.ts
 */

const npmPackage = "deno-std@1.4.0";
const root = `${import.meta.dirname}/..`;
const vendor = `${root}/vendor/jsr.io/@std`;
const jsr = new URL(Deno.env.get("JSR_URL") ?? "https://jsr.io");

const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
const specifiers = Object.values<string>(config.imports);
const names = Object.keys(config.imports).map((specifier) => specifier.replace("@std/", ""));

/** Runs a command and returns its standard output; throws with what it said when it fails. */
async function run(command: string, args: string[], cwd = root): Promise<string> {
  const child = new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  });
  const { success, code, signal, stdout, stderr } = await child.output().catch((cause) => {
    throw new Error(`${command} could not be run`, { cause });
  });
  const text = new TextDecoder();
  if (!success) {
    const how = signal ? `was stopped by ${signal}` : `failed with status ${code}`;
    throw new Error(`${command} ${args.join(" ")} ${how}: ${text.decode(stderr).trim()}`);
  }
  return text.decode(stdout);
}

/** Imports the packages in a Deno of its own, which puts into vendor/ what it had to fetch. */
function load(...flags: string[]): Promise<string> {
  const script = names.map((name) => `import "@std/${name}";`).join("");
  return run(Deno.execPath(), ["eval", "-q", ...flags, script]);
}

async function fromJsr(): Promise<void> {
  const probe = await fetch(new URL("/@std/assert/meta.json", jsr), {
    signal: AbortSignal.timeout(5_000),
  });
  await probe.body?.cancel();
  if (!probe.ok) throw new Error(`${probe.url} answered ${probe.status}`);
  await run(Deno.execPath(), ["cache", "-q", ...specifiers]); // their types too
  await load();
}

/**
 * Types for what the JavaScript cannot say by itself: without them `assert(x)` would narrow nothing
 * and `parseArgs` would return no options. Deliberately no wider than JSR's own declarations.
 */
const declarations: Record<string, string> = {
  "assert/mod": `
type Newable = abstract new (...args: any[]) => any;
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;
type ArrayLikeArg<T> = ArrayLike<T> & object;
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions);
}
export function assert(expr: unknown, msg?: string): asserts expr;
export function assertFalse(
  expr: unknown,
  msg?: string,
): asserts expr is false | 0 | "" | null | undefined;
export function equal(a: unknown, b: unknown): boolean;
export function assertEquals<T>(actual: T, expected: T, msg?: string): void;
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T;
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void;
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
export function assertGreater<T>(actual: T, expected: T, msg?: string): void;
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
export function assertLess<T>(actual: T, expected: T, msg?: string): void;
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
export function assertMatch(actual: string, expected: RegExp, msg?: string): void;
export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
export function assertStringIncludes(actual: string, expected: string, msg?: string): void;
export function assertArrayIncludes<T>(
  actual: ArrayLikeArg<T>,
  expected: ArrayLikeArg<T>,
  msg?: string,
): void;
export function assertObjectMatch(
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void;
export function assertInstanceOf<T extends Newable>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is InstanceType<T>;
export function assertNotInstanceOf<A, T>(
  actual: A,
  unexpectedType: abstract new (...args: any[]) => T,
  msg?: string,
): asserts actual is Exclude<A, T>;
export function assertIsError<E extends Error = Error>(
  error: unknown,
  errorClass?: ErrorClass<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E;
export function assertThrows(fn: () => unknown, msg?: string): unknown;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export function fail(msg?: string): never;
export function unimplemented(msg?: string): never;
export function unreachable(msg?: string): never;
`,
  "cli/parse_args": `
type Names<T extends string> = T | ReadonlyArray<T>;
export interface ParseOptions<S extends string, B extends string, C extends string, D> {
  string?: Names<S>;
  boolean?: boolean | Names<B>;
  collect?: Names<C>;
  negatable?: Names<string>;
  alias?: Record<string, Names<string>>;
  default?: D;
  stopEarly?: boolean;
  "--"?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
type Values<S extends string, B extends string, C extends string, D> =
  & { [K in Exclude<S, C>]: K extends keyof D ? string | D[K] : string | undefined }
  & { [K in Extract<S, C>]: string[] }
  & { [K in Exclude<C, S | B>]: unknown[] }
  & { [K in B]: K extends keyof D ? boolean | D[K] : boolean };
export type Args<T = Record<string, any>> = T & { _: Array<string | number>; "--"?: string[] };
export function parseArgs<
  S extends string = never,
  B extends string = never,
  C extends string = never,
  D extends Record<string, unknown> = Record<never, never>,
>(
  args: string[],
  options?: ParseOptions<S, B, C, D>,
): Args<
  [S | B | C] extends [never] ? Record<string, any>
    : Values<S, B, C, D> & Record<string, unknown>
>;
`,
};

/** Lays the npm package out as Deno lays out what it vendors from JSR. */
async function fromNpm(): Promise<void> {
  await Deno.mkdir(`${root}/vendor/jsr.io`, { recursive: true });
  const temp = await Deno.makeTempDir({ dir: `${root}/vendor`, prefix: ".new-" });
  const filling = `${temp}/@std`; // renamed when complete
  const version = npmPackage.split("@")[1]!;
  try {
    const tarball = (await run("npm", ["pack", "--silent", npmPackage], temp)).trim();
    await run("tar", ["-xzf", tarball], temp);
    for (const name of names) {
      const here = `${filling}/${name}`;
      const files = await copyTree(`${temp}/package/${name}`, `${here}/${version}`);
      await copyTree(`${temp}/package/internal`, `${here}/internal`);
      if (name === "cli") { // the package lacks the data file of unicode_width
        await Deno.writeTextFile(`${here}/${version}/mod.js`, `export * from "./parse_args.js";\n`);
      }
      // JSR's names of submodules: parse_args.js is @std/cli/parse-args, posix/mod.js
      // @std/path/posix.
      const exports = Object.fromEntries(
        files.filter((file) => !/(^|\/)_/.test(file)).map((file) => {
          const path = file.replace(/\/?mod\.js$|\.js$/, "").replaceAll("_", "-");
          return [path ? `./${path}` : ".", `./${file}`];
        }),
      );
      await writeJson(`${here}/${version}_meta.json`, { manifest: {}, exports });
      await writeJson(`${here}/meta.json`, {
        scope: "std",
        name,
        latest: version,
        versions: { [version]: {} },
      });
    }
    for (const [path, types] of Object.entries(declarations)) {
      const [name, file] = path.split("/") as [string, string];
      const script = `${filling}/${name}/${version}/${file}.js`;
      await Deno.writeTextFile(script.replace(/js$/, "d.ts"), types);
      const text = await Deno.readTextFile(script);
      await Deno.writeTextFile(script, `// @ts-self-types="./${file}.d.ts"\n${text}`);
    }
    await Deno.remove(vendor, { recursive: true }).catch(() => {});
    await Deno.rename(filling, vendor);
  } finally {
    await Deno.remove(temp, { recursive: true });
  }
}

/** Copies a folder and returns the paths of its files, relative to it. */
async function copyTree(from: string, to: string, below = ""): Promise<string[]> {
  await Deno.mkdir(`${to}/${below}`, { recursive: true });
  const files: string[] = [];
  for await (const entry of Deno.readDir(`${from}/${below}`)) {
    const path = below + entry.name;
    if (entry.isDirectory) files.push(...await copyTree(from, to, `${path}/`));
    else {
      await Deno.copyFile(`${from}/${path}`, `${to}/${path}`);
      files.push(path);
    }
  }
  return files;
}

const writeJson = (path: string, value: unknown) => Deno.writeTextFile(path, JSON.stringify(value));

/** An error's message and those of what caused it. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.message}: ${reason(error.cause)}` : error.message;
}

/** True when Deno finds all that it needs without the network. */
const filled = () => load("--cached-only").then(() => true, () => false);

if (!await filled()) {
  try {
    await fromJsr();
    console.log(`vendor/ now holds @std/{${names}} from ${jsr.host}`);
  } catch (noJsr) {
    try {
      await fromNpm();
      await load("--cached-only");
    } catch (noNpm) {
      console.error(
        `@std/{${names}} could be fetched neither from JSR nor from npm. Check the network, ` +
          `or run this once where one of them can be reached and copy vendor/ here.\n` +
          `  JSR: ${reason(noJsr)}\n  npm: ${reason(noNpm)}`,
      );
      Deno.exit(1);
    }
    console.log(`vendor/ now holds @std/{${names}} from npm's ${npmPackage} (JSR is out of reach)`);
  }
}
