import {
  checkInteger,
  checkNumber,
  checkState,
  type Complete,
  optionsOf,
} from "../core/options.ts";
import { computeDType } from "../core/dtype.ts";
import { keep, scope } from "../core/scope.ts";
import { call } from "../native/call.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { mul } from "../ops/elementwise/binary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import type { Tensor } from "../tensor.ts";
import { internals } from "./_internals.ts";
import { gradientsOf, handlesOf } from "./_lists.ts";
import { type Optimizer } from "./optimizer.ts";
import { checkOptimizer } from "./_check.ts";

/** Options of {@linkcode GradScaler}. */
export interface GradScalerOptions {
  /** The first scale; default 65536. */
  initScale?: number | undefined;
  /** What the scale grows by, above 1; default 2. */
  growthFactor?: number | undefined;
  /** What it is multiplied with after gradients that were not finite, below 1; default 0.5. */
  backoffFactor?: number | undefined;
  /** After how many good steps in a row it grows; default 2000. */
  growthInterval?: number | undefined;
  /** Whether to scale at all; default true. */
  enabled?: boolean | undefined;
}

/** What {@linkcode GradScaler.stateDict} returns: plain numbers. */
export interface GradScalerState {
  /** The scale. */
  scale: number;
  /** Good steps since it changed. */
  goodSteps: number;
}

// The flags of an optimizer's gradients, one float64 a device, and how far its step has come.
interface Round {
  flags: Tensor[];
  unscaled: boolean;
  stepped: boolean;
}

// On one device: the scale, the good steps since it changed, and whether the last update() met a
// step that was left out; and views of the first and of the last.
interface State {
  all: Tensor;
  scale: Tensor;
  skipped: Tensor;
}

/**
 * Scales losses so that small gradients survive float16, as torch.amp.GradScaler: the loss is
 * multiplied before backward(), the gradients are divided again before the step, and a step whose
 * gradients are not all finite is left out and lowers the scale. bfloat16 and float32 need none of
 * this. The scale and whether gradients were finite stay on the device, and no step waits for it.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1], { requiresGrad: true });
 * const optimizer = new optim.SGD([w], { lr: 0.1 });
 * const scaler = new optim.GradScaler({ initScale: 1024 });
 * scaler.scale(w.mul(w).sum()).backward(); // w.grad is 2048
 * scaler.step(optimizer);
 * scaler.update();
 * console.log(w.itemSync()); // 0.8
 * ```
 */
export class GradScaler {
  readonly #options: Complete<GradScalerOptions>;
  readonly #rounds = new Map<Optimizer, Round>();
  readonly #states: State[] = []; // one a device; the first one leads
  #found = new Uint32Array(); // the flags' handles
  #given: GradScalerState; // until it is on a device

