import { formatValue } from "../core/describe.ts";
import { noGrad } from "../core/autograd.ts";
import { checkNumber, checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { told } from "../native/arguments.ts";
import { call } from "../native/call.ts";
import { zeros } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkSameDevice } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { type Gradients, gradientsOf, handlesOf, sizesOf } from "./_lists.ts";

/** Options of {@linkcode clipGradNorm}. */
export interface ClipGradNormOptions {
  /** p of the p-norm, above 0; Infinity for the largest absolute value. Default 2. */
  normType?: number | undefined;
}

/**
 * Scales the gradients of all parameters by min(1, maxNorm / (norm + 1e-6)), where norm is that of
 * all their elements together: (sum of |g|^p)^(1/p). Returns the norm as it was before, one float64
 * on the device; nothing waits for it. Sums are added in float64. A norm that is infinite or NaN
 * makes the gradients 0 or NaN, as in torch.nn.utils.clip_grad_norm_.
 *
 * ```ts
 * import { clipGradNorm, tensor } from "@cudeno/cudeno";
 * const w = tensor([3, 4], { requiresGrad: true });
 * w.mul(w).sum().div(2).backward();
 * const norm = clipGradNorm([w], 1);
 * console.log(norm.itemSync(), w.grad!.dataSync()); // 5, [0.6, 0.8]
 * ```
 *
 * @throws {DeviceError} where the gradients are on several devices.
 */
export function clipGradNorm(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: ClipGradNormOptions = {},
): Tensor {
  checkOptions("clipGradNorm", options, ["normType"]);
  const { normType = 2 } = options;
  checkNumber("clipGradNorm", "maxNorm", maxNorm, 0);
  if (typeof normType !== "number" || !(normType > 0)) {
    throw new ArgumentError(
      `clipGradNorm: normType is ${formatValue(normType)}; it must be a number above 0`,
    );
  }
  const parts = gradientsOf("clipGradNorm", parameters);
  const [first, ...others] = parts.map(({ params }) => params[0]!.grad as Tensor);
  if (!first) return zeros([], { dtype: "float64" });
  checkSameDevice("clipGradNorm", first, ...others);
  return noGrad(() => scope(() => clip(first, parts, maxNorm, normType)));
}

function clip(
  like: Tensor,
  parts: readonly Gradients[],
  maxNorm: number,
  normType: number,
): Tensor {
  const measure = ({ handles, sizes, code }: Omit<Gradients, "backend" | "params">) => {
    const y = like.make([], "float64");
    call("cdn_list_norm", y, handles, sizes, handles.length, normType, code);
    return y;
  };
  const norms = parts.map(measure);
  // The norm of all is that of the dtypes' norms.
  const norm = norms.length === 1
    ? norms[0]!
    : measure({ handles: handlesOf(norms), sizes: sizesOf(norms), code: norms[0]!.code });
  for (const { handles, sizes, code } of parts) {
    call("cdn_list_clip_norm", handles, norm, sizes, handles.length, maxNorm, code);
  }
  return norm;
}

/**
 * Brings every element of the gradients into -value..value; NaN stays. As
 * torch.nn.utils.clip_grad_value_.
 *
 * ```ts
 * import { clipGradValue, tensor } from "@cudeno/cudeno";
 * const w = tensor([3, -0.1], { requiresGrad: true });
 * w.mul(w).sum().backward();
 * clipGradValue([w], 1);
 * console.log(w.grad!.dataSync()); // 1, -0.2
 * ```
 */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, value: number): void {
  checkNumber("clipGradValue", "value", value, 0);
  for (const { backend, code, handles, sizes } of gradientsOf("clipGradValue", parameters)) {
    const { cdn_list_clip } = backend.functions;
    told?.("cdn_list_clip", [handles, sizes, handles.length, -value, value, code]);
    backend.check(cdn_list_clip(handles, sizes, handles.length, -value, value, code));
  }
}
