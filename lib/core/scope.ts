// The only import from outside of lib/: Deno has no other way to tell flows of control apart that
// take turns.
import { AsyncLocalStorage } from "node:async_hooks";
import { debugging } from "../native/environment.ts";
import { DisposedError } from "../native/errors.ts";
import { checkFunction, isTensor, refuse } from "./options.ts";

/** What a scope looks after. */
export interface Owned {
  /** What goes where it goes: a tensor's gradient. */
  readonly grad?: Owned | null | undefined;
  /**
   * The scope that frees it, if there is one.
   *
   * @ignore
   */
  owner: Scope | undefined;
  /**
   * Called when no scope is sure to free it: from then on the garbage collector is to.
   *
   * @ignore
   */
  watch(): void;
  /** Frees it; `at` is where and why. */
  dispose(at?: Error): void;
}

/** A scope, open or closed. */
export class Scope {
  /** The one around it. */
  outer: Scope | undefined;
  /** Whether it has ended; a flow that began in it may still go on. */
  closed = false;
  /** Whether it waits for a promise, which may never be settled. */
  pending = false;
  readonly #tensors = new Set<Owned>(); // in the order in which they were made

  /** Opens one. */
  constructor(outer: Scope | undefined) {
    this.outer = outer;
  }

  /** Takes over a tensor that has no owner. */
  add(tensor: Owned): void {
    tensor.owner = this;
    this.#tensors.add(tensor);
    if (this.pending) tensor.watch();
  }

  /** Says that the scope now waits for a promise. */
  wait(): void {
    this.pending = true;
    for (const tensor of this.#tensors) tensor.watch();
  }

  /** Lets go of one of its tensors. */
  delete(tensor: Owned): void {
    tensor.owner = undefined;
    this.#tensors.delete(tensor);
  }

  /** Frees all tensors but those in `result`, which pass to the scope around. */
  close(result: unknown): void {
    const outer = this.outer = openOf(this.outer); // so that closed ones do not hold each other
    this.closed = true;
    if (this.#tensors.size === 0) return;
    let passed: Owned[] = [];
    try {
      passed = tensorsIn(result);
    } finally { // a getter of the user's may have thrown
      for (const tensor of passed) {
        for (const item of [tensor, tensor.grad]) {
          if (item?.owner === this) move(item, outer);
        }
      }
      const at = debugging() ? placeOf("its scope ended") : scopeEnded;
      for (const tensor of this.#tensors) tensor.dispose(at); // which takes it out
    }
  }
}

function move(tensor: Owned, to: Scope | undefined): void {
  tensor.owner?.delete(tensor);
  if (to) to.add(tensor);
  else tensor.watch();
}

// A flow of control, which goes on after each await where it was, carries the innermost scope that
// was opened in it. Until its first await that is `current` too, a plain stack, since looking there
// costs next to nothing.
const flow = new AsyncLocalStorage<Scope>();
let current: Scope | undefined;

/** The scope that a new tensor belongs to, if there is one. */
export function innermost(): Scope | undefined {
  return current ?? openOf(flow.getStore());
}

function openOf(scope: Scope | undefined): Scope | undefined {
  while (scope?.closed) scope = scope.outer;
  return scope;
}

/** Gives a new tensor to the innermost scope, if there is one. */
export function own(tensor: Owned): void {
  const scope = innermost();
  if (scope) scope.add(tensor);
  else tensor.watch();
}

/**
 * Takes a tensor out of the scopes, so that it lives until it is disposed: parameters, gradients,
 * optimizer state.
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
  if (!isTensor(tensor)) refuse("keep", "the tensor", tensor, "a tensor");
  move(tensor, undefined);
  return tensor;
}

/**
 * Gives a tensor to the scope that owns another, or to none if none does: a gradient lives as long
 * as its leaf.
 */
export function ownAs<T extends Owned>(tensor: T, other: Owned): T {
  move(tensor, other.owner);
  return tensor;
}

/**
 * Runs `fn` and frees every tensor made in it, but those that it returns, which pass to the scope
 * around. An async `fn` is awaited. Scopes may be nested, and async ones may overlap: a tensor
 * belongs to the scope in whose flow it is made, before or after an await, so that a server can
 * open one for each request.
 *
 * What is returned may be a tensor, or arrays, objects, maps and sets that lead to tensors, however
 * deep; instances of classes are objects too, but for what is in their #private fields. A tensor's
 * gradient goes with it.
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
  return opened(fn, true);
}

/**
 * {@linkcode scope} for what is synchronous in any case: a stack is enough, and a flow of its own
 * costs more.
 */
export function syncScope<T>(fn: () => T): T {
  return opened(fn, false);
}

function opened<T>(fn: () => T, inFlow: boolean): T {
  const own = new Scope(innermost());
  const before = current;
  current = own;
  let result: T;
  try {
    result = inFlow ? flow.run(own, fn) : fn();
  } catch (error) {
    own.close(undefined);
    throw error;
  } finally {
    current = before;
  }
  if (!(result instanceof Promise)) {
    own.close(result);
    return result;
  }
  own.wait();
  return result.then((value) => {
    own.close(value);
    return value;
  }, (error) => {
    own.close(undefined);
    throw error;
  }) as T;
}

// What leads back to something seen already, or lies deep, costs no more than what does not.
function tensorsIn(value: unknown): Owned[] {
  const found: Owned[] = [];
  const seen = new Set<object>();
  const waiting: object[] = [];
  const look = (item: unknown) => {
    if (typeof item !== "object" || item === null || seen.has(item)) return;
    seen.add(item);
    waiting.push(item);
  };
  look(value);
  for (let item = waiting.pop(); item; item = waiting.pop()) {
    if (isOwned(item)) found.push(item);
    else if (Array.isArray(item) || item instanceof Set) item.forEach(look);
    else if (item instanceof Map) item.forEach((value, key) => [key, value].forEach(look));
    else if (!ArrayBuffer.isView(item)) Object.values(item).forEach(look);
  }
  return found;
}

function isOwned(value: object): value is Owned {
  return ownedMark in value;
}

/** The mark by which scopes know a tensor in what a function returns. */
export const ownedMark: unique symbol = Symbol("owned by scopes");

const scopeEnded = new Error("its scope ended");

/**
 * An Error that holds the place of the call. Few frames do for most, and cost far less than many.
 */
export function placeOf(message: string, frames = 6): Error {
  // V8's, which lib "dom" lacks.
  const limits = Error as ErrorConstructor & { stackTraceLimit?: number };
  const before = limits.stackTraceLimit;
  limits.stackTraceLimit = frames;
  const at = new Error(message);
  if (before !== undefined) limits.stackTraceLimit = before;
  return at;
}

/** Of what placeOf() gave, the first line of the stack that is not the library's own. */
export function lineOf(at: Error | undefined): string | undefined {
  const own = new URL("../", import.meta.url).href;
  return at?.stack?.split("\n").find((line) => line.includes("at ") && !line.includes(own))?.trim();
}

/** The error for using a tensor that is gone. */
export function disposedError(what: string, at: Error | undefined): DisposedError {
  const how = at ? `: ${at.message}` : "";
  const where = lineOf(at) ??
    "(run with CUDENO_DEBUG=1 and --allow-env=CUDENO_DEBUG to be told where)";
  return new DisposedError(`${what} was used after it was disposed${how} ${where}`, {
    cause: at,
  });
}