  constructor(options: GradScalerOptions = {}) {
    const all = this.#options = optionsOf<GradScalerOptions>("GradScaler", options, {
      initScale: 65536,
      growthFactor: 2,
      backoffFactor: 0.5,
      growthInterval: 2000,
      enabled: true,
    });
    checkScale("initScale", all.initScale);
    checkNumber("GradScaler", "growthFactor", all.growthFactor);
    if (all.growthFactor <= 1) {
      throw new ArgumentError(
        `GradScaler: growthFactor is ${all.growthFactor}; it must be above 1`,
      );
    }
    checkScale("backoffFactor", all.backoffFactor);
    if (all.backoffFactor >= 1) {
      throw new ArgumentError(
        `GradScaler: backoffFactor is ${all.backoffFactor}; it must be below 1`,
      );
    }
    checkInteger("GradScaler", "growthInterval", all.growthInterval, 1);
    this.#given = { scale: all.initScale, goodSteps: 0 };
  }

  static {
    internals.skippedBy = (scaler, backend) =>
      scaler.#states.find(({ all }) => all.backend === backend)?.skipped;
  }

  /** The scale as it is now; 1 where scaling is not enabled. Waits for the device. */
  getScale(): number {
    return this.#options.enabled ? this.stateDict().scale : 1;
  }

  /** The loss times the scale: call backward() on this. Recorded. */
  scale(loss: Tensor): Tensor {
    if (!this.#options.enabled) return loss;
    checkTensor("GradScaler", loss);
    const wide = computeDType(loss.dtype); // the scale may be more than float16 holds
    return cast(mul(cast(loss, wide), cast(this.#on(loss).scale, wide)), loss.dtype);
  }

  /**
   * Divides the gradients by the scale in place, so that they can be clipped before step(), which
   * else does it.
   */
  unscale(optimizer: Optimizer): void {
    checkOptimizer("GradScaler", optimizer);
    if (!this.#options.enabled) return;
    let round = this.#rounds.get(optimizer);
    if (!round) {
      this.#rounds.set(optimizer, round = { flags: [], unscaled: false, stepped: false });
    }
    if (round.unscaled) {
      throw new ArgumentError(
        "GradScaler: the gradients were unscaled since the last update() already",
      );
    }
    const { flags } = round;
    const gradients = gradientsOf("GradScaler", internals.parametersOf(optimizer));
    round.unscaled = true;
    for (const { backend, code, handles, sizes, params } of gradients) {
      const { scale } = this.#on(params[0]!);
      let flag = flags.find((flag) => flag.backend === backend);
      if (!flag) flags.push(flag = keep(scale.make([]).fill(0)));
      call("cdn_list_unscale", handles, flag, scale, sizes, handles.length, code);
    }
    const [lead] = this.#states;
    if (flags.some(({ backend }) => backend !== lead!.all.backend)) this.#join(flags);
  }

  /**
   * Unscales the gradients, unless that was done, and lets the optimizer step: where they are not
   * all finite, the step changes nothing and does not count. Nothing waits for the device, unless
   * the optimizer is a class of your own.
   */
  step(optimizer: Optimizer): void {
    checkOptimizer("GradScaler", optimizer);
    if (!this.#options.enabled) return optimizer.step();
    if (!this.#rounds.get(optimizer)?.unscaled) this.unscale(optimizer);
    const round = this.#rounds.get(optimizer)!;
    if (round.stepped) {
      throw new ArgumentError("GradScaler: step() was called since the last update() already");
    }
    round.stepped = true;
    internals.stepUnless(optimizer, round.flags);
  }

  /**
   * Ends a step: lowers the scale where gradients were not finite, raises it after growthInterval
   * good steps.
   */
  update(): void {
    if (!this.#options.enabled) return;
    const rounds = [...this.#rounds.values()].filter(({ unscaled }) => unscaled);
    if (rounds.length === 0) {
      throw new ArgumentError("GradScaler: call step() or unscale() before update()");
    }
    const [first, ...others] = this.#states;
    if (first) { // or no parameter had a gradient
      const { backend } = first.all;
      // Those of an optimizer say the same on each device.
      const flags = rounds.flatMap(({ flags }) => flags.filter((flag) => flag.backend === backend));
      if (this.#found.length !== flags.length) this.#found = new Uint32Array(flags.length);
      const { growthFactor, backoffFactor, growthInterval } = this.#options;
      call(
        "cdn_scale_update",
        first.all,
        handlesOf(flags, this.#found),
        flags.length,
        growthFactor,
        backoffFactor,
        growthInterval,
      );
      for (const { all } of others) scope(() => all.copyFrom(first.all.to(all.device)));
    }
    for (const round of rounds) {
      for (const flag of round.flags) if (flag.backend !== first!.all.backend) flag.fill(0);
      round.unscaled = round.stepped = false;
    }
  }

  /** The scale and the count of good steps. Waits for the device. */
  stateDict(): GradScalerState {
    const [state] = this.#states;
    if (!state) return { ...this.#given };
    const [scale, goodSteps] = state.all.dataSync();
    return { scale: scale!, goodSteps: goodSteps! };
  }

  /** Goes on from a state, with the next step: one that was begun is forgotten. */
  loadStateDict(state: GradScalerState): void {
    checkState("GradScaler", state);
    const { scale, goodSteps } = state;
    checkScale("scale", scale);
    checkInteger("GradScaler", "goodSteps", goodSteps, 0);
    this.reset();
    this.#given = { scale, goodSteps };
    for (const { all } of this.#states) all.copyFrom(Float64Array.of(scale, goodSteps, 0));
  }

  /** Forgets a step that an error has cut off; the scale stays. */
  reset(): void {
    for (const round of this.#rounds.values()) {
      if (round.unscaled) { for (const flag of round.flags) flag.fill(0); }
      round.unscaled = round.stepped = false;
    }
  }

  /** Frees what it has on devices. It may go on with the scale that it had. */
  dispose(): void {
    try {
      this.#given = this.stateDict();
    } finally {
      for (const { flags } of this.#rounds.values()) flags.forEach((flag) => flag.dispose());
      for (const state of this.#states) Object.values(state).forEach((x) => x.dispose());
      this.#rounds.clear();
      this.#states.length = 0;
    }
  }

  // The state on the device of a tensor.
  #on(x: Tensor): State {
    const found = this.#states.find(({ all }) => all.backend === x.backend);
    if (found) return found;
    const [first] = this.#states;
    const { scale, goodSteps } = this.#given;
    const all = first
      ? first.all.to(x.device)
      : x.make([3], "float64").copyFrom(Float64Array.of(scale, goodSteps, 0));
    const state = { all: keep(all), scale: keep(all.view(0, [])), skipped: keep(all.view(2, [])) };
    this.#states.push(state);
    return state;
  }

  // Sets the flags of all devices, the leading one's too, where one is set. Waits for the devices.
  #join(flags: Tensor[]): void {
    const any = flags.some((flag) => flag.itemSync() !== 0);
    const { scale } = this.#states[0]!;
    if (!flags.some(({ backend }) => backend === scale.backend)) flags.push(keep(scale.make([])));
    for (const flag of flags) flag.fill(Number(any));
  }
}

function checkScale(name: string, value: number): void {
  checkNumber("GradScaler", name, value, 0);
  if (value === 0) throw new ArgumentError(`GradScaler: ${name} is 0; it must be above 0`);
}
