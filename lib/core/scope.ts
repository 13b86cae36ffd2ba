import { checkFunction } from "./options.ts";
import { DisposedError } from "../native/errors.ts";

/** What a scope looks after. */
export interface Owned {
  /** What goes where it goes: a tensor's gradient. */
  readonly grad?: Owned | null | undefined;
  /** Frees it; `at` is where and why. */
  dispose(at?: Error): void;
}

// A scope's tensors, in the order in which they were made.
type Owner = Set<Owned>;

const open: Owner[] = [];

/** Gives a new tensor to the innermost scope, if there is one. */
export function own(tensor: Owned): void {
  open.at(-1)?.add(tensor);
}

/**
 * Takes a tensor out of the scopes, so that it lives until it is disposed: parameters, gradients, optimizer state.
 *
 * ```ts
 * import { keep, rand, scope } from "@cudeno/cudeno";
 * const best = scope(() => {
 *   const weights = rand([3]);
 *   keep(weights); // outlives the scope without being returned
 *   return weights.mean().itemSync();
 * });
 * console.log(best < 1); // true
 * ```
 */
export function keep<T extends Owned>(tensor: T): T {
  for (const owner of open) owner.delete(tensor);
  return tensor;
}

/** Gives a tensor to the scope that owns another, or to none if none does: a gradient lives as long as its leaf. */
export function ownAs<T extends Owned>(tensor: T, other: Owned): T {
  keep(tensor);
  open.find((owner) => owner.has(other))?.add(tensor);
  return tensor;
}

/**
 * Runs `fn` and frees every tensor made in it, but those that it returns (alone, or in arrays and plain objects), which
 * pass to the scope around. An async `fn` is awaited; async scopes may be nested but must not overlap, since a tensor
 * belongs to the scope opened last.
 *
 * ```ts
 * import { rand, scope } from "@cudeno/cudeno";
 * const norm = scope(() => {
 *   const x = rand([1000]);
 *   return x.mul(x).sum().sqrt(); // x and x*x are freed, the result is kept
 * });
 * console.log(norm.itemSync());
 * ```
 */
export function scope<T>(fn: () => T): T {
  checkFunction("scope", "fn", fn);
  const owner: Owner = new Set();
  open.push(owner);
  let result: T;
  try {
    result = fn();
  } catch (error) {
    close(owner, undefined);
    throw error;
  }
  if (result instanceof Promise) {
    return result.then((value) => {
      close(owner, value);
      return value;
    }, (error) => {
      try {
        close(owner, undefined);
      } finally {
        // deno-lint-ignore no-unsafe-finally -- what went wrong first says more than an overlap
        throw error;
      }
    }) as T;
  }
  close(owner, result);
  return result;
}

function close(owner: Owner, result: unknown): void {
  const overlapped = open.at(-1) !== owner;
  open.splice(open.lastIndexOf(owner), 1);
  if (overlapped) {
    throw new DisposedError(
      "scope: an async scope ended while one opened after it was still running, and some tensors have gone to the " +
        "wrong one; run async scopes one after another, or nest them",
    );
  }
  const outer = open.at(-1);
  for (const tensor of tensorsIn(result)) {
    for (const item of [tensor, tensor.grad]) {
      if (item && owner.delete(item)) outer?.add(item);
    }
  }
  if (owner.size === 0) return;
  const at = placeOf("its scope ended");
  for (const tensor of owner) tensor.dispose(at);
}

function* tensorsIn(value: unknown, depth = 0): Generator<Owned> {
  if (typeof value !== "object" || value === null || depth > 8) return;
  if (isOwned(value)) yield value;
  else if (Array.isArray(value)) { for (const item of value) yield* tensorsIn(item, depth + 1); }
  else if (value instanceof Map) {
    for (const item of value.values()) yield* tensorsIn(item, depth + 1);
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) yield* tensorsIn(item, depth + 1);
  }
}

function isOwned(value: object): value is Owned {
  return ownedMark in value;
}

/** The mark by which scopes know a tensor in what a function returns. */
export const ownedMark: unique symbol = Symbol("owned by scopes");

/** An Error that holds the place of the call. Few frames do, and cost far less than many. */
export function placeOf(message: string): Error {
  const limits = Error as ErrorConstructor & { stackTraceLimit?: number }; // V8's, which lib "dom" lacks
  const before = limits.stackTraceLimit;
  limits.stackTraceLimit = 6;
  const at = new Error(message);
  if (before !== undefined) limits.stackTraceLimit = before;
  return at;
}

/** The error for using a tensor that is gone. */
export function disposedError(what: string, at: Error | undefined): DisposedError {
  // The first line of the stack that is not the library's own.
  const own = new URL("../", import.meta.url).href;
  const place = at?.stack?.split("\n").find((line) => line.includes("at ") && !line.includes(own));
  return new DisposedError(
    `${what} was used after it was disposed: ${at?.message ?? "disposed"} ${place?.trim() ?? ""}`,
    { cause: at },
  );
}
