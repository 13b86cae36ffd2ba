// What a profile notes while it runs: native calls with their layer, operation and phase, memory
// and whose it is. The kernels' times come from the library.
import { type Observer, observing } from "../core/autograd.ts";
import type { Backend } from "../core/backend.ts";
import type { Differentiable, Node } from "../core/node.ts";
import { innermost } from "../core/scope.ts";
import type { Memory } from "../core/elements.ts";
import { tell } from "../native/arguments.ts";
import { watched } from "../nn/_fused.ts";
import type { AnyModule } from "../nn/module.ts";
import type { Tensor } from "../tensor.ts";
import { bytesOf, type Counts, countsOf, given } from "../core/counts.ts";

/** Where a call belongs. Neither forward nor backward are an optimizer's step, copies of data. */
export type Phase = "forward" | "backward" | "other";

/** A native call. */
export interface CallRecord extends Counts {
  /** The library's function, without `cdn_`. */
  readonly name: string;
  op: string;
  layer: string;
  phase: Phase;
  readonly dtype: string;
  /** Microseconds since the profile began, by the host's clock. */
  readonly at: number;
  /** The bytes of tensors that were alive. */
  readonly live: number;
  /** Microseconds of the host's that noting it has cost. */
  cost: number;
}

/** A layer's forward() on the host. */
export interface LayerRun {
  readonly layer: string;
  readonly at: number;
  duration: number;
}

/** Who has memory at its peak. */
export interface Owner {
  /** The operation that made it, "parameters" and the like. */
  readonly owner: string;
  /** How much. */
  readonly bytes: number;
}

// A peak that is higher by less than this is not looked at again.
const HIGHER = 1.01;

const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

