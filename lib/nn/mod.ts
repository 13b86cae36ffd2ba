/** Layers, losses and the Module they are made of, named as in torch.nn. */
export {
  ELU,
  GELU,
  Identity,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  type SoftmaxOptions,
  Softplus,
  Tanh,
} from "./activations.ts";
export { Flatten, type FlattenOptions } from "./flatten.ts";
export { Linear, type LinearOptions } from "./linear.ts";
export { CrossEntropyLoss, type Loss, MSELoss } from "./losses.ts";
export { type LoadResult, Module, type StateDict } from "./module.ts";
export { Sequential } from "./sequential.ts";
// Normalisation and dropout.
export { Dropout } from "./dropout.ts";
export { LayerNorm, type LayerNormOptions, RMSNorm, type RMSNormOptions } from "./row_norm.ts";
// Attention.
export {
  type AttentionMasks,
  MultiHeadAttention,
  MultiHeadAttention as MultiheadAttention,
  type MultiHeadAttentionOptions,
} from "./attention.ts";
export {
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerEncoderLayerOptions,
} from "./transformer.ts";
