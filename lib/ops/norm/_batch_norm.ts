import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { type DType, dtypeInfo } from "../../core/dtype.ts";
import type { Gate, Step } from "../../core/node.ts";
import { checkNumber } from "../../core/options.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, DTypeError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice, checkSameDType, inFloat32 } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { activations, throughGate } from "../elementwise/_gate.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { sqrt } from "../elementwise/unary.ts";
import type { BatchNormOptions } from "./batch_norm.ts";
import { mean as meanOf } from "../reduce/mean.ts";
import { reshape } from "../shape/movement.ts";

/** The names of the options. */
export const keys: readonly string[] = [
  "weight",
  "bias",
  "runningMean",
  "runningVar",
  "numBatchesTracked",
  "training",
  "momentum",
  "eps",
  "residual",
  "activation",
];

/** momentum and eps, checked. */
export function checkBatchNorm(
  op: string,
  { momentum, eps }: { momentum: number | null; eps: number },
): void {
  if (momentum !== null) checkNumber(op, "momentum", momentum);
  checkNumber(op, "eps", eps, 0);
}

// x as [batch, channels, inner], what scales and shifts it, by which statistics, and what follows.
interface Batch {
  x: Tensor;
  weight: Tensor | null;
  bias: Tensor | null;
  residual: Tensor | null;
  activation: "relu" | undefined;
  mean: Tensor;
  variance: Tensor;
  /** Whether the statistics are x's own. */
  own: boolean;
  batch: number;
  channels: number;
  inner: number;
  eps: number;
}

/** The running statistics, both or neither. */
export function runningOf(
  op: string,
  x: Tensor,
  options: BatchNormOptions,
): [Tensor, Tensor] | null {
  const { runningMean, runningVar, numBatchesTracked, momentum } = options;
  if (!runningMean !== !runningVar) {
    throw new ArgumentError(`${op}: runningMean and runningVar are given together or not at all`);
  }
  if (!runningMean || !runningVar) return null;
  const dtypes: DType[] = x.dtype === "float64" ? ["float64"] : ["float32", x.dtype];
  checkChannels(op, "runningMean", x, runningMean, dtypes);
  checkChannels(op, "runningVar", x, runningVar, [runningMean.dtype]);
  if (numBatchesTracked) {
    checkDType(`${op}: numBatchesTracked`, numBatchesTracked, ["int32"]);
    checkSameDevice(`${op}: numBatchesTracked`, x, numBatchesTracked);
    if (numBatchesTracked.size !== 1) {
      throw new ShapeError(`${op}: numBatchesTracked must be one number`);
    }
  } else if (momentum === null && options.training) {
    throw new ArgumentError(
      `${op}: momentum is null, for an average of all batches; numBatchesTracked must count them`,
    );
  }
  return [runningMean, runningVar];
}

/** Throws unless weight and bias are of x's dtype or, for 16-bit floats, both float32. */
export function checkParameters(
  op: string,
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
): void {
  const own: DType[] = dtypeInfo(x.dtype).bytes === 2 ? [x.dtype, "float32"] : [x.dtype];
  if (weight !== null) checkChannels(op, "weight", x, weight, own);
  if (bias !== null) checkChannels(op, "bias", x, bias, weight ? [weight.dtype] : own);
}

/** Throws unless a residual is like x. */
export function checkResidual(op: string, x: Tensor, residual: Tensor): void {
  checkSameDevice(`${op}: residual`, x, residual);
  checkSameDType(`${op}: residual`, x, residual);
  if (!sameShape(residual.shape, x.shape)) {
    throw new ShapeError(
      `${op}: residual is ${formatShape(residual.shape)}; it must be ${formatShape(x.shape)}, as ` +
        "x is",
    );
  }
}

/** Throws unless a tensor has one element a channel. */
export function checkChannels(
  op: string,
  name: string,
  x: Tensor,
  tensor: Tensor,
  dtypes: readonly DType[],
): void {
  checkSameDevice(`${op}: ${name}`, x, tensor);
  if (dtypes.length === 1 && dtypes[0] === x.dtype) checkSameDType(`${op}: ${name}`, x, tensor);
  if (!dtypes.includes(tensor.dtype)) {
    throw new DTypeError(`${op}: ${name} is ${tensor.dtype}; it must be ${dtypes.join(" or ")}`);
  }
  if (!sameShape(tensor.shape, [x.shape[1]!])) {
    throw new ShapeError(
      `${op}: ${name} is ${formatShape(tensor.shape)}; x ${formatShape(x.shape)} has ${
        x.shape[1]
      } channels, axis 1`,
    );
  }
}

type Sizes = Pick<Batch, "batch" | "channels" | "inner">;
type Statistics = Pick<Batch, "mean" | "variance">;

const counts = ({ batch, channels, inner }: Sizes) => [batch, channels, inner] as const;