export class ProfileRecorder {
  readonly calls: CallRecord[] = [];
  readonly runs: LayerRun[] = [];
  readonly #backend: Backend;
  readonly #outer = innermost(); // the scope of what was there before
  readonly #stack: string[] = [];
  readonly #parameters = new Map<unknown, string>(); // the layer of each
  readonly #made = new WeakMap<object, CallRecord>(); // the last call that was given a tensor first
  readonly #layerOf = new WeakMap<Node, string>();
  readonly #owned = new Map<Tensor, CallRecord | string>();
  #atPeakBy = new Map<CallRecord | string, number>();
  readonly #stats = new BigInt64Array(10);
  #node: Node | undefined; // whose gradients are computed now
  #last: Node | undefined; // whose gradients were, with no call since but to add them up
  #settled = 0; // calls whose phase is known
  #peak = 0;
  #before = 0; // bytes that were alive, but for the models'
  #start = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Microseconds since run(). */
  now(): number {
    return 1000 * (performance.now() - this.#start);
  }

  /** Runs `fn` and notes what it calls. All is as before at its end, however it ends. */
  async run(models: readonly AnyModule[], fn: () => unknown): Promise<void> {
    using undo = new DisposableStack();
    const modules = models.flatMap((model) => [...model.namedModules()]);
    for (const [name, module] of modules) {
      const layer = [name, module.constructor.name].filter(Boolean).join(" ");
      for (const x of Object.values(module)) {
        if (given(x)) {
          this.#parameters.set(x, layer);
          this.#owned.set(x, x.requiresGrad ? "parameters" : "buffers");
        }
      }
      for (const key of ["forward", "activated"]) this.#watch(module, key, layer, undo);
    }
    const owned = [...this.#owned.keys()].reduce((sum, x) => sum + bytesOf(x), 0);
    this.#before = this.#live() - owned;
    const observer: Observer = {
      made: (out, name) => this.#result(out, name),
      begins: (node) => {
        this.#settle("backward"); // what made the first gradient
        [this.#last, this.#node] = [undefined, node];
      },
      gradients: () => [this.#last, this.#node] = [this.#node, undefined],
    };
    this.#start = performance.now();
    undo.defer(() => tell(undefined));
    tell((name, args) => this.#call(name.slice("cdn_".length), args));
    await observing(observer, fn);
  }

  // Puts a function that runs the layer's own in its place, which what fuses layers sees through.
  #watch(module: AnyModule, key: string, layer: string, undo: DisposableStack): void {
    const target = module as unknown as Record<string, AnyModule["forward"]>;
    const inner = target[key];
    if (typeof inner !== "function") return;
    const own = Object.getOwnPropertyDescriptor(target, key);
    const { runs } = this, stack = this.#stack, now = () => this.now();
    function value(this: AnyModule, ...args: [never]): unknown {
      const run = { layer, at: now(), duration: 0 };
      stack.push(layer);
      runs.push(run);
      try {
        return inner!.apply(this, args);
      } finally {
        run.duration = now() - run.at;
        stack.pop();
      }
    }
    const forward = value as AnyModule["forward"];
    watched.set(forward, inner);
    Object.defineProperty(target, key, { value, configurable: true, writable: true });
    undo.defer(() => {
      watched.delete(forward);
      if (target[key] !== forward) return; // somebody put another one around it
      if (own) Object.defineProperty(target, key, own);
      else delete target[key];
    });
  }

  #live(): number {
    const { functions, index } = this.#backend;
    functions.cdn_memory_stats(this.#stats, index);
    return Number(this.#stats[0]);
  }

  #call(name: string, passed: readonly unknown[]): void {
    if (/^(view|freeze|free|read|read_begin)$/.test(name)) return;
    const args = passed.map((x) => (x as Memory | null | undefined)?.of ?? x);
    const tensors = args.filter(given);
    const [first] = tensors;
    const { functions } = this.#backend;
    if (first && first.backend !== this.#backend) return void functions.cdn_profile_note(-1);
    const at = this.now();
    functions.cdn_profile_note(this.calls.length);
    if (name !== "add") this.#last = undefined;
    const node = this.#node ?? this.#last;
    const live = this.#live();
    const call: CallRecord = {
      name,
      op: node?.name ?? camelCase(name),
      layer: node ? this.#layerOf.get(node) ?? "" : this.#layer(tensors),
      phase: node ? "backward" : this.#stack.length > 0 ? "forward" : "other",
      dtype: tensors.at(-1)?.dtype ?? "float32",
      at,
      live,
      cost: 0,
      ...countsOf(name, args),
    };
    this.calls.push(call);
    if (first) this.#made.set(first, call);
    for (const x of tensors) {
      const known = x.shared || this.#owned.has(x) || (x !== first && x.owner === this.#outer);
      if (!known) this.#owned.set(x, call);
    }
    if (live > this.#peak * HIGHER) this.#atPeak(live);
    call.cost = this.now() - call.at;
  }

  // A fused layer runs without its forward(): its weight tells.
  #layer(tensors: readonly Tensor[]): string {
    for (const x of tensors) {
      const layer = this.#parameters.get(x);
      if (layer !== undefined) return layer;
    }
    return this.#stack.at(-1) ?? "";
  }

  // The call that made an operation's result is the operation's.
  #result(out: Differentiable, name: string): void {
    if (this.#node || this.#last) return;
    this.#settle("forward"); // and what the operation did before
    const call = this.#made.get(out);
    if (call) {
      call.op = name;
      this.#owned.set(out as Tensor, call);
    }
    if (out.node) this.#layerOf.set(out.node, call?.layer ?? this.#stack.at(-1) ?? "");
  }

  #settle(phase: Phase): void {
    for (const call of this.calls.slice(this.#settled)) {
      if (call.phase === "other" && !/_step$|^list_/.test(call.name)) call.phase = phase;
    }
    this.#settled = this.calls.length;
  }

  #atPeak(live: number): void {
    this.#peak = live;
    this.#atPeakBy = new Map([["from before", this.#before]]);
    let known = this.#before;
    for (const [x, owner] of this.#owned) {
      if (x.disposed) this.#owned.delete(x);
      else {
        known += bytesOf(x);
        this.#atPeakBy.set(owner, (this.#atPeakBy.get(owner) ?? 0) + bytesOf(x));
      }
    }
    this.#atPeakBy.set("not known", live - known);
  }

  /** Who had memory at its peak, largest first. */
  owners(): Owner[] {
    const sums = new Map<string, number>();
    for (const [by, bytes] of this.#atPeakBy) {
      const owner = typeof by === "string"
        ? by
        : [by.op, by.layer, by.phase].filter(Boolean).join(", ");
      sums.set(owner, (sums.get(owner) ?? 0) + bytes);
    }
    return Array.from(sums, ([owner, bytes]) => ({ owner, bytes }))
      .filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes);
  }
}
