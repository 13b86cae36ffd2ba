import { internals } from "./_internals.ts";
import { listOf, zeroGradients } from "./_lists.ts";
import { parametersChanged } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { lastLeaves, unwatchLeaves, watchLeaves } from "../core/backward.ts";
import { formatCall } from "../core/describe.ts";
import { checkNumber, type Complete, optionsOf, refuse } from "../core/options.ts";
import { beforeReplay, recording } from "../core/recording.ts";
import { syncScope } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, DTypeError, GradientError, ShapeError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { Batch, type ParameterState } from "./batch.ts";
import type { Clock, CountedState } from "./_clock.ts";
import { loadState, saveState } from "./_state.ts";

/** Options of zeroGrad(). */
export interface ZeroGradOptions {
  /** Whether to free the gradients, the default, or to fill them with 0 in their places. */
  setToNone?: boolean | undefined;
}

/** What all optimizers have for options. */
export interface OptimizerOptions {
  /** The learning rate. */
  lr?: number | undefined;
}

/** Parameters with options of their own; those not given are the optimizer's. */
export type ParameterGroup<O> = Partial<O> & {
  /** Tensors with requiresGrad. */
  params: Iterable<Tensor>;
};

/** What an optimizer trains: parameters, or groups of them. */
export type Trainable<O> = Iterable<Tensor> | Iterable<ParameterGroup<O>>;

/** A group as the optimizer holds it: its options, all of them, may be changed between steps. */
export type Group<O> = Complete<O> & {
  /** The parameters. */
  readonly params: readonly Tensor[];
  /** The learning rate from which schedules compute; set by the first schedule. */
  initialLr?: number | undefined;
};

// Parameters of any optimizer, and tensors that were warned of.
const known = new WeakSet<object>();

/**
 * An optimizer's state. Parameters are numbered through all groups from 0. The tensors can go to a
 * .safetensors file, the rest is plain JSON:
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1], { requiresGrad: true });
 * const optimizer = new optim.Adam([w]);
 * w.sum().backward();
 * optimizer.step();
 * const { tensors, numbers, groups } = optimizer.stateDict();
 * console.log(Object.keys(tensors), numbers, groups);
 * // ["0.expAvg", "0.expAvgSq"], { "0.step": 1 }, [{ lr: 0.001, … }]
 * ```
 */
export interface OptimizerState {
  /** State tensors by parameter and name: `0.expAvg`. */
  tensors: Record<string, Tensor>;
  /** Numbers of state by parameter and name: `0.step`. */
  numbers: Record<string, number>;
  /** Each group's options, and the numbers of its parameters as `params`. */
  groups: Record<string, unknown>[];
}

/**
 * The base of optimizers, after torch.optim.Optimizer: groups of parameters, each with its own
 * options, and what is remembered of each parameter. Parameters without a gradient are left as they
 * are, and count their own steps.
 *
 * Steps of 16-bit parameters are computed in float32, and so is what is remembered; only the
 * parameters are rounded. A change of less than half of a parameter's last place is lost, as in
 * PyTorch: train float32 parameters under autocast() instead.
 *
 * A subclass says in update() what a step does with parameters that are alike. It runs unrecorded
 * and in a scope.
 *
 * ```ts
 * import { optim, type Tensor, tensor } from "@cudeno/cudeno";
 * class SignSGD extends optim.Optimizer<{ lr?: number }> {
 *   constructor(params: optim.Trainable<{ lr?: number }>, options = {}) {
 *     super("SignSGD", params, options, { lr: 0.1 });
 *   }
 *   protected override update({ params, group }: optim.Batch<optim.Group<{ lr?: number }>>) {
 *     const sign = (g: Tensor) => g.div(g.abs());
 *     for (const p of params) p.copyFrom(p.sub(sign(p.grad!).mul(group.lr)));
 *   }
 * }
 * const w = tensor([1, -1], { requiresGrad: true });
 * const optimizer = new SignSGD([w]);
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.dataSync()); // 0.9, -0.9
 * ```
 */
export abstract class Optimizer<O extends OptimizerOptions = OptimizerOptions> {
  readonly #name: string;
  readonly #defaults: Complete<O>;
  readonly #groups: Group<O>[] = [];
  readonly #states = new Map<Tensor, CountedState>();
  #params: readonly Tensor[] = []; // of all groups
  #flags: readonly Tensor[] = []; // of a scaler, while it steps
  #batches: Batch<Group<O>>[] = []; // of the last step
  #started = false;

