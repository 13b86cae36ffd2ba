/**
 * cudeno trains and runs neural networks on NVIDIA GPUs from Deno, and on the CPU with the same
 * program.
 *
 * ```ts
 * import { data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(
 *   tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
 *   tensor([0, 1, 1, 0], { dtype: "int32" }),
 * );
 * const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2));
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
 * const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
 * await trainer.fit(set, { epochs: 200, batchSize: 4, callbacks: [] });
 * console.log(trainer.predict(set.inputs).argmax(1).dataSync());
 * ```
 *
 * Examples import `@cudeno/cudeno`; in your project, one line of deno.json says where that is:
 *
 * ```json
 * { "imports": { "@cudeno/cudeno": "/path/to/cudeno/mod.ts" } }
 * ```
 *
 * @module
 */

export { autocast, type AutocastDType } from "./lib/core/autocast.ts";
export { noGrad } from "./lib/core/autograd.ts";
export { grad, type GradOptions } from "./lib/core/backward.ts";
export type {
  BackwardOptions,
  Differentiable,
  FusedActivation,
  Gate,
  Node,
  Step,
} from "./lib/core/node.ts";
export {
  type Backend,
  type DeviceInfo,
  type DeviceName,
  devices,
  init,
  type InitOptions,
  synchronize,
} from "./lib/core/backend.ts";
export type { MemoryFormat } from "./lib/core/layout.ts";
export { deviceTime, type DeviceTimeOptions } from "./lib/core/device_time.ts";
export type { DataOf, DType } from "./lib/core/dtype.ts";
export { gradcheck, type GradcheckOptions } from "./lib/core/gradcheck.ts";
export { emptyCache, memory, type MemoryInfo, resetPeakMemory } from "./lib/core/memory.ts";
export {
  getMatmulPrecision,
  type MatmulPrecision,
  setMatmulPrecision,
} from "./lib/core/precision.ts";
export { manualSeed } from "./lib/core/random.ts";
export { keep, type Owned, scope } from "./lib/core/scope.ts";
export type { Shape } from "./lib/core/shape.ts";
export type { Memory, TensorBase } from "./lib/core/tensor.ts";
export {
  arange,
  type CreateOptions,
  eye,
  full,
  type NestedNumbers,
  ones,
  rand,
  randint,
  randn,
  type RandnOptions,
  type RandOptions,
  tensor,
  type TensorOptions,
  zeros,
} from "./lib/create.ts";
export type { Dataset } from "./lib/data/dataset.ts";
/** Data sets, loaders and data formats. */
export * as data from "./lib/data/mod.ts";
/** Files of weights. */
export * as io from "./lib/io/mod.ts";
/** Models ready to train. */
export * as models from "./lib/models/mod.ts";
export * from "./lib/native/errors.ts";
/** Layers, losses and models, named as in torch.nn. */
export * as nn from "./lib/nn/mod.ts";
export type { Loss } from "./lib/nn/losses.ts";
export type { LoadResult, Module, StateDict } from "./lib/nn/module.ts";
export {
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
} from "./lib/ops/elementwise/activations.ts";
export {
  add,
  div,
  floorDivide,
  maximum,
  minimum,
  mul,
  pow,
  sub,
} from "./lib/ops/elementwise/binary.ts";
export { eq, ge, gt, le, lt, ne } from "./lib/ops/elementwise/compare.ts";
export { concat, stack } from "./lib/ops/shape/concat.ts";
export { type AttentionOptions, scaledDotProductAttention } from "./lib/ops/attention/attention.ts";
export { einsum } from "./lib/ops/linalg/einsum.ts";
// Normalisation, dropout, losses.
export { batchNorm, type BatchNormOptions } from "./lib/ops/norm/batch_norm.ts";
export {
  bceLoss,
  type BCELossOptions,
  bceWithLogitsLoss,
  type BCEWithLogitsLossOptions,
} from "./lib/ops/loss/bce_loss.ts";
export { crossEntropy, type CrossEntropyOptions } from "./lib/ops/loss/cross_entropy.ts";
export { klDivLoss, type KLDivLossOptions } from "./lib/ops/loss/kl_div_loss.ts";
export {
  huberLoss,
  type HuberLossOptions,
  l1Loss,
  smoothL1Loss,
  type SmoothL1LossOptions,
} from "./lib/ops/loss/l1_loss.ts";
export type { LossOptions, Reduction } from "./lib/ops/loss/_loss.ts";
export {
  cosineEmbeddingLoss,
  type CosineEmbeddingLossOptions,
  hingeLoss,
  type HingeLossOptions,
  multiMarginLoss,
  type MultiMarginLossOptions,
} from "./lib/ops/loss/margin_loss.ts";
export { mseLoss } from "./lib/ops/loss/mse_loss.ts";
export { type ClassLossOptions, nllLoss } from "./lib/ops/loss/nll_loss.ts";
export { dropout, type DropoutOptions } from "./lib/ops/random/dropout.ts";
export {
  layerNorm,
  type LayerNormOptions,
  rmsNorm,
  type RMSNormOptions,
} from "./lib/ops/norm/row_norm.ts";
export { gatherRows, type GatherRowsOptions } from "./lib/ops/index/gather_rows.ts";
export { gru } from "./lib/ops/recurrent/gru.ts";
export { type FusedLinearOptions, linear } from "./lib/ops/linalg/linear.ts";
export { lstm, type LSTMOptions, type LSTMResult } from "./lib/ops/recurrent/lstm.ts";
export { matmul, type MatmulOptions, matmulVariants } from "./lib/ops/linalg/matmul.ts";
export {
  broadcastTo,
  flatten,
  permute,
  reshape,
  squeeze,
  transpose,
  unsqueeze,
} from "./lib/ops/shape/movement.ts";
export { pad, type PadOptions, tile } from "./lib/ops/shape/pad.ts";
export type {
  RecurrentOptions,
  RecurrentResult,
  RecurrentWeights,
} from "./lib/ops/recurrent/_recurrent.ts";
export {
  argmax,
  argmin,
  type Axes,
  max,
  mean,
  min,
  type ReduceOptions,
  sum,
} from "./lib/ops/reduce/reduce.ts";
// Statistics, scans, sorting, indexing.
export { cumsum } from "./lib/ops/reduce/cumsum.ts";
export { embedding, type EmbeddingOptions } from "./lib/ops/index/embedding.ts";
export { gather, scatterAdd } from "./lib/ops/index/gather.ts";
export { indexAdd, indexSelect } from "./lib/ops/index/index_select.ts";
export { logSumExp } from "./lib/ops/reduce/log_sum_exp.ts";
export { norm, type NormOptions } from "./lib/ops/reduce/norm.ts";
export { oneHot, type OneHotOptions } from "./lib/ops/index/one_hot.ts";
export {
  argsort,
  type Ordered,
  sort,
  type SortOptions,
  topK,
  type TopKOptions,
} from "./lib/ops/index/sort.ts";
export { std, variance, type VarianceOptions } from "./lib/ops/reduce/statistics.ts";
export { chunk, flip, select, slice, split } from "./lib/ops/shape/slice.ts";
export { rnn, type RNNOptions } from "./lib/ops/recurrent/rnn.ts";
export { logSoftmax, softmax } from "./lib/ops/reduce/softmax.ts";
export { clipGradNorm, type ClipGradNormOptions, clipGradValue } from "./lib/optim/clip_grad.ts";
export type { Batch, ParameterState } from "./lib/optim/batch.ts";
export type { EMA, EMAOptions, EMAState } from "./lib/optim/ema.ts";
export type { GradScaler, GradScalerOptions, GradScalerState } from "./lib/optim/grad_scaler.ts";
export type {
  Group,
  Optimizer,
  OptimizerOptions,
  OptimizerState,
  ParameterGroup,
  Trainable,
} from "./lib/optim/optimizer.ts";
export type { Schedule, ScheduleState } from "./lib/optim/schedule/schedule.ts";
export { tril, triu } from "./lib/ops/shape/triangle.ts";
export {
  abs,
  clip,
  cos,
  erf,
  exp,
  expm1,
  log,
  log1p,
  neg,
  rsqrt,
  sign,
  sin,
  sqrt,
} from "./lib/ops/elementwise/unary.ts";
export { where } from "./lib/ops/elementwise/where.ts";
/** Optimizers, named as in torch.optim. */
export * as optim from "./lib/optim/mod.ts";
export { Tensor, type ToOptions } from "./lib/tensor.ts";
export {
  type Callback,
  type EpochState,
  ProgressBar,
  type ProgressBarOptions,
  type ProgressState,
} from "./lib/train/callbacks.ts";
export type { EpochResult, History } from "./lib/train/history.ts";
export type { MetricName } from "./lib/train/metrics.ts";
export type { StepOptions } from "./lib/train/stepper.ts";
export type { ProgressStream } from "./lib/train/progress.ts";
export {
  type EvaluateOptions,
  type Evaluation,
  type FitOptions,
  Trainer,
  type TrainerOptions,
} from "./lib/train/trainer.ts";
