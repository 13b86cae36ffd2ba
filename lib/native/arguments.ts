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

/**
 * Who is told of a call, by the function's name, its arguments and, where those are tensors, their
 * handles, just before it is made.
 */
export type Listener = (
  name: string,
  args: readonly unknown[],
  handles?: readonly number[],
) => void;

/** Who is told of the calls of functions that take tensors: a profile or a recording. */
export let told: Listener | undefined;

/** A recording, which is told of memory that comes and goes too. */
export let traced: Listener | undefined;

let listener: Listener | undefined; // a profile

/** Tells another profile from now on, or none. */
export function tell(next: Listener | undefined): void {
  listener = next;
  told = both();
}

/** The profile that is told. */
export const listening = (): Listener | undefined => listener;

/** Tells another recording from now on, or none; returns the one before. */
export function trace(next: Listener | undefined): Listener | undefined {
  const before = traced;
  traced = next;
  told = both();
  return before;
}

function both(): Listener | undefined {
  const [one, other] = [listener, traced];
  if (!one || !other) return one ?? other;
  return (...call) => {
    one(...call);
    other(...call);
  };
}

type Functions = Library["functions"];

/** Functions to be called with handles, by which a recording is told too. */
export function direct(functions: Functions): Functions {
  const recording = traced;
  if (!recording) return functions;
  return new Proxy(functions, {
    get: (target, name: keyof Functions) => (...args: unknown[]) => {
      recording(name, args);
      return (target[name] as (...args: unknown[]) => unknown)(...args);
    },
  });
}
