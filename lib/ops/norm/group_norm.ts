import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { checkInteger, checkNumber, checkOptions } from "../../core/options.ts";
import { formatShape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { sqrt } from "../elementwise/unary.ts";
import { mean as meanOf } from "../reduce/mean.ts";
import { reshape } from "../shape/movement.ts";
import { checkChannels } from "./_batch_norm.ts";

/** Options of {@linkcode groupNorm} and {@linkcode instanceNorm}. */
export interface GroupNormOptions {
  /** [channels]; multiplies the result. Default: 1. */
  weight?: Tensor | null | undefined;
  /** [channels]; added to the result. Default: 0. */
  bias?: Tensor | null | undefined;
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over each of
 * `groups` groups of neighbouring channels of each image; x is [n, channels, …], and keeps its
 * memory format. As torch.nn.functional.group_norm (Wu and He, "Group Normalization", 2018).
 * Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when the groups do not divide the channels, weight or bias are not
 * [channels], or all that there is to normalise is a single value a group.
 *
 * ```ts
 * import { groupNorm, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[1, 3], [10, 30]]]); // one image of two channels
 * console.log(groupNorm(x, 2).dataSync()); // -1, 1, -1, 1
 * ```
 */
export function groupNorm(x: Tensor, groups: number, options: GroupNormOptions = {}): Tensor {
  const op = "groupNorm";
  checkDType(op, x, floats);
  checkInteger(op, "groups", groups, 1);
  if (x.rank < 2 || x.shape[1]! % groups !== 0) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; it must be [n, channels, …], the channels a multiple ` +
        `of the ${groups} groups`,
    );
  }
  if (x.size === groups && x.shape[0] === 1) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}, a single value a group; there must be more than one`,
    );
  }
  return normalized(op, x, groups, options);
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over each
 * channel of each image; x is [n, channels, …], and keeps its memory format. As
 * torch.nn.functional.instance_norm without running statistics (Ulyanov et al., "Instance
 * Normalization", 2016). Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when a channel has a single value, or weight or bias are not [channels].
 *
 * ```ts
 * import { instanceNorm, tensor } from "@cudeno/cudeno";
 * console.log(instanceNorm(tensor([[[1, 3], [10, 30]]])).dataSync()); // -1, 1, -1, 1
 * ```
 */
export function instanceNorm(x: Tensor, options: GroupNormOptions = {}): Tensor {
  const op = "instanceNorm";
  checkDType(op, x, floats);
  if (x.rank < 2 || sizeOf(x.shape.slice(2)) === 1) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; it must be [n, channels, …] with more than one value ` +
        "a channel",
    );
  }
  return normalized(op, x, Math.max(x.shape[1]!, 1), options);
}

function normalized(op: string, x: Tensor, groups: number, options: GroupNormOptions): Tensor {
  checkOptions(op, options, ["weight", "bias", "eps"]);
  const { eps = 1e-5 } = options;
  checkNumber(op, "eps", eps, 0);
  const [image, ...given] = autocasted("float32", x, options.weight, options.bias);
  const [weight, bias] = given.map((tensor, i) => {
    if (tensor) checkChannels(op, i === 0 ? "weight" : "bias", image, tensor, [image.dtype]);
    return tensor ?? null;
  }) as [Tensor | null, Tensor | null];
  x = image;
  const { format, shape: [n, channels, ...pixels] } = x;
  const sizes = [n!, channels!, groups, sizeOf(pixels), Number(format === "channelsLast")] as const;
  const [mean, rstd] = [0, 1].map(() => x.make([n!, groups], "float64")) as [Tensor, Tensor];
  const y = x.make(x.shape, x.dtype, format);
  const from = x.stored(format);
  call("cdn_group_norm", y.stored(format), mean, rstd, from, weight, bias, ...sizes, eps, x.code);
  const inputs = [x, weight, bias].filter((input) => input !== null);
  return record(y, op, inputs, (grad) => {
    if (gradEnabled()) {
      return throughOps(
        (input, ...rest) => {
          const [w, b] = [weight ? rest[0]! : null, bias ? rest.at(-1)! : null];
          return inFloat32([input!, w, b], (x, w, b) => composed(x, groups, w, b, eps));
        },
        inputs,
        grad,
      );
    }
    const wanted = (tensor: Tensor | null, format?: "channelsLast" | "contiguous") =>
      tensor?.requiresGrad ? tensor.make(tensor.shape, tensor.dtype, format) : null;
    const [dx, dweight, dbias] = [wanted(x, format), wanted(weight), wanted(bias)];
    call(
      "cdn_group_norm_grad",
      dx && dx.stored(format),
      dweight,
      dbias,
      grad.stored(format),
      x.stored(format),
      weight,
      mean,
      rstd,
      ...sizes,
      x.code,
    );
    return [dx, ...(weight ? [dweight] : []), ...(bias ? [dbias] : [])];
  });
}

// The formula in operations, for gradients of gradients; in float64, as kernels compute it.
function composed(
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  const [n, channels] = x.shape as [number, number];
  const each = channels / groups, pixels = sizeOf(x.shape.slice(2));
  const flat = cast(reshape(x, [n * groups, each * pixels]), "float64");
  const centred = sub(flat, meanOf(flat, 1, { keepDims: true }));
  const variance = meanOf(mul(centred, centred), 1, { keepDims: true });
  let y = reshape(cast(div(centred, sqrt(add(variance, eps))), x.dtype), [n, channels, pixels]);
  if (weight) y = mul(y, reshape(weight, [channels, 1]));
  if (bias) y = add(y, reshape(bias, [channels, 1]));
  return reshape(y, x.shape);
}
