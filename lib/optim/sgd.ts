import { zeroGrad } from "../core/autograd.ts";
import { keep } from "../core/scope.ts";
import { checkNumber, checkOptions } from "../core/options.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, DTypeError, GradientError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";

/** What a trainer needs of an optimizer. */
export interface Optimizer {
  /** The learning rate; may be changed between steps. */
  lr: number;
  /** Changes the parameters by their gradients. */
  step(): void;
  /** Frees the gradients. */
  zeroGrad(): void;
}

/** Options of {@linkcode SGD}. */
export interface SGDOptions {
  /** The learning rate. */
  lr: number;
  /** Default 0. */
  momentum?: number;
  /** Default 0. */
  dampening?: number;
  /** L2 penalty, added to the gradient; default 0. */
  weightDecay?: number;
  /** Look ahead along the momentum; needs momentum and no dampening. Default false. */
  nesterov?: boolean;
}

/**
 * Stochastic gradient descent, as torch.optim.SGD: with g = grad + weightDecay p, the velocity is v = momentum v +
 * (1 - dampening) g (g itself at the first step), and p becomes p - lr v, or p - lr (g + momentum v) with Nesterov.
 * All parameters of a dtype change in one launch.
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
export class SGD implements Optimizer {
  /** The learning rate; may be changed between steps. */
  lr: number;
  readonly #parameters: readonly Tensor[];
  readonly #rule: Required<Omit<SGDOptions, "lr">>;
  readonly #velocities = new Map<Tensor, Tensor>();

  /** Trains `parameters`, tensors with requiresGrad. */
  constructor(parameters: Iterable<Tensor>, options: SGDOptions) {
    checkOptions("SGD", options, ["lr", "momentum", "dampening", "weightDecay", "nesterov"]);
    const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
    for (const [name, value] of Object.entries({ lr, momentum, dampening, weightDecay })) {
      checkNumber("SGD", name, value, 0);
    }
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new ArgumentError("SGD: nesterov needs a momentum and no dampening");
    }
    this.#parameters = [...parameters];
    if (this.#parameters.length === 0) throw new ArgumentError("SGD: there are no parameters");
    if (new Set(this.#parameters).size !== this.#parameters.length) {
      throw new ArgumentError("SGD: a parameter is there twice");
    }
    for (const p of this.#parameters) {
      if (!p.requiresGrad) throw new GradientError("SGD: a parameter has no requiresGrad");
    }
    this.lr = lr;
    this.#rule = { momentum, dampening, weightDecay, nesterov };
  }

  /** Changes every parameter that has a gradient. */
  step(): void {
    checkNumber("SGD", "lr", this.lr, 0);
    // One launch for those alike; a parameter's first step differs, since it has no velocity yet.
    const groups = new Map<string, Tensor[]>();
    for (const p of this.#parameters) {
      void p.handle; // a parameter that was disposed, or replaced by model.to(), is an error and no reason to stand still
      if (!p.grad) continue;
      if (p.grad.dtype !== p.dtype) {
        throw new DTypeError(`SGD: a gradient is ${p.grad.dtype}; its parameter is ${p.dtype}`);
      }
      if (!sameShape(p.grad.shape, p.shape)) {
        throw new ShapeError(
          `SGD: a gradient is ${formatShape(p.grad.shape)}; its parameter is ${
            formatShape(p.shape)
          }`,
        );
      }
      const key = `${p.device} ${p.dtype} ${this.#velocities.has(p)}`;
      const group = groups.get(key);
      if (group) group.push(p);
      else groups.set(key, [p]);
    }
    for (const group of groups.values()) this.#stepAll(group);
  }

  #stepAll(group: Tensor[]): void {
    const { momentum, dampening, weightDecay, nesterov } = this.#rule;
    const first = !this.#velocities.has(group[0]!);
    if (momentum !== 0 && first) {
      for (const p of group) this.#velocities.set(p, keep(p.make(p.shape).fill(0)));
    }
    const { backend, code } = group[0]!;
    backend.check(backend.functions.cdn_sgd_step(
      Uint32Array.from(group, (p) => p.handle),
      Uint32Array.from(group, (p) => p.grad!.handle),
      Uint32Array.from(group, (p) => this.#velocities.get(p)?.handle ?? 0),
      BigInt64Array.from(group, (p) => BigInt(p.size)),
      group.length,
      this.lr,
      momentum,
      dampening,
      weightDecay,
      Number(nesterov),
      Number(first),
      code,
    ));
  }

  /** Frees the gradients of all parameters. */
  zeroGrad(): void {
    zeroGrad(this.#parameters);
  }

  /** Frees the velocities. */
  dispose(): void {
    for (const velocity of this.#velocities.values()) velocity.dispose();
    this.#velocities.clear();
  }
}
