import { refuse } from "../core/options.ts";
import type { Tensor } from "../tensor.ts";
import type { LSTMState } from "./lstm.ts";
import { Module } from "./module.ts";

/** Throws unless x is a module. */
export function checkModule(op: string, name: string, x: unknown): asserts x is Module {
  if (x instanceof Module) return;
  const hint = typeof x === "function" && x.prototype instanceof Module ? `: new ${x.name}(…)` : "";
  refuse(op, name, x, `a module${hint}`);
}

/** The states of an LSTM by their names, none where there are none. */
export function statesOf(op: string, state: LSTMState | undefined): Record<string, Tensor> {
  if (!state) return {};
  const { h, c } = state;
  if (!h || !c) refuse(op, "the state", state, "{ h, c }, two tensors, as run() gives it");
  return { h, c };
}