  /**
   * Called by subclasses: `name` is for messages; `defaults` stand for options that are not given.
   */
  constructor(name: string, trainable: Trainable<O>, options: O, defaults: Complete<O>) {
    const items: (Tensor | ParameterGroup<O>)[] = listOf(
      name,
      "what is trained",
      trainable as Iterable<Tensor | ParameterGroup<O>>,
    );
    this.#name = name;
    this.#defaults = optionsOf<O>(name, options, defaults);
    this.check(this.#defaults);
    if (items.length === 0) throw new ArgumentError(`${name}: there are no parameters; ${places}`);
    if (items.every(isGroup)) { for (const group of items) this.addGroup(group); }
    else this.addGroup({ params: items } as unknown as ParameterGroup<O>);
    watchLeaves();
  }

  /** The groups, in the order in which they were given. */
  get groups(): readonly Group<O>[] {
    return this.#groups;
  }

  /** The learning rate of the first group; setting it sets those of all groups. */
  get lr(): number {
    return this.#groups[0]!.lr as number;
  }

  set lr(value: number) {
    for (const group of this.#groups) (group as OptimizerOptions).lr = value;
  }

  /**
   * Adds parameters with options of their own, such as layers that are to be trained from now on.
   */
  addGroup(group: ParameterGroup<O>): void {
    const name = this.#name;
    if (!isGroup(group)) refuse(name, "the group", group, "{ params, … } with options of its own");
    const { params, ...options } = group;
    const own = optionsOf<O>(name, options as unknown as Partial<O>, this.#defaults);
    this.check(own);
    const list = listOf(name, "params", params);
    if (list.length === 0) throw new ArgumentError(`${name}: there are no parameters`);
    const seen = new Set(this.#groups.flatMap((other) => other.params));
    for (const p of list) {
      checkTensor(name, p);
      if (seen.has(p)) throw new ArgumentError(`${name}: a parameter is there twice`);
      if (!p.requiresGrad) throw new GradientError(`${name}: a parameter has no requiresGrad`);
      if (p.node) {
        throw new GradientError(
          `${name}: a parameter was computed, by ${p.node.name}; only leaves have gradients`,
        );
      }
      this.checkParameter(p);
      seen.add(p);
    }
    for (const p of list) known.add(p);
    this.#groups.push({ ...own, params: Object.freeze(list) } as Group<O>);
    this.#params = this.#groups.flatMap(({ params }) => params);
  }

  /** Changes every parameter that has a gradient. Nothing is changed where an error is thrown. */
  step(): void {
    for (const group of this.#groups) this.check(group);
    if (!this.#batchesHold()) {
      this.#batches = this.#groups.flatMap((group) => this.#batchesOf(group));
    }
    if (!this.#started) this.#start();
    if (recording()) this.#watchOptions();
    parametersChanged();
    noGrad(() =>
      syncScope(() => {
        for (const batch of this.#batches) {
          batch.skip = this.#flags.find(({ backend }) => backend === batch.backend) ?? null;
          this.update(batch);
          if (!this.skips) { for (const state of batch.states) state.step++; }
        }
      })
    );
  }

  // Has a step that was captured know when it is out of date.
  #watchOptions(): void {
    const now = () =>
      this.#groups.flatMap(({ params, lr: _, initialLr: __, ...options }) => [
        ...Object.entries(options).flatMap(([name, x]) =>
          // the momentum and beta1 are the clock's
          name === "momentum" ? x !== 0 : Array.isArray(x) ? x.slice(1) : x
        ),
        ...params.map(({ requiresGrad }) => requiresGrad),
      ]);
    const then = now();
    beforeReplay(() => {
      const values = now();
      const same = values.length === then.length && values.every((x, i) => Object.is(x, then[i]));
      return same ? undefined : `options or parameters of ${this.#name} were changed`;
    });
  }

  // Warns of what has a gradient but no optimizer, once there are gradients.
  #start(): void {
    const leaves = lastLeaves();
    if (leaves.length === 0) return;
    this.#started = true;
    unwatchLeaves();
    const others = leaves.filter((leaf) => !known.has(leaf));
    if (others.length === 0) return;
    for (const leaf of others) known.add(leaf);
    const shapes = others.slice(0, 4).map(({ shape }) => formatShape(shape)).join(", ");
    console.warn(
      `${this.#name}: backward() gave gradients to tensors that no optimizer has, so they are ` +
        `not trained: ${others.length} of shape ${shapes}${
          others.length > 4 ? ", …" : ""
        }. If they are a layer's, mind that ` +
        `${places}. If they are not to be trained, set requiresGrad to false.`,
    );
  }

  // Whether the same parameters have gradients as at the last step, and those that were alike still
  // are.
  #batchesHold(): boolean {
    let others = 0;
    for (const { params } of this.#groups) {
      for (const p of params) {
        // a parameter that was disposed, or replaced by model.to(), is an error and no reason to
        // stand still
        void p.stored(p.format).handle;
        if (!p.grad) continue;
        this.#checkGradient(p, p.grad);
        others++;
      }
    }
    for (const { params, states } of this.#batches) {
      const key = this.#keyOf(states[0]!);
      for (let i = 0; i < params.length; i++) {
        if (!params[i]!.grad || this.#keyOf(states[i]!) !== key) return false;
      }
      others -= params.length;
    }
    return others === 0;
  }

  #batchesOf(group: Group<O>): Batch<Group<O>>[] {
    const parts = new Map<unknown, [Tensor[], CountedState[]]>();
    for (const p of group.params) {
      if (!p.grad) continue;
      const state = this.#stateOf(p);
      const key = state.clock ?? `${p.device} ${p.dtype} ${this.key(state)}`;
      let part = parts.get(key);
      if (!part) parts.set(key, part = [[], []]);
      part[0].push(p);
      part[1].push(state);
    }
    return Array.from(parts.values(), ([params, states]) => new Batch(group, params, states));
  }

  #stateOf(p: Tensor): CountedState {
    let state = this.#states.get(p);
    if (!state) this.#states.set(p, state = { step: 0, tensors: {}, numbers: {} });
    return state;
  }

