import { record } from "../core/autograd.ts";
import type { Tensor } from "../tensor.ts";
import { div, mul } from "./binary.ts";
import { checkDType, floats, numbers } from "./operands.ts";

type Kernel = `cdn_${
  | "neg"
  | "abs"
  | "exp"
  | "log"
  | "sqrt"
  | "relu"
  | "sigmoid"
  | "tanh"}`;
type GradKernel = `cdn_${"abs" | "sqrt" | "relu" | "sigmoid" | "tanh"}_grad`;

function map(kernel: Kernel, x: Tensor): Tensor {
  const y = x.make(x.shape);
  const { backend } = x;
  backend.check(backend.functions[kernel](y.handle, x.handle, BigInt(x.size), x.code));
  return y;
}

// saved is x or y = f(x), as the kernel wants it.
function mapGrad(kernel: GradKernel, grad: Tensor, saved: Tensor): Tensor {
  const dx = grad.make(grad.shape);
  const { backend } = grad;
  backend.check(
    backend.functions[kernel](dx.handle, grad.handle, saved.handle, BigInt(dx.size), dx.code),
  );
  return dx;
}

/** -x. dtypes: float32, float64, int32. */
export function neg(x: Tensor): Tensor {
  checkDType("neg", x, numbers);
  return record(map("cdn_neg", x), "neg", [x], (grad) => [neg(grad)]);
}

/** |x|. dtypes: float32, float64, int32. The gradient is the sign of x, 0 at 0. */
export function abs(x: Tensor): Tensor {
  checkDType("abs", x, numbers);
  return record(map("cdn_abs", x), "abs", [x], (grad) => [mapGrad("cdn_abs_grad", grad, x)]);
}

/** e^x. dtypes: float32, float64. */
export function exp(x: Tensor): Tensor {
  checkDType("exp", x, floats);
  const y = map("cdn_exp", x);
  return record(y, "exp", [x], (grad) => [mul(grad, y)]);
}

/** The natural logarithm of x; -Infinity at 0, NaN below. dtypes: float32, float64. */
export function log(x: Tensor): Tensor {
  checkDType("log", x, floats);
  return record(map("cdn_log", x), "log", [x], (grad) => [div(grad, x)]);
}

/** The square root of x; NaN below 0. dtypes: float32, float64. The gradient is 1 / (2 sqrt(x)). */
export function sqrt(x: Tensor): Tensor {
  checkDType("sqrt", x, floats);
  const y = map("cdn_sqrt", x);
  return record(y, "sqrt", [x], (grad) => [mapGrad("cdn_sqrt_grad", grad, y)]);
}

/** max(x, 0); NaN stays NaN. dtypes: float32, float64. The gradient is 1 above 0, else 0. */
export function relu(x: Tensor): Tensor {
  checkDType("relu", x, floats);
  const y = map("cdn_relu", x);
  return record(y, "relu", [x], (grad) => [mapGrad("cdn_relu_grad", grad, y)]);
}

/** 1 / (1 + e^-x). dtypes: float32, float64. With y the result, the gradient is y (1 - y). */
export function sigmoid(x: Tensor): Tensor {
  checkDType("sigmoid", x, floats);
  const y = map("cdn_sigmoid", x);
  return record(y, "sigmoid", [x], (grad) => [mapGrad("cdn_sigmoid_grad", grad, y)]);
}

/** The hyperbolic tangent of x. dtypes: float32, float64. With y the result, the gradient is 1 - y^2. */
export function tanh(x: Tensor): Tensor {
  checkDType("tanh", x, floats);
  const y = map("cdn_tanh", x);
  return record(y, "tanh", [x], (grad) => [mapGrad("cdn_tanh_grad", grad, y)]);
}
