import { calls } from "./calls.ts";

type Calls = typeof calls;

// V8 keeps what is a prototype so that a name that is constant where it is called costs nothing.
const table = Object.create(calls) as Record<string, (...args: unknown[]) => void>;

/**
 * Calls a function of cudeno.h on the library of its tensors: handles, BigInt and the status are
 * seen to here. One that takes no tensor is called by `backend.functions`.
 *
 * @throws what the library reports, or a DisposedError for a tensor that is gone.
 */
export function call<Name extends keyof Calls>(name: Name, ...args: Parameters<Calls[Name]>): void {
  table[name]!(...args);
}
