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
  if (typeof state !== "object" || state === null || hint || Array.isArray(state)) {
    refuse(op, "the state", state, wanted);
  }
  for (const [name, x] of Object.entries(state)) {
    if (!(x instanceof Tensor)) refuse(op, name, x, "a tensor");
  }
}
