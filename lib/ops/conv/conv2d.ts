import { gradEnabled, record } from "../../core/autograd.ts";
import { backendFor, type DeviceName } from "../../core/backend.ts";
import { throughOps } from "../../core/backward.ts";
import type { FusedActivation, Gate, Step } from "../../core/node.ts";
import { checkChoice, checkOptions, refuse } from "../../core/options.ts";
import type { MatmulPrecision } from "../../core/precision.ts";
import type { Tensor } from "../../tensor.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
  floats,
} from "../_operands.ts";
import { activations, throughGate } from "../elementwise/_gate.ts";
import { sum } from "../reduce/sum.ts";
import { pad } from "../shape/pad.ts";
import {
  biased,
  convolution,
  convolved,
  gradientsOf,
  gradOfInput,
  gradOfWeight,
  type Operands,
} from "./_convolution.ts";
import { convolvedAndPooled } from "./_pooled.ts";
import { bordersOf, shapesOf, withBatch, withoutBatch } from "./_shapes.ts";
import type { Pair } from "../_pair.ts";
import { type Padding, type PaddingMode, paddingModes } from "./_window.ts";

/** Options of {@linkcode conv2d}. */
export interface Conv2dOptions {
  /** Pixels from one window to the next. Default 1. */
  stride?: Pair | undefined;
  /** What is added around the image. Default 0. */
  padding?: Padding | undefined;
  /** What that is: zeros, or as {@linkcode pad} makes it. Default `"zeros"`. */
  paddingMode?: PaddingMode | undefined;
  /** Pixels from one tap to the next. Default 1. */
  dilation?: Pair | undefined;
  /** Groups of channels, each seen by its share of the filters. Default 1. */
  groups?: number | undefined;
  /** Applied to the sums; `"geluTanh"` is gelu's approximation by tanh. Default none. */
  activation?: FusedActivation | undefined;
  /**
   * Takes the largest of each 2 x 2 results, as {@linkcode maxPool2d} with kernelSize 2; after
   * activation `"relu"` alone, and with no memory for what is pooled. Default: no pooling.
   */
  maxPool?: 2 | undefined;
  /**
   * How float32 is multiplied, here and in the gradients. Default: as setMatmulPrecision() has set
   * it.
   */
  precision?: MatmulPrecision | undefined;
  /** A method by name, for comparisons; see {@linkcode convVariants}. Default `"default"`. */
  variant?: string | undefined;
}

const keys = [
  ...["stride", "padding", "paddingMode", "dilation", "groups"],
  ...["activation", "maxPool", "precision", "variant"],
];

/**
 * y = activation(x * weight + bias), the cross-correlation that networks call convolution: x [n, c,
 * h, w], weight [k, c / groups, r, s], bias [k], y [n, k, p, q] with p = floor((h + padding -
 * dilation (r - 1) - 1) / stride) + 1; an image without n gives one without. As
 * torch.nn.functional.conv2d. The result is in channelsLast, which later layers keep. Floats;
 * 16-bit ones are added in float32. Under autocast() its dtype is used.
 *
 * With `maxPool: 2` and activation `"relu"`, y is the largest of each 2 x 2 of that, [n, k,
 * floor(p / 2), floor(q / 2)], in one operation that keeps no more than this for the gradients.
 *
 * @throws {ShapeError} when channels and groups do not go together, or a window is larger than the
 * padded image, or there are no 2 x 2 to pool.
 * @throws {DTypeError} when the dtypes differ or are no floats.
 *
 * ```ts
 * import { conv2d, ones } from "@cudeno/cudeno";
 * const y = conv2d(ones([1, 3, 5, 5]), ones([8, 3, 3, 3]), null, { stride: 2, padding: 1 });
 * console.log(y.shape, y.max().dataSync()); // [1, 8, 3, 3], 27
 * const [x, w] = [ones([1, 3, 8, 8]), ones([8, 3, 3, 3])];
 * console.log(conv2d(x, w, null, { activation: "relu", maxPool: 2 }).shape); // [1, 8, 3, 3]
 * ```
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: Conv2dOptions = {},
): Tensor {
  const op = "conv2d";
  checkOptions(op, options, keys);
  const { activation, maxPool } = options;
  if (activation !== undefined) checkChoice(op, "activation", activation, activations);
  if (maxPool !== undefined && (maxPool !== 2 || activation !== "relu")) {
    refuse(op, "maxPool", maxPool, 'undefined, or 2 with activation: "relu"');
  }
  checkTensor(op, weight);
  checkDType(op, x, floats);
  checkSameDevice(op, x, weight, ...(bias ? [bias] : []));
  [x, weight, bias] = autocasted("lower", x, weight, bias);
  const inputs = [x, weight, ...(bias ? [bias] : [])];
  checkSameDType(op, ...inputs as [Tensor]);
  if (x.rank === 3) return withoutBatch(conv2d(withBatch(x), weight, bias, options));
  const { paddingMode = "zeros" } = options;
  checkChoice(op, "paddingMode", paddingMode, paddingModes);
  const shapes = shapesOf(op, x, weight, bias, options);
  if (paddingMode !== "zeros") {
    const padded = pad(x, bordersOf(op, x, weight, options), { mode: paddingMode });
    return conv2d(padded, weight, bias, { ...options, padding: 0, paddingMode: "zeros" });
  }
  if (maxPool) return convolvedAndPooled(x, weight, bias, shapes);
  const keepsZ = activation && activation !== "relu" && gradEnabled() &&
    inputs.some((input) => input.requiresGrad);
  const z = keepsZ ? x.make(shapes.output, x.dtype, "channelsLast") : null;
  const y = convolved(x, weight, shapes, { bias, activation, z });
  const gate = activation && { activation, saved: z ?? y };
  return record(
    y,
    op,
    inputs,
    (grad, step) =>
      gradEnabled()
        ? composed({ x, weight, bias, shapes, activation }, grad)
        : gradientsOf(through(gate, grad, step), { x, weight, bias, shapes }),
    gate,
  );
}

const through = (gate: Gate | undefined, grad: Tensor, step: Step): Tensor =>
  gate && !step.gated ? throughGate(gate, grad) : grad;

function composed(
  { x, weight, bias, shapes, activation }: Operands & { activation: FusedActivation | undefined },
  grad: Tensor,
): (Tensor | null)[] {
  if (!activation) {
    return [
      x.requiresGrad ? gradOfInput(grad, weight, shapes) : null,
      weight.requiresGrad ? gradOfWeight(grad, x, shapes) : null,
      ...(bias ? [bias.requiresGrad ? sum(grad, [0, 2, 3]) : null] : []),
    ];
  }
  return throughOps(
    (x, weight, bias) => activations[activation](biased(convolution(x!, weight!, shapes), bias)),
    [x, weight, ...(bias ? [bias] : [])],
    grad,
  );
}

/**
 * The names of the methods of convolution on a device, which Conv2dOptions.variant takes; the first
 * is the default. `"cudnn"`, on GPUs, is the vendor's library, where it is found (`CUDENO_CUDNN`).
 *
 * ```ts
 * import { convVariants } from "@cudeno/cudeno";
 * console.log(convVariants("cpu")); // default, naive, im2col, depthwise
 * ```
 */
export function convVariants(device?: DeviceName): string[] {
  return backendFor(device).library.convVariants();
}
