import type { Complete } from "../core/options.ts";
import { call } from "../native/call.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Batch, ParameterState } from "./batch.ts";
import { checkRates } from "./_check.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode SGD}. */
export interface SGDOptions {
  /** The learning rate. */
  lr: number;
  /** Default 0. */
  momentum?: number | undefined;
  /** Default 0. */
  dampening?: number | undefined;
  /** L2 penalty, added to the gradient; default 0. */
  weightDecay?: number | undefined;
  /** Look ahead along the momentum; needs momentum and no dampening. Default false. */
  nesterov?: boolean | undefined;
  /** Climb instead of descend. Default false. */
  maximize?: boolean | undefined;
}

/**
 * Stochastic gradient descent, as torch.optim.SGD: with g = grad + weightDecay p, the velocity is v
 * = momentum v + (1 - dampening) g (g itself at the first step), and p becomes p - lr v, or p - lr
 * (g + momentum v) with Nesterov. All parameters of a dtype change in one launch.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1], { requiresGrad: true });
 * const optimizer = new optim.SGD([w], { lr: 0.1 });
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.itemSync()); // 0.8
 * ```
 */
export class SGD extends Optimizer<SGDOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<SGDOptions>, options: SGDOptions) {
    super("SGD", params, options, {
      lr: undefined as unknown as number, // must be given
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<SGDOptions>): void {
    checkRates("SGD", options, ["lr", "momentum", "dampening", "weightDecay"]);
    if (options.nesterov && (options.momentum === 0 || options.dampening !== 0)) {
      throw new ArgumentError("SGD: nesterov needs a momentum and no dampening");
    }
  }

  /** @ignore The step after which there is a velocity differs from others. */
  protected override key(state: ParameterState): string {
    return `${state.step} ${hasVelocity(state)}`;
  }

  /** @ignore */
  protected override update(batch: Batch<Group<SGDOptions>>): void {
    const { momentum, dampening, weightDecay, nesterov, maximize } = batch.group;
    const clock = batch.clock(Number(hasVelocity(batch.states[0]!)), "hasVelocity");
    call(
      "cdn_sgd_step",
      batch.handles(),
      batch.grads(),
      momentum === 0 ? null : batch.state("velocity"),
      batch.sizes(),
      batch.params.length,
      clock,
      batch.skip,
      dampening,
      weightDecay,
      Number(nesterov),
      Number(maximize),
      batch.code,
    );
  }
}

// That it has a tensor for it does not say so: the step that made it may have been left out.
function hasVelocity({ step, tensors, numbers }: ParameterState): boolean {
  const saved = numbers["hasVelocity"]; // a state made elsewhere may not say
  return saved === undefined ? step > 0 && "velocity" in tensors : saved !== 0;
}
