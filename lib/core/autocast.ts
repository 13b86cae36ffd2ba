import { checkFunction } from "./options.ts";
import { formatValue } from "./describe.ts";
import { ArgumentError, DTypeError } from "../native/errors.ts";
import type { Differentiable } from "./node.ts";

/** The dtypes that {@linkcode autocast} computes in. */
export type AutocastDType = "float16" | "bfloat16";

/** What is known while a function runs under autocast(). */
export interface AutocastRegion {
  readonly dtype: AutocastDType;
  /** Parameters, and what they were cast to, after as many changes of parameters. */
  readonly casts: Map<Differentiable, { cast: Differentiable; changes: number }>;
}

let region: AutocastRegion | undefined;

/** How often parameters were written to. */
export let parameterChanges = 0;

/** Notes that parameters were written to: what they were cast to before is out of date. */
export function parametersChanged(): void {
  parameterChanges++;
}

/** The innermost region that is open, if any. */
export function autocastRegion(): AutocastRegion | undefined {
  return region;
}

/**
 * Runs `fn` with mixed precision, as torch.autocast: tensors keep their dtypes, and each operation
 * casts what it is given.
 *
 * - Products (matmul, linear, einsum, convolutions, and what is made of them) take `dtype`.
 * - Operations that need range or precision take float32: exp, expm1, log, log1p, pow, rsqrt,
 *   softplus, sum, mean, cumsum, variance, std, norm, logSumExp, softmax, logSoftmax, layerNorm,
 *   rmsNorm, groupNorm, instanceNorm, localResponseNorm, losses.
 * - Operations on several tensors (add, mul, where, concat, comparisons, …) take the widest dtype
 *   of theirs.
 * - All others compute in the dtype that they find.
 *
 * float64 stays as it is. A parameter is cast once, however often it is used, and again once
 * parameters were changed. Gradients come back in the dtype of what was cast: parameters stay
 * float32, and so do their gradients. Call backward() outside; it uses the dtypes of the forward
 * pass either way. `fn` must be synchronous. Regions may be nested; the inner one counts.
 *
 * float16 has little range, so that small gradients vanish unless the loss is scaled; bfloat16
 * needs no scaling.
 *
 * @throws {DTypeError} for another dtype.
 * @throws {ArgumentError} when `fn` is async.
 *
 * ```ts
 * import { autocast, nn, rand } from "@cudeno/cudeno";
 * const model = new nn.Linear(8, 4);
 * const y = autocast("bfloat16", () => model.forward(rand([2, 8])));
 * console.log(y.dtype, model.weight.dtype); // bfloat16 float32
 * y.to("float32").sum().backward();
 * console.log(model.weight.grad!.dtype); // float32
 * ```
 */
export function autocast<T>(dtype: AutocastDType, fn: () => T): T {
  if (dtype !== "float16" && dtype !== "bfloat16") {
    throw new DTypeError(
      `autocast: dtype is ${formatValue(dtype)}; it must be float16 or bfloat16`,
    );
  }
  checkFunction("autocast", "fn", fn);
  const own: AutocastRegion = { dtype, casts: new Map() };
  try {
    return within(own, () => {
      const result = fn();
      if (result instanceof Promise) {
        result.catch(() => {}); // or its failure would end the process
        throw new ArgumentError("autocast: the function is async; await outside of it");
      }
      return result;
    });
  } finally {
    // Those that were recorded are needed by backward(), and live as long as other results do.
    for (const { cast } of own.casts.values()) if (!cast.node) cast.dispose();
  }
}

/** Runs `fn` as outside of any region: backward closures, whose dtypes are settled. */
export function withoutAutocast<T>(fn: () => T): T {
  return within(undefined, fn);
}

function within<T>(inner: AutocastRegion | undefined, fn: () => T): T {
  const before = region;
  region = inner;
  try {
    return fn();
  } finally {
    region = before;
  }
}
