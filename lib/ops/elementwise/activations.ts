import { gradEnabled, record } from "../../core/autograd.ts";
import { formatValue } from "../../core/describe.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { sameShape } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import { call } from "../../native/call.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { add, mul } from "./binary.ts";
import { gt } from "./compare.ts";
import { sloped, unary } from "./_unary.ts";
import { autocasted, checkDType, checkTensor, floats, inFloat32 } from "../_operands.ts";
import { clip, exp, neg } from "./unary.ts";
import { where } from "./where.ts";

/**
 * max(x, 0); NaN stays NaN. Floats. The gradient is 1 above 0, else 0. As torch.relu.
 *
 * ```ts
 * import { relu, tensor } from "@cudeno/cudeno";
 * console.log(relu(tensor([-1, 2])).dataSync()); // 0, 2
 * ```
 */
export function relu(x: Tensor): Tensor {
  return unary("relu", x, floats, calls.cdn_relu, (grad, y) => {
    return sloped("relu", calls.cdn_relu_grad, grad, y);
  }, "relu");
}

/** Options of {@linkcode leakyRelu}. */
export interface LeakyReluOptions {
  /** The slope below 0; default 0.01. */
  negativeSlope?: number | undefined;
}

/**
 * x above 0, negativeSlope x below. Floats. As torch.nn.functional.leaky_relu.
 *
 * ```ts
 * import { leakyRelu, tensor } from "@cudeno/cudeno";
 * console.log(leakyRelu(tensor([-1, 2]), { negativeSlope: 0.5 }).dataSync()); // -0.5, 2
 * ```
 */
export function leakyRelu(x: Tensor, options: LeakyReluOptions = {}): Tensor {
  checkOptions("leakyRelu", options, ["negativeSlope"]);
  const { negativeSlope: slope = 0.01 } = options;
  checkNumber("leakyRelu", "negativeSlope", slope);
  return unary(
    "leakyRelu",
    x,
    floats,
    (y, x, n, dtype) => call("cdn_leaky_relu", y, x, n, slope, dtype),
    (grad) =>
      sloped(
        "leakyRelu",
        (dx, dy, x, n, dtype) => call("cdn_leaky_relu_grad", dx, dy, x, n, slope, dtype),
        grad,
        x,
      ),
  );
}

/** Options of {@linkcode elu}. */
export interface EluOptions {
  /** What the result tends to far below 0, with a minus; default 1. */
  alpha?: number | undefined;
}

/**
 * x above 0, alpha (e^x - 1) below. Floats. As torch.nn.functional.elu.
 *
 * ```ts
 * import { elu, tensor } from "@cudeno/cudeno";
 * console.log(elu(tensor([-1, 2])).dataSync()); // -0.632…, 2
 * ```
 */
export function elu(x: Tensor, options: EluOptions = {}): Tensor {
  checkOptions("elu", options, ["alpha"]);
  const { alpha = 1 } = options;
  checkNumber("elu", "alpha", alpha);
  return unary(
    "elu",
    x,
    floats,
    (y, x, n, dtype) => call("cdn_elu", y, x, n, alpha, dtype),
    (grad) =>
      sloped(
        "elu",
        (dx, dy, x, n, dtype) => call("cdn_elu_grad", dx, dy, x, n, alpha, dtype),
        grad,
        x,
        (x) => {
          const above = gt(x, 0);
          // Without overflow where it is not taken.
          return where(above, 0, mul(exp(where(above, 0, x)), alpha));
        },
      ),
  );
}

/**
 * 1 / (1 + e^-x). Floats. With y the result, the gradient is y (1 - y), computed from x. As
 * torch.sigmoid.
 *
 * ```ts
 * import { sigmoid, tensor } from "@cudeno/cudeno";
 * console.log(sigmoid(tensor([0])).dataSync()); // 0.5
 * ```
 */
