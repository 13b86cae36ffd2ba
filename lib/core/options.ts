import { formatValue, isClass } from "./describe.ts";
import { ArgumentError } from "../native/errors.ts";

/**
 * Options with none left out or undefined, whether or not the importer's compiler tells the two
 * apart.
 */
export type Complete<O> = { [K in keyof O]-?: Exclude<O[K], undefined> };

/** Throws: says what was found and what is wanted. */
export function refuse(op: string, name: string, value: unknown, wanted: string): never {
  throw new ArgumentError(`${op}: ${name} is ${formatValue(value)}; it must be ${wanted}`);
}

/** Throws unless value is a key of `choices`. */
export function checkChoice(op: string, name: string, value: unknown, choices: object): void {
  if (typeof value === "string" && Object.hasOwn(choices, value)) return;
  refuse(op, name, value, Object.keys(choices).join(", "));
}

/** Throws unless fn can be called, which a class cannot. */
export function checkFunction(op: string, name: string, fn: unknown): void {
  // An arrow function has no prototype, so that this is all that most calls cost.
  if (typeof fn === "function" && (fn.prototype === undefined || !isClass(fn))) return;
  refuse(op, name, fn, "a function");
}

/** Throws unless list is an array of what `ok` accepts. */
export function checkList(
  op: string,
  name: string,
  list: unknown,
  ok: (item: unknown) => boolean,
  wanted: string,
): void {
  if (!Array.isArray(list)) refuse(op, name, list, wanted);
  const wrong = list.findIndex((item) => !ok(item));
  if (wrong >= 0) refuse(op, `${name}[${wrong}]`, list[wrong], `one of ${wanted}`);
}

/** Whether a value is a tensor, for what stands below the class. */
export function isTensor(value: unknown): boolean {
  return typeof value === "object" && value !== null && "dtype" in value && "handle" in value;
}

/**
 * Throws when options are no object (a number, say, where PyTorch takes one), or have a key that is
 * not known, and names the nearest one: an option that were ignored would train something else than
 * was asked for.
 */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  const plain = typeof options === "object" && options !== null && !Array.isArray(options) &&
    (Object.getPrototypeOf(options)?.constructor ?? Object).name === "Object";
  const unknown = plain || isKeyed(options)
    ? Object.keys(options).find((key) => !known.includes(key))
    : "";
  if (unknown === undefined) return;
  if (!plain) {
    const name = positional[Array.isArray(options) ? "array" : typeof options];
    const hint = name !== undefined && known.includes(name)
      ? `; write { ${name}: ${formatValue(options)} }`
      : "";
    throw new ArgumentError(
      `${op}: wanted are options such as { ${known[0] ?? ""}: … }, found ${
        formatValue(options)
      }${hint}`,
    );
  }
  const near = nearest(unknown, known);
  const hint = near ? `; did you mean ${near}?` : ".";
  throw new ArgumentError(
    `${op}: there is no option ${unknown}${hint} The options are ${known.join(", ") || "none"}`,
  );
}

// An object of a user's own class may hold options too; a Promise, a Map or a list has none.
function isKeyed(options: unknown): boolean {
  return typeof options === "object" && options !== null && !Array.isArray(options) &&
    Object.keys(options).length > 0;
}

/** The options with defaults for those not given or undefined. Throws for unknown ones. */
export function optionsOf<O extends object>(
  op: string,
  options: Partial<O>,
  defaults: Complete<O>,
): Complete<O> {
  checkOptions(op, options, Object.keys(defaults));
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

// The options that PyTorch takes as arguments of their own, by their type.
const positional: Partial<Record<string, string>> = {
  array: "shape",
  boolean: "keepDims",
  number: "axis",
};

// The name that was meant: one with nearly the same letters, or one that is the other cut short,
// as transB is for transposeB, and mask for attnMask.
function nearest(unknown: string, known: readonly string[]): string | undefined {
  const [near] = known.map((name) => ({ name, far: distance(unknown, name) }))
    .sort((a, b) => a.far - b.far);
  if (near && near.far <= 3) return near.name;
  return known.find((name) => shortens(unknown, name) || shortens(name, unknown));
}

// Whether a word of some length is another one with letters left out.
function shortens(short: string, long: string): boolean {
  let at = 0;
  for (const letter of long.toLowerCase()) if (letter === short[at]?.toLowerCase()) at++;
  return short.length >= 4 && at === short.length;
}

// Levenshtein's distance, without regard to case.
function distance(a: string, b: string): number {
  const x = a.toLowerCase();
  const y = b.toLowerCase();
  let row = Array.from({ length: y.length + 1 }, (_, j) => j);
  for (let i = 1; i <= x.length; i++) {
    const next = [i];
    for (let j = 1; j <= y.length; j++) {
      const replaced = row[j - 1]! + (x[i - 1] === y[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[y.length]!;
}

/** Throws unless value is a finite number, at least `least` where that is given. */
export function checkNumber(
  op: string,
  name: string,
  value: number,
  least: number = -Infinity,
): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    const wanted = least === -Infinity ? "a finite number" : `a finite number, at least ${least}`;
    refuse(op, name, value, wanted);
  }
}

/** Throws unless a state is an object of entries, as stateDict() gives it and JSON keeps it. */
export function checkState(
  op: string,
  state: unknown,
  name = "the state",
  wanted = "what stateDict() gives",
): void {
  if (typeof state === "object" && state !== null && !Array.isArray(state)) return;
  refuse(op, name, state, wanted);
}

/** Throws unless value is a whole number, at least `least`. */
export function checkInteger(op: string, name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    refuse(op, name, value, `a whole number, at least ${least}`);
  }
}
