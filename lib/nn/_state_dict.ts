import { refuse } from "../core/options.ts";
import { Tensor } from "../tensor.ts";
import type { StateDict } from "./module.ts";

/** Throws unless state is tensors by name; what else may be meant is said. */
export function checkStateDict(op: string, state: unknown): asserts state is StateDict {
  const hint = typeof state === "string" || state instanceof URL
    ? op === "saveSafetensors"
      ? "; the path comes before it"
      : "; read the file by await io.loadSafetensors(path)"
    : typeof (state as { stateDict?: unknown })?.stateDict === "function"
    ? "; give model.stateDict()"
    : "";
  const wanted = `tensors by name, as stateDict() gives them${hint}`;
  const other = Array.isArray(state) || state instanceof Promise;
  if (typeof state !== "object" || state === null || hint || other) {
    refuse(op, "the state", state, wanted);
  }
  for (const [name, x] of Object.entries(state)) {
    if (!(x instanceof Tensor)) refuse(op, name, x, "a tensor");
  }
}

const some = (names: readonly string[]) =>
  `[${names.slice(0, 10).join(", ")}${names.length > 10 ? `, … ${names.length} in all` : ""}]`;

/** What names of a module and of a state dict have not in common, and what to do about it. */
export function mismatch(missing: readonly string[], unexpected: readonly string[]): string {
  const prefix = prefixOf(missing, unexpected);
  const found = `missing are ${some(missing)}, unexpected are ${some(unexpected)}`;
  if (prefix !== undefined) {
    return `${found}; they fit without "${prefix}": load them with { prefix: "${prefix}" }`;
  }
  const rest = missing.length > 0 && unexpected.length > 0 ? "" : " to load what fits";
  return `${found}; ${
    rest ? "pass { strict: false }" + rest : "is it another model's? " +
      "{ strict: false } loads what fits"
  }`;
}

// What stands before each missing name among the others, such as DataParallel's "module.".
function prefixOf(missing: readonly string[], unexpected: readonly string[]): string | undefined {
  const [first] = missing;
  const all = new Set(unexpected);
  return unexpected.filter((name) => first !== undefined && name.endsWith(`.${first}`))
    .map((name) => name.slice(0, -first!.length))
    .find((prefix) => missing.every((name) => all.has(prefix + name)));
}
