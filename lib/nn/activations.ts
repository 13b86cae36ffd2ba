import { formatCall } from "../core/describe.ts";
import { checkOptions, type Complete } from "../core/options.ts";
import {
  elu,
  type EluOptions,
  gelu,
  type GeluOptions,
  leakyRelu,
  type LeakyReluOptions,
  relu,
  sigmoid,
  silu,
  softplus,
  type SoftplusOptions,
  tanh,
} from "../ops/elementwise/activations.ts";
import { clip } from "../ops/elementwise/unary.ts";
import { logSoftmax, softmax } from "../ops/reduce/softmax.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/**
 * x itself: a place holder. As torch.nn.Identity.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.Identity().forward(tensor([1, 2])).dataSync()); // 1, 2
 * ```
 */
export class Identity extends Module {
  /** x. */
  override forward(x: Tensor): Tensor {
    return x;
  }
}

/**
 * max(x, 0). As torch.nn.ReLU.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.ReLU().forward(tensor([-1, 2])).dataSync()); // 0, 2
 * ```
 */
export class ReLU extends Module {
  /** max(x, 0). */
  override forward(x: Tensor): Tensor {
    return relu(x);
  }
}

/**
 * min(max(x, 0), 6). As torch.nn.ReLU6.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.ReLU6().forward(tensor([-1, 2, 7])).dataSync()); // 0, 2, 6
 * ```
 */
export class ReLU6 extends Module {
  /** min(max(x, 0), 6). */
  override forward(x: Tensor): Tensor {
    return clip(x, 0, 6);
  }
}

/**
 * 1 / (1 + e^-x). As torch.nn.Sigmoid.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.Sigmoid().forward(tensor([0])).dataSync()); // 0.5
 * ```
 */
export class Sigmoid extends Module {
  /** 1 / (1 + e^-x). */
  override forward(x: Tensor): Tensor {
    return sigmoid(x);
  }
}

/**
 * The hyperbolic tangent. As torch.nn.Tanh.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.Tanh().forward(tensor([0, 1])).dataSync()); // 0, 0.761…
 * ```
 */
export class Tanh extends Module {
  /** tanh(x). */
  override forward(x: Tensor): Tensor {
    return tanh(x);
  }
}

/**
 * x sigmoid(x). As torch.nn.SiLU.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.SiLU().forward(tensor([0, 1])).dataSync()); // 0, 0.731…
 * ```
 */
export class SiLU extends Module {
  /** x sigmoid(x). */
  override forward(x: Tensor): Tensor {
    return silu(x);
  }
}

/**
 * x above 0, negativeSlope x below; see {@linkcode leakyRelu}. As torch.nn.LeakyReLU.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.LeakyReLU({ negativeSlope: 0.5 }).forward(tensor([-1, 2])).dataSync());
 * // -0.5, 2
 * ```
 */
export class LeakyReLU extends Module {
  readonly #options: Complete<LeakyReluOptions>;

  constructor(options: LeakyReluOptions = {}) {
    super();
    checkOptions("LeakyReLU", options, ["negativeSlope"]);
    this.#options = { negativeSlope: options.negativeSlope ?? 0.01 };
  }

  /** x above 0, negativeSlope x below. */
  override forward(x: Tensor): Tensor {
    return leakyRelu(x, this.#options);
  }

  /** `LeakyReLU({ negativeSlope: 0.01 })`. */
  override describe(): string {
    return formatCall("LeakyReLU", [], { ...this.#options });
  }
}

/**
 * x above 0, alpha (e^x - 1) below; see {@linkcode elu}. As torch.nn.ELU.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.ELU().forward(tensor([-1, 2])).dataSync()); // -0.632…, 2
 * ```
 */
export class ELU extends Module {
  readonly #options: Complete<EluOptions>;

  constructor(options: EluOptions = {}) {
    super();
    checkOptions("ELU", options, ["alpha"]);
    this.#options = { alpha: options.alpha ?? 1 };
  }

  /** x above 0, alpha (e^x - 1) below. */
  override forward(x: Tensor): Tensor {
    return elu(x, this.#options);
  }

  /** `ELU({ alpha: 1 })`. */
  override describe(): string {
    return formatCall("ELU", [], { ...this.#options });
  }
}

/**
 * x times the share of the normal distribution below x, exact or by tanh; see {@linkcode gelu}. As
 * torch.nn.GELU.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.GELU().forward(tensor([-1, 0, 1])).dataSync()); // -0.158…, 0, 0.841…
 * ```
 */
export class GELU extends Module {
  /** Whether it is exact (`"none"`) or approximated by tanh. */
  readonly approximate: "none" | "tanh";

  constructor(options: GeluOptions = {}) {
    super();
    checkOptions("GELU", options, ["approximate"]);
    this.approximate = options.approximate ?? "none";
  }

  /** gelu(x). */
  override forward(x: Tensor): Tensor {
    return gelu(x, { approximate: this.approximate });
  }

  /** `GELU({ approximate: none })`. */
  override describe(): string {
    return formatCall("GELU", [], { approximate: this.approximate });
  }
}

/**
 * log(1 + e^(beta x)) / beta; see {@linkcode softplus}. As torch.nn.Softplus.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.Softplus().forward(tensor([0])).dataSync()); // 0.693…
 * ```
 */
export class Softplus extends Module {
  readonly #options: Complete<SoftplusOptions>;

  constructor(options: SoftplusOptions = {}) {
    super();
    checkOptions("Softplus", options, ["beta", "threshold"]);
    this.#options = { beta: options.beta ?? 1, threshold: options.threshold ?? 20 };
  }

  /** log(1 + e^(beta x)) / beta. */
  override forward(x: Tensor): Tensor {
    return softplus(x, this.#options);
  }

  /** `Softplus({ beta: 1, threshold: 20 })`. */
  override describe(): string {
    return formatCall("Softplus", [], { ...this.#options });
  }
}

/** Options of {@linkcode Softmax} and {@linkcode LogSoftmax}. */
export interface SoftmaxOptions {
  /** The axis along which the results add up to 1; default -1, the last. */
  axis?: number | undefined;
}

/**
 * e^x / sum(e^x) along an axis. As torch.nn.Softmax.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.Softmax().forward(tensor([[1, 1]])).dataSync()); // 0.5, 0.5
 * ```
 */
export class Softmax extends Module {
  readonly #axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    checkOptions("Softmax", options, ["axis"]);
    this.#axis = options.axis ?? -1;
  }

  /** softmax(x). */
  override forward(x: Tensor): Tensor {
    return softmax(x, this.#axis);
  }

  /** `Softmax({ axis: -1 })`. */
  override describe(): string {
    return formatCall("Softmax", [], { axis: this.#axis });
  }
}

/**
 * log(softmax(x)) along an axis. As torch.nn.LogSoftmax.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * console.log(new nn.LogSoftmax().forward(tensor([[1, 1]])).dataSync()); // -0.693…, -0.693…
 * ```
 */
export class LogSoftmax extends Module {
  readonly #axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    checkOptions("LogSoftmax", options, ["axis"]);
    this.#axis = options.axis ?? -1;
  }

  /** logSoftmax(x). */
  override forward(x: Tensor): Tensor {
    return logSoftmax(x, this.#axis);
  }

  /** `LogSoftmax({ axis: -1 })`. */
  override describe(): string {
    return formatCall("LogSoftmax", [], { axis: this.#axis });
  }
}
