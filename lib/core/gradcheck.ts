import { DTypeError, GradientError } from "../native/errors.ts";
import {
  checkFunction,
  checkList,
  checkNumber,
  checkOptions,
  isTensor,
  refuse,
} from "./options.ts";
import { scope } from "./scope.ts";
import type { Differentiable } from "./node.ts";

/** Options of {@linkcode gradcheck}. */
export interface GradcheckOptions {
  /** The step of the central differences; default 1e-6. */
  eps?: number | undefined;
  /** The absolute difference allowed; default 1e-7. */
  atol?: number | undefined;
  /** The difference allowed relative to the numerical derivative; default 1e-5. */
  rtol?: number | undefined;
}

/**
 * Checks the gradient of `fn` against central differences, element by element: each derivative of
 * each element of the result with respect to each element of each input. Inputs are float64
 * tensors; those with requiresGrad are checked. Returns true, or throws a GradientError that names
 * the first wrong element.
 *
 * ```ts
 * import { gradcheck, rand } from "@cudeno/cudeno";
 * const x = rand([3, 2], { dtype: "float64", requiresGrad: true });
 * console.log(gradcheck((x) => x.tanh().mul(x), [x])); // true
 * ```
 */
export function gradcheck<T extends Differentiable>(
  fn: (...inputs: T[]) => T,
  inputs: readonly T[],
  options: GradcheckOptions = {},
): boolean {
  checkFunction("gradcheck", "fn", fn);
  checkList("gradcheck", "inputs", inputs, isTensor, "an array of tensors");
  return checkGradients("gradcheck", fn, inputs, options, (which) => `input ${which}`);
}

/** {@linkcode gradcheck} for an operation, of inputs that have names. */
export function checkGradients<T extends Differentiable>(
  op: string,
  fn: (...inputs: T[]) => T,
  inputs: readonly T[],
  options: GradcheckOptions,
  nameOf: (which: number) => string,
): true {
  checkOptions(op, options, ["eps", "atol", "rtol"]);
  const { eps = 1e-6, atol = 1e-7, rtol = 1e-5 } = options;
  for (const [name, value] of Object.entries({ eps, atol, rtol })) checkNumber(op, name, value, 0);
  const short = inputs.findIndex((x) => x.dtype !== "float64");
  if (short >= 0) {
    throw new DTypeError(
      `${op}: ${nameOf(short)} is ${inputs[short]!.dtype}; it must be float64, as others are too ` +
        "coarse for differences",
    );
  }
  inputs.forEach((input, which) => {
    if (!input.requiresGrad) return;
    const analytic = scope(() => analyticJacobian(op, fn, inputs, input));
    for (let i = 0; i < input.size; i++) {
      const numeric = scope(() => numericColumn(fn, inputs, input, i, eps));
      numeric.forEach((wanted, j) => {
        const found = analytic[j]![i]!;
        if (!(Math.abs(found - wanted) <= atol + rtol * Math.abs(wanted))) {
          throw new GradientError(
            `${op}: the derivative of output ${j} by element ${i} of ${nameOf(which)} is ` +
              `${found}; differences give ${wanted}`,
          );
        }
      });
    }
  });
  return true;
}

// Row j: the derivatives of output j.
function analyticJacobian<T extends Differentiable>(
  op: string,
  fn: (...inputs: T[]) => T,
  inputs: readonly T[],
  input: T,
): ArrayLike<number>[] {
  const y = fn(...inputs);
  if (!isTensor(y)) refuse(op, "what fn returns", y, "a tensor");
  const rows: ArrayLike<number>[] = [];
  for (let j = 0; j < y.size; j++) {
    const kept = inputs.map((x) => x.grad);
    for (const x of inputs) x.grad = null;
    const onehot = new Float64Array(y.size);
    onehot[j] = 1;
    y.backward(y.make(y.shape).copyFrom(onehot), { retainGraph: true });
    rows.push(input.grad ? input.grad.dataSync() : new Float64Array(input.size));
    inputs.forEach((x, k) => {
      x.grad?.dispose();
      x.grad = kept[k]!;
    });
  }
  return rows;
}

function numericColumn<T extends Differentiable>(
  fn: (...inputs: T[]) => T,
  inputs: readonly T[],
  input: T,
  i: number,
  eps: number,
): number[] {
  const values = input.dataSync();
  const at = (value: number) => {
    input.copyFrom(Float64Array.from(values).fill(value, i, i + 1));
    return fn(...inputs).dataSync();
  };
  try {
    const above = at(values[i]! + eps);
    const below = at(values[i]! - eps);
    return Array.from(above, (value, j) => (value - below[j]!) / (2 * eps));
  } finally {
    input.copyFrom(values);
  }
}
