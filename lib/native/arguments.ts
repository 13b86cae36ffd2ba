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

/** Who is told of a call, by the function's name and arguments, just before it is made. */
export type Listener = (name: string, args: readonly unknown[]) => void;

/** Who is told of the calls of functions that take tensors: a profile, while there is one. */
export let told: Listener | undefined;

/** Tells another one from now on, or nobody. */
export function tell(listener: Listener | undefined): void {
  told = listener;
}