export function sigmoid(x: Tensor): Tensor {
  return unary("sigmoid", x, floats, calls.cdn_sigmoid, (grad) => {
    return sloped(
      "sigmoid",
      calls.cdn_sigmoid_grad,
      grad,
      x,
      (x) => mul(bell(x), tanh(mul(x, -0.5))),
    );
  });
}

/**
 * The hyperbolic tangent of x. Floats. With y the result, the gradient is 1 - y^2, computed from x.
 * As torch.tanh.
 *
 * ```ts
 * import { tanh, tensor } from "@cudeno/cudeno";
 * console.log(tanh(tensor([0, 1])).dataSync()); // 0, 0.761…
 * ```
 */
export function tanh(x: Tensor): Tensor {
  return unary("tanh", x, floats, calls.cdn_tanh, (grad) => {
    return sloped(
      "tanh",
      calls.cdn_tanh_grad,
      grad,
      x,
      (x) => mul(mul(bell(mul(x, 2)), tanh(x)), -8),
    );
  });
}

/** Options of {@linkcode gelu}. */
export interface GeluOptions {
  /**
   * `"none"` (default) is exact; `"tanh"` is the approximation that some published networks were
   * trained with.
   */
  approximate?: "none" | "tanh" | undefined;
}

/**
 * x times the share of the standard normal distribution below x: x (1 + erf(x / sqrt(2))) / 2. With
 * `approximate` `"tanh"`, x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. Floats. As
 * torch.nn.functional.gelu; Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415.
 *
 * ```ts
 * import { gelu, tensor } from "@cudeno/cudeno";
 * console.log(gelu(tensor([-1, 0, 1])).dataSync()); // -0.158…, 0, 0.841…
 * ```
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  checkOptions("gelu", options, ["approximate"]);
  const { approximate = "none" } = options;
  if (approximate === "none") {
    return unary("gelu", x, floats, calls.cdn_gelu, (grad) => {
      return sloped("gelu", calls.cdn_gelu_grad, grad, x, geluSecond);
    }, "gelu");
  }
  if (approximate === "tanh") {
    return unary("gelu", x, floats, calls.cdn_gelu_tanh, (grad) => {
      return sloped("gelu", calls.cdn_gelu_tanh_grad, grad, x, geluTanhSecond);
    }, "geluTanh");
  }
  throw new ArgumentError(
    `gelu: approximate is ${formatValue(approximate)}; it must be "none" or "tanh"`,
  );
}

// Second derivatives are 0 far from 0; there x itself would bring infinity times 0.
const near = (x: Tensor) => clip(x, -1000, 1000);
// s (1 - s) of s = sigmoid(x), with its digits at both ends.
const bell = (x: Tensor) => mul(sigmoid(x), sigmoid(neg(x)));

// The distribution's density times 2 - x^2.
function geluSecond(x: Tensor): Tensor {
  const square = mul(near(x), near(x));
  return mul(mul(exp(mul(square, -0.5)), 1 / Math.sqrt(2 * Math.PI)), add(mul(square, -1), 2));
}

// With s = sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3): s (1 - s) (2 u' + x (u'' + (1 - 2 s)
// u'^2)).
function geluTanhSecond(x: Tensor): Tensor {
  x = near(x);
  const scale = 2 * Math.sqrt(2 / Math.PI);
  const square = mul(x, x);
  const u = mul(x, add(mul(square, 0.044715 * scale), scale));
  const first = add(mul(square, 3 * 0.044715 * scale), scale);
  const bend = mul(add(mul(sigmoid(u), -2), 1), mul(first, first));
  const inner = add(mul(first, 2), mul(x, add(mul(x, 6 * 0.044715 * scale), bend)));
  return mul(bell(u), inner);
}

/**
 * x sigmoid(x), also called swish. Floats. As torch.nn.functional.silu.
 *
 * ```ts
 * import { silu, tensor } from "@cudeno/cudeno";
 * console.log(silu(tensor([-1, 0, 1])).dataSync()); // -0.268…, 0, 0.731…
 * ```
 */
