import {
  checkInteger,
  checkNumber,
  checkState,
  type Complete,
  optionsOf,
} from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { ArgumentError } from "../native/errors.ts";
import { mul } from "../ops/elementwise/binary.ts";
import type { Tensor } from "../tensor.ts";
import { alike, gradientsOf, handlesOf, sizesOf } from "./lists.ts";
import { type Optimizer } from "./optimizer.ts";
import { checkOptimizer } from "./check.ts";

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

// One flag a device, until it was read: did any gradient hold NaN or infinity?
interface Round {
  flags: Tensor[];
  stepped: boolean;
  bad: boolean;
}

/**
 * Scales losses so that small gradients survive float16, as torch.amp.GradScaler: the loss is
 * multiplied before backward(), the gradients are divided again before the step, and a step whose
 * gradients are not all finite is left out and lowers the scale. bfloat16 and float32 need none of
 * this.
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
  #scale: number;
  #goodSteps = 0;

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
    this.#scale = all.initScale;
  }

  /** The scale as it is now; 1 where scaling is not enabled. */
  getScale(): number {
    return this.#options.enabled ? this.#scale : 1;
  }

  /** The loss times the scale: call backward() on this. Recorded. */
  scale(loss: Tensor): Tensor {
    return this.#options.enabled ? mul(loss, this.#scale) : loss;
  }

  /**
   * Divides the gradients by the scale in place, so that they can be clipped before step(), which
   * else does it.
   */
  unscale(optimizer: Optimizer): void {
    checkOptimizer("GradScaler", optimizer);
    if (!this.#options.enabled) return;
    if (this.#rounds.has(optimizer)) {
      throw new ArgumentError(
        "GradScaler: the gradients were unscaled since the last update() already",
      );
    }
    const gradients = gradientsOf("GradScaler", optimizer.groups.flatMap(({ params }) => params));
    const round: Round = { flags: [], stepped: false, bad: false };
    this.#rounds.set(optimizer, round);
    for (const { backend, code, tensors } of alike(gradients)) {
      const first = tensors[0]!;
      let flag = round.flags.find(({ device }) => device === first.device);
      if (!flag) round.flags.push(flag = keep(first.make([], "int32").fill(0)));
      backend.check(backend.functions.cdn_list_unscale(
        handlesOf(tensors),
        flag.handle,
        sizesOf(tensors),
        tensors.length,
        1 / this.#scale,
        code,
      ));
    }
  }

  /**
   * Unscales the gradients, unless that was done, and lets the optimizer step if they are all
   * finite. Returns whether it did. Waits for the device, to know.
   */
  step(optimizer: Optimizer): boolean {
    checkOptimizer("GradScaler", optimizer);
    if (!this.#options.enabled) {
      optimizer.step();
      return true;
    }
    if (!this.#rounds.has(optimizer)) this.unscale(optimizer);
    const round = this.#rounds.get(optimizer)!;
    if (round.stepped) {
      throw new ArgumentError("GradScaler: step() was called since the last update() already");
    }
    this.#settle(round);
    round.stepped = true;
    if (!round.bad) optimizer.step();
    return !round.bad;
  }

  /**
   * Ends a step: lowers the scale where gradients were not finite, raises it after growthInterval
   * good steps.
   */
  update(): void {
    if (!this.#options.enabled) return;
    if (this.#rounds.size === 0) {
      throw new ArgumentError("GradScaler: call step() or unscale() before update()");
    }
    const rounds = [...this.#rounds.values()];
    rounds.forEach((round) => this.#settle(round));
    this.#rounds.clear();
    const { growthFactor, backoffFactor, growthInterval } = this.#options;
    if (rounds.some(({ bad }) => bad)) {
      this.#scale *= backoffFactor;
      this.#goodSteps = 0;
    } else if (++this.#goodSteps >= growthInterval) {
      // No further than gradients of float32 could hold.
      if (this.#scale * growthFactor <= 2 ** 127) this.#scale *= growthFactor;
      this.#goodSteps = 0;
    }
  }

  /** The scale and the count of good steps. */
  stateDict(): GradScalerState {
    return { scale: this.#scale, goodSteps: this.#goodSteps };
  }

  /** Goes on from a state, with the next step: one that was begun is forgotten. */
  loadStateDict(state: GradScalerState): void {
    checkState("GradScaler", state);
    const { scale, goodSteps } = state;
    checkScale("scale", scale);
    checkInteger("GradScaler", "goodSteps", goodSteps, 0);
    this.dispose();
    this.#scale = scale;
    this.#goodSteps = goodSteps;
  }

  #settle(round: Round): void {
    try {
      for (const flag of round.flags) if (flag.itemSync() !== 0) round.bad = true;
    } catch (error) {
      this.dispose(); // or the next step would be taken with gradients that are still scaled
      throw error;
    }
    for (const flag of round.flags.splice(0)) flag.dispose();
  }

  /** Ends a step that an error has cut off: frees what unscale() holds until update(). */
  dispose(): void {
    for (const { flags } of this.#rounds.values()) flags.forEach((flag) => flag.dispose());
    this.#rounds.clear();
  }
}

function checkScale(name: string, value: number): void {
  checkNumber("GradScaler", name, value, 0);
  if (value === 0) throw new ArgumentError(`GradScaler: ${name} is 0; it must be above`);
}