  // A clock counts for parameters of one device and dtype.
  #keyOf(state: CountedState): unknown {
    return state.clock ?? this.key(state);
  }

  #checkGradient(p: Tensor, grad: Tensor): void {
    if (grad.dtype !== p.dtype) {
      throw new DTypeError(
        `${this.#name}: a gradient is ${grad.dtype}; its parameter is ${p.dtype}`,
      );
    }
    if (!sameShape(grad.shape, p.shape)) {
      throw new ShapeError(
        `${this.#name}: a gradient is ${formatShape(grad.shape)}; its parameter is ${
          formatShape(p.shape)
        }`,
      );
    }
  }

  /**
   * Throws for options out of range. Called for each group at every step too, since they may be
   * changed.
   */
  protected check(options: Complete<O>): void {
    checkNumber(this.#name, "lr", options.lr as number, 0);
  }

  /** Throws for a parameter that this optimizer cannot train. */
  protected checkParameter(_parameter: Tensor): void {}

  /**
   * Whether update() leaves all as it is where the flag `batch.skip` is set. A GradScaler waits for
   * the device before a step of an optimizer that does not, to know whether to take it.
   */
  protected readonly skips: boolean = false;

  /** What of a parameter's state decides which step it takes: by default how many it has taken. */
  protected key(state: ParameterState): string | number {
    return state.step;
  }

  /** The step of parameters that are alike. */
  protected abstract update(batch: Batch<Group<O>>): void;

  // What console.log shows. Names of methods have to be plain for an importer's
  // isolatedDeclarations.
  static {
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), {
      value(this: Optimizer): string {
        return this.toString();
      },
    });
    internals.parametersOf = (optimizer) => optimizer.#params;
    internals.statesOf = (optimizer, params) => {
      for (const group of optimizer.#groups) optimizer.check(group);
      return params.map((p) => optimizer.#stateOf(p));
    };
    internals.stepUnless = (optimizer, flags) => {
      if (!optimizer.skips && flags.some((flag) => flag.itemSync() !== 0)) return;
      optimizer.#flags = flags;
      try {
        optimizer.step();
      } finally {
        optimizer.#flags = [];
      }
    };
  }

  /** A line for each group: its options, and how many parameters it has. */
  toString(): string {
    return this.#groups.map(({ params, ...options }) =>
      `${formatCall(this.#name, [], options)} of ${params.length} parameters`
    ).join("\n");
  }

  /**
   * Frees the gradients of all parameters, or with `{ setToNone: false }` fills them with 0 where
   * they are.
   */
  zeroGrad(options: ZeroGradOptions = {}): void {
    zeroGradients(this.#params, options);
  }

  /**
   * All that training needs to go on exactly so; the tensors are the optimizer's own, not copies.
   * Waits for the device, which counts the steps.
   */
  stateDict(): OptimizerState {
    for (const clock of this.#clocks()) {
      const { step, extra } = clock.read();
      for (const state of this.#states.values()) {
        if (state.clock !== clock) continue;
        state.step = step;
        if (clock.name !== undefined) state.numbers[clock.name] = extra;
      }
    }
    return saveState(this.#groups, this.#states);
  }

  /**
   * Takes over options and state of an optimizer with as many groups and parameters; the tensors
   * are copied.
   */
  loadStateDict(state: OptimizerState): void {
    const loaded = loadState(this.#name, state, this.#groups, (group) => {
      const known = [...Object.keys(this.#defaults), "initialLr", "params"];
      const unknown = Object.keys(group).find((name) => !known.includes(name));
      if (unknown !== undefined) {
        throw new ArgumentError(
          `${this.#name}: there is no option ${unknown}, which the state has; it must be a state ` +
            `of ${this.#name}, not of another optimizer`,
        );
      }
      if (group.initialLr !== undefined) checkNumber(this.#name, "initialLr", group.initialLr, 0);
      this.check(group);
    });
    this.dispose();
    for (const [p, own] of loaded.states) this.#states.set(p, own);
    loaded.options.forEach((options, i) => Object.assign(this.#groups[i]!, options));
  }

  #clocks(): Set<Clock> {
    return new Set(Array.from(this.#states.values(), ({ clock }) => clock).filter((x) => !!x));
  }

  /** Frees the state; the parameters stay. */
  dispose(): void {
    for (const { tensors } of this.#states.values()) {
      for (const x of Object.values(tensors)) x.dispose();
    }
    for (const clock of this.#clocks()) clock.dispose();
    this.#states.clear();
    this.#batches = [];
  }
}

const places =
  "parameters() finds layers in properties, alone or in arrays, plain objects, Maps and Sets, " +
  "and none in #private fields";

function isGroup<O>(item: Tensor | ParameterGroup<O>): item is ParameterGroup<O> {
  return typeof item === "object" && item !== null && "params" in item;
}
