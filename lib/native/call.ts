import { calls } from "./calls.ts";
import type { Library } from "./library.ts";

/** A tensor as the library sees it, or none, where a function can do without. */
export type Argument =
  | {
    readonly handle: number;
    readonly backend: {
      readonly functions: Library["functions"];
      check(status: number): void;
    };
  }
  | null
  | undefined;

/** A number that the library takes as int64_t. */
export type Size = number | bigint;

/** Memory of the host's. */
export type Host = BufferSource | null;

/** The handle of a tensor, which throws if that is gone; 0 stands for none. */
export function handleOf(x: Argument): number {
  return x ? x.handle : 0;
}

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