export function silu(x: Tensor): Tensor {
  return unary("silu", x, floats, calls.cdn_silu, (grad) => siluGrad(grad, x), "silu");
}

// A gradient times silu's slope at x.
function siluGrad(grad: Tensor, x: Tensor): Tensor {
  return sloped("silu", calls.cdn_silu_grad, grad, x, (x) => {
    x = near(x);
    // s (1 - s) (2 + x (1 - 2 s))
    return mul(bell(x), add(mul(x, add(mul(sigmoid(x), -2), 1)), 2));
  });
}

/**
 * silu(gate) · up, in one pass over memory where both have one shape and dtype; else as mul()
 * broadcasts and promotes. Floats. The gate of Llama's layers (Shazeer, "GLU variants improve
 * transformer", 2020), which {@linkcode nn.SwiGLU} puts between its linear layers.
 *
 * ```ts
 * import { swiglu, tensor } from "@cudeno/cudeno";
 * console.log(swiglu(tensor([-1, 0, 1]), tensor([2, 2, 2])).dataSync()); // -0.537…, 0, 1.462…
 * ```
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  checkDType("swiglu", gate, floats);
  checkTensor("swiglu", up);
  const { format, size, code } = gate;
  const product = (gate: Tensor, up: Tensor) => mul(silu(gate), up);
  if (gate.dtype !== up.dtype || gate.device !== up.device) return product(gate, up);
  if (!sameShape(gate.shape, up.shape)) return inFloat32([gate, up], product);
  const like = () => gate.make(gate.shape, gate.dtype, format);
  const y = like();
  calls.cdn_swiglu(y.stored(format), gate.stored(format), up.stored(format), size, code);
  return record(y, "swiglu", [gate, up], (grad) => {
    if (gradEnabled()) {
      const slope = (grad: Tensor, gate: Tensor, up: Tensor) => siluGrad(mul(grad, up), gate);
      return [inFloat32([grad, gate, up], slope), inFloat32([gate, grad], product)];
    }
    const dgate = like(), dup = like();
    const [toGate, toUp, dy] = [dgate, dup, grad].map((x) => x.stored(format));
    const [opens, passes] = [gate, up].map((x) => x.stored(format));
    calls.cdn_swiglu_grad(toGate!, toUp!, dy!, opens!, passes!, size, code);
    return [dgate, dup];
  });
}

/** Options of {@linkcode softplus}. */
export interface SoftplusOptions {
  /** How sharp the bend is; default 1. */
  beta?: number | undefined;
  /** Above it, beta x is large enough for the result to be x itself; default 20. */
  threshold?: number | undefined;
}

/**
 * log(1 + e^(beta x)) / beta, a smooth max(x, 0), without overflow; x itself where beta x >
 * threshold. Floats. As torch.nn.functional.softplus.
 *
 * ```ts
 * import { softplus, tensor } from "@cudeno/cudeno";
 * console.log(softplus(tensor([-1000, 0, 1000])).dataSync()); // 0, 0.693…, 1000
 * ```
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  checkOptions("softplus", options, ["beta", "threshold"]);
  const { beta = 1, threshold = 20 } = options;
  checkNumber("softplus", "beta", beta);
  checkNumber("softplus", "threshold", threshold);
  if (beta === 0) throw new ArgumentError("softplus: beta is 0; it must be another number");
  [x] = autocasted("float32", x);
  return unary(
    "softplus",
    x,
    floats,
    (y, x, n, dtype) => call("cdn_softplus", y, x, n, beta, threshold, dtype),
    (grad) =>
      sloped(
        "softplus",
        (dx, dy, x, n, dtype) => call("cdn_softplus_grad", dx, dy, x, n, beta, threshold, dtype),
        grad,
        x,
        (x) => {
          const z = mul(x, beta);
          return where(gt(z, threshold), 0, mul(bell(z), beta));
        },
      ),
  );
}
