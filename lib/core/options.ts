import { ArgumentError } from "../native/errors.ts";

/**
 * Throws when options are no object (a number, say, where PyTorch takes one), or have a key that is not known, and names the
 * nearest one: an option that were ignored would train something else than was asked for.
 */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new ArgumentError(
      `${op}: wanted are options such as { ${known[0] ?? ""}: … }, found ${String(options)}`,
    );
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const near = known.map((name) => ({ name, far: distance(key, name) }))
      .sort((a, b) => a.far - b.far)[0];
    const hint = near && near.far <= 3 ? `; did you mean ${near.name}?` : ".";
    throw new ArgumentError(
      `${op}: there is no option ${key}${hint} The options are ${known.join(", ") || "none"}`,
    );
  }
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
export function checkNumber(op: string, name: string, value: number, least = -Infinity): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    const wanted = least === -Infinity ? "a finite number" : `a finite number, at least ${least}`;
    throw new ArgumentError(`${op}: ${name} is ${value}; it must be ${wanted}`);
  }
}

/** Throws unless a state is an object of entries, as stateDict() gives it and JSON keeps it. */
export function checkState(op: string, state: unknown): void {
  if (typeof state === "object" && state !== null && !Array.isArray(state)) return;
  const found = Array.isArray(state) ? "an array" : JSON.stringify(state)?.slice(0, 100);
  throw new ArgumentError(`${op}: found ${found} as state; wanted is what stateDict() gives`);
}

/** Throws unless value is a whole number, at least `least`. */
export function checkInteger(op: string, name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(
      `${op}: ${name} is ${value}; it must be a whole number, at least ${least}`,
    );
  }
}
