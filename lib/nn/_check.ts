import { refuse } from "../core/options.ts";
import { Module } from "./module.ts";

/** Throws unless x is a module. */
export function checkModule(op: string, name: string, x: unknown): asserts x is Module {
  if (x instanceof Module) return;
  const hint = typeof x === "function" && x.prototype instanceof Module ? `: new ${x.name}(…)` : "";
  refuse(op, name, x, `a module${hint}`);
}
