// Functions that run around a module's forward(). While there are any, the module has a forward()
// of its own, a property, which hides its class's: so whoever calls it runs them, and what fuses
// layers (_fused.ts) sees that this one does not compute as its class does.
import { checkFunction } from "../core/options.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { Module } from "./module.ts";

/** Sees what a module is given and gives; a tensor that it returns takes the output's place. */
export type ForwardHook<M extends Module = Module> = (
  module: M,
  input: Tensor,
  output: Tensor,
) => Tensor | void;

/** Sees what a module is given; a tensor that it returns takes the input's place. */
export type ForwardPreHook<M extends Module = Module> = (
  module: M,
  input: Tensor,
) => Tensor | void;

/** Takes a hook away again, as `using` does at the end of a block. */
export interface HookHandle extends Disposable {
  /** The hook does not run any more. */
  remove(): void;
}

interface Hooks {
  readonly before: Map<HookHandle, ForwardPreHook>;
  readonly after: Map<HookHandle, ForwardHook>;
  readonly forward: Module["forward"];
  /** The property that was there. */
  readonly own: PropertyDescriptor | undefined;
}

const hooked = new WeakMap<Module, Hooks>();

/** Adds a function that runs before or after a module's forward(), behind those that are there. */
export function addHook<K extends "before" | "after">(
  module: Module,
  when: K,
  hook: K extends "before" ? ForwardPreHook : ForwardHook,
): HookHandle {
  checkFunction(when === "before" ? "registerForwardPreHook" : "registerForwardHook", "hook", hook);
  let hooks = hooked.get(module);
  if (!hooks) hooked.set(module, hooks = installed(module));
  const remove = () => {
    const { before, after, forward, own } = hooks;
    hooks[when].delete(handle);
    if (before.size + after.size > 0 || hooked.get(module) !== hooks) return;
    hooked.delete(module);
    if (module.forward !== forward) return; // somebody put another one around it
    if (own) Object.defineProperty(module, "forward", own);
    else delete (module as Partial<Module>).forward;
  };
  const handle: HookHandle = { remove, [Symbol.dispose]: remove };
  (hooks[when] as Map<HookHandle, typeof hook>).set(handle, hook);
  return handle;
}

function installed(module: Module): Hooks {
  const own = Object.getOwnPropertyDescriptor(module, "forward");
  const inner = module.forward;
  const before: Hooks["before"] = new Map(), after: Hooks["after"] = new Map();
  // `this`, as a copy of the module may have the property too
  function forward(this: Module, x: Tensor, ...others: []): Tensor {
    const replaced = (name: string, found: Tensor | void, now: Tensor) => {
      if (found === undefined) return now;
      checkTensor(`what a ${name} returns`, found);
      return found;
    };
    for (const hook of [...before.values()]) x = replaced("forward pre-hook", hook(this, x), x);
    let y = inner.call(this, x, ...others);
    for (const hook of [...after.values()]) y = replaced("forward hook", hook(this, x, y), y);
    return y;
  }
  // not enumerable: no state of the module, and left out where its properties are copied
  const property = { value: forward, configurable: true, writable: true };
  Object.defineProperty(module, "forward", { ...property, enumerable: false });
  return { before, after, forward, own };
}