/** The statistics of x's channels. */
export function statisticsOf(x: Tensor, sizes: Sizes): Statistics {
  const mean = x.make([sizes.channels], "float64");
  const variance = x.make([sizes.channels], "float64");
  call("cdn_batch_norm_stats", mean, variance, x.stored(x.format), ...counts(sizes), x.code);
  return { mean, variance };
}

/** Moves the running statistics towards those of a batch. */
export function update(
  [runningMean, runningVar]: [Tensor, Tensor],
  tracked: Tensor | null,
  { mean, variance }: Statistics,
  count: number,
  momentum: number | null,
): void {
  call(
    "cdn_batch_norm_track",
    runningMean,
    runningVar,
    tracked,
    mean,
    variance,
    mean.size,
    count,
    momentum ?? 0,
    momentum === null ? 1 : 0,
    runningMean.code,
  );
}

// Of parameters, which are both of one.
const codeOf = ({ x, weight, bias }: Batch) => (weight ?? bias ?? x).code;

/** The result, recorded. */
export function normalized(all: Batch): Tensor {
  const { x, weight, bias, residual, activation, mean, variance, eps } = all;
  const { format } = x;
  const y = x.make(x.shape, x.dtype, format);
  call(
    "cdn_batch_norm",
    y.stored(format),
    x.stored(format),
    residual && residual.stored(format),
    mean,
    variance,
    weight,
    bias,
    ...counts(all),
    eps,
    activation ? 1 : 0,
    codeOf(all),
    x.code,
  );
  const inputs = [x, weight, bias, residual].filter((input) => input !== null);
  const gate = activation && { activation, saved: y };
  return record(y, "batchNorm", inputs, (grad, step) => {
    if (!gradEnabled()) return fusedGradients(all, gate, grad, step);
    return throughOps(
      (input, ...rest) => {
        const [w, b, r] = [weight, bias, residual].map((given) => given && rest.shift()!);
        return inFloat32([input!, w, b, r], (x, weight, bias, residual) => {
          return composed({ ...all, x, weight: weight!, bias: bias!, residual: residual! });
        });
      },
      inputs,
      grad,
    );
  }, gate);
}

// Where relu follows, the gradients go through its slope: by y, if there is a residual, whose
// gradient is what comes through; else the kernels tell the slope from x, as they compute y again.
function fusedGradients(
  all: Batch,
  gate: Gate | undefined,
  grad: Tensor,
  step: Step,
): (Tensor | null)[] {
  const { x, weight, bias, residual, mean, variance, own, channels, eps } = all;
  const { format } = x;
  const from = x.stored(format);
  const open = gate && !step.gated ? gate : undefined;
  const wanted = weight?.requiresGrad || bias?.requiresGrad || (own && x.requiresGrad);
  const [dweight, dbias] = wanted ? [mean.make([channels]), mean.make([channels])] : [null, null];
  const relu = open && !residual ? 1 : 0;
  const shared = [...counts(all), eps, relu, codeOf(all), x.code] as const;
  let g = grad;
  if (dweight && dbias) {
    const y = open && residual ? open.saved as Tensor : null;
    if (y) g = x.make(x.shape, x.dtype, format);
    call(
      "cdn_batch_norm_sums",
      dweight,
      dbias,
      y && g.stored(format),
      grad.stored(format),
      from,
      y && y.stored(format),
      mean,
      variance,
      weight,
      bias,
      ...shared,
    );
  } else if (open && residual) {
    g = throughGate(open, grad);
  }
  let dx: Tensor | null = null;
  if (x.requiresGrad) {
    dx = x.make(x.shape, x.dtype, format);
    call(
      "cdn_batch_norm_grad",
      dx.stored(format),
      g.stored(format),
      from,
      mean,
      variance,
      weight,
      bias,
      own ? dweight : null,
      own ? dbias : null,
      ...shared,
    );
  }
  const gradients = [dx];
  if (weight) gradients.push(dweight && cast(dweight, weight.dtype));
  if (bias) gradients.push(dbias && cast(dbias, bias.dtype));
  if (residual) gradients.push(residual.requiresGrad ? g : null);
  return gradients;
}

// The formula in operations, for gradients of gradients; in float64, as kernels compute it.
function composed(all: Batch): Tensor {
  const { x, weight, bias, residual, activation, own, channels, eps } = all;
  const column = (tensor: Tensor) => reshape(tensor, [1, channels, 1]);
  const flat = cast(reshape(x, [x.shape[0]!, channels, -1]), "float64");
  const average = (tensor: Tensor) => meanOf(tensor, [0, 2], { keepDims: true });
  const centred = sub(flat, own ? average(flat) : column(all.mean));
  const variance = own ? average(mul(centred, centred)) : column(all.variance);
  let y = cast(div(centred, sqrt(add(variance, eps))), x.dtype);
  if (weight) y = mul(y, column(weight));
  if (bias) y = add(y, column(bias));
  y = reshape(y, x.shape);
  if (residual) y = add(y, residual);
  return activation ? activations[activation](y) : y;
}
