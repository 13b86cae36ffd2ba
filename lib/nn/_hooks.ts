// Functions that run around a module's forward(). While there are any, the module has a forward()
// of its own, a property, which hides its class's: so whoever calls it runs them, and what fuses
// layers (_fused.ts) sees that this one does not compute as its class does.
import { checkFunction } from "../core/options.ts";
import { tensorsIn } from "../_structure.ts";
import type { Tensor } from "../tensor.ts";
import type { AnyModule } from "./module.ts";

/** Sees what a module is given and gives; what it returns, if anything, is the output instead. */
export type ForwardHook<M = AnyModule, Input = Tensor, Output = Tensor> = (
  module: M,
  input: Input,
  output: Output,
) => Output | void;

/** Sees what a module is given; what it returns, if anything, is the input instead. */
export type ForwardPreHook<M = AnyModule, Input = Tensor> = (
  module: M,
  input: Input,
) => Input | void;

type AfterHook = ForwardHook<AnyModule, unknown, unknown>;
type BeforeHook = ForwardPreHook<AnyModule, unknown>;

/** Takes a hook away again, as `using` does at the end of a block. */
export interface HookHandle extends Disposable {
  /** The hook does not run any more. */
  remove(): void;
}

interface Hooks {
  readonly before: Map<HookHandle, BeforeHook>;
  readonly after: Map<HookHandle, AfterHook>;
  readonly forward: AnyModule["forward"];
  /** The property that was there. */
  readonly own: PropertyDescriptor | undefined;
}

const hooked = new WeakMap<AnyModule, Hooks>();

/** Adds a function that runs before or after a module's forward(), behind those that are there. */
export function addHook<K extends "before" | "after">(
  module: AnyModule,
  when: K,
  hook: K extends "before" ? BeforeHook : AfterHook,
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
    else delete (module as Partial<AnyModule>).forward;
  };
  const handle: HookHandle = { remove, [Symbol.dispose]: remove };
  (hooks[when] as Map<HookHandle, typeof hook>).set(handle, hook);
  return handle;
}

function installed(module: AnyModule): Hooks {
  const own = Object.getOwnPropertyDescriptor(module, "forward");
  const inner = module.forward;
  const before: Hooks["before"] = new Map(), after: Hooks["after"] = new Map();
  // `this`, as a copy of the module may have the property too
  function forward(this: AnyModule, x: unknown, ...others: []): unknown {
    const replaced = (name: string, found: unknown, now: unknown) => {
      if (found === undefined) return now;
      tensorsIn(this.describe(), `what a ${name} returns`, found);
      return found;
    };
    for (const hook of [...before.values()]) x = replaced("forward pre-hook", hook(this, x), x);
    let y = inner.call(this, x as never, ...others);
    for (const hook of [...after.values()]) y = replaced("forward hook", hook(this, x, y), y);
    return y;
  }
  // not enumerable: no state of the module, and left out where its properties are copied
  const property = { value: forward, configurable: true, writable: true };
  Object.defineProperty(module, "forward", { ...property, enumerable: false });
  return { before, after, forward, own };
}
