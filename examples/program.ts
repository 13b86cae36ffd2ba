// What the examples have in common around their subjects: options, the device, errors in one line,
// a look at the memory.
import { parseArgs } from "@std/cli/parse-args";
import { type Callback, CudenoError, type DeviceName, init, memory, type plot } from "../mod.ts";

/** The options of every example, as help shows them. */
const common = `
  --device D    auto, cpu, cuda or cuda:N (auto)
  --seed N      random seed (1)
  --help        show this text`;

/**
 * Defaults by option; a number is wanted where the default is one. `undefined` stands for a text
 * that may be left out.
 */
type Defaults = Record<string, number | string | boolean | undefined>;
type Options<D extends Defaults> = {
  [K in keyof D]: D[K] extends number ? number
    : D[K] extends boolean ? boolean
    : D[K] extends string ? string
    : string | undefined;
};

/**
 * Reads the options, opens the device and says which it is, runs `body`, and ends with the line
 * that it returns. What the user got wrong is told in one line, with exit code 1.
 */
export async function program<D extends Defaults>(
  help: string,
  defaults: D,
  body: (options: Options<D>) => Promise<string>,
): Promise<void> {
  const { device, seed, ...options } = parse(help + common, {
    device: "auto",
    seed: 1,
    ...defaults,
  });
  try {
    const chosen = init({ device: device as "auto" | DeviceName, seed: seed as number });
    const gpu = chosen.computeCapability
      ? `, compute capability ${chosen.computeCapability}, driver for CUDA ${chosen.driver}`
      : "";
    const gigabytes = (chosen.totalMemory / 1e9).toFixed(1);
    console.log(`device: ${chosen.device}, ${chosen.name}, ${gigabytes} GB${gpu}`);
    console.log(`library: ${chosen.library}`);
    if (chosen.note) console.log(`no GPU: ${chosen.note.split("\n")[0]}`);
    console.log(await body(options as Options<D>));
  } catch (error) {
    if (!(error instanceof CudenoError || error instanceof Deno.errors.NotCapable)) throw error;
    fail(`${error.name}: ${error.message}`);
  }
}

/** Ends the program before there is work to lose, unless it may write this file or folder. */
export function checkWrite(option: string, path: string): void {
  if (Deno.permissions.querySync({ name: "write", path }).state === "granted") return;
  fail(`${option} needs the permission to write: run with --allow-write=${path}`);
}

/** Writes pictures, after a text, as a page of HTML without anything from outside. */
export async function writePage(
  path: string,
  title: string,
  text: string,
  pictures: readonly plot.Plot[],
): Promise<void> {
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>body { max-width: 41em; margin: 2em auto; padding: 0 1em; font-family: system-ui }</style>
<h1>${title}</h1>
<p>${text}</p>
${pictures.map((one) => `<p>${one}</p>`).join("\n")}
</html>
`;
  await Deno.writeTextFile(path, page);
  console.log(`page: ${path}`);
}

/** Ends the program with a message. */
export function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

function parse(help: string, defaults: Defaults): Defaults {
  const names = Object.keys(defaults);
  const boolean = names.filter((name) => typeof defaults[name] === "boolean");
  const args = parseArgs(Deno.args, {
    string: names.filter((name) => !boolean.includes(name)),
    boolean: [...boolean, "help"],
    unknown: (name) => fail(`There is no option ${name}; see --help`),
  });
  if (args.help) {
    console.log(help);
    Deno.exit();
  }
  return Object.fromEntries(names.map((name) => {
    const [fallback, text] = [defaults[name], args[name] as string | boolean | undefined];
    if (text === undefined || typeof fallback !== "number") return [name, text ?? fallback];
    if (text === "" || !Number.isFinite(Number(text))) {
      fail(`--${name} is ${text}; it must be a number`);
    }
    return [name, Number(text)];
  }));
}

// Steps are captured in the first ones, for the next.
const settled = 4;

/**
 * Sees whether later steps need more memory than the second one did: they should not. As a callback
 * of a Trainer it looks at epochs.
 */
export class MemoryWatch implements Callback {
  readonly #unit: string;
  #steps = 0;
  #peak = 0;

  /** Of steps, or what the unit says. */
  constructor(unit = "step") {
    this.#unit = unit;
  }

  /** To be called after each step. */
  step(): void {
    if (++this.#steps === settled) this.#peak = memory().peak;
  }

  onEpochEnd(): void {
    this.step();
  }

  /** What was seen, in one line. */
  toString(): string {
    const { peak } = memory();
    const grown = peak === this.#peak ? "flat" : `${peak - this.#peak} bytes more`;
    const later = this.#steps > settled ? `, ${grown} from ${this.#unit} ${settled} on` : "";
    return `memory: peak ${(peak / 1e6).toFixed(2)} MB${later}`;
  }
}
