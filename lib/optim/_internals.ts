import type { Backend } from "../core/backend.ts";
import type { Tensor } from "../tensor.ts";
import type { CountedState } from "./_clock.ts";
import type { GradScaler } from "./grad_scaler.ts";
import type { Optimizer } from "./optimizer.ts";

/** What optimizer.ts and grad_scaler.ts let other files here do, and nobody else. */
export const internals = {} as {
  /** The parameters of all groups: the same list as long as no group is added. */
  parametersOf(optimizer: Optimizer): readonly Tensor[];
  /**
   * What is remembered of parameters, in their order, for a caller that takes steps itself and
   * writes to both; throws for options that are out of range.
   */
  statesOf(optimizer: Optimizer, params: readonly Tensor[]): CountedState[];
  /** A step that is left out where a flag, one float64 on each device, is not 0. */
  stepUnless(optimizer: Optimizer, flags: readonly Tensor[]): void;
  /** A flag, one float64: whether a scaler's last update() met a step left out. */
  skippedBy(scaler: GradScaler, backend: Backend): Tensor | undefined;
};
