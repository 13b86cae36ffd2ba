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
export { Embedding, type EmbeddingLayerOptions } from "./embedding.ts";
export { Flatten, type FlattenOptions } from "./flatten.ts";
export { Linear, type LinearOptions } from "./linear.ts";
export {
  BCELoss,
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  KLDivLoss,
  type Loss,
  NLLLoss,
} from "./losses.ts";
export { type LoadResult, Module, type StateDict } from "./module.ts";
export { Sequential } from "./sequential.ts";
// Other losses, normalisation, initialisers, containers.
export { BatchNorm, BatchNorm1d, type BatchNormOptions } from "./batch_norm.ts";
/** Initialisers, which fill a tensor in place and return it. */
export * as init from "./init.ts";
export { CosineEmbeddingLoss, HingeLoss, MultiMarginLoss } from "./margin_losses.ts";
export { ModuleList } from "./module_list.ts";
export { HuberLoss, L1Loss, MSELoss, SmoothL1Loss } from "./regression_losses.ts";
export { Residual } from "./residual.ts";
// Recurrent layers.
export { GRU } from "./gru.ts";
export { GRUCell } from "./gru_cell.ts";
export { LSTM, type LSTMState } from "./lstm.ts";
export { LSTMCell } from "./lstm_cell.ts";
export { RNN, type RNNOptions } from "./rnn.ts";
export { RNNBase, type RNNBaseOptions } from "./rnn_base.ts";
export { RNNCell, type RNNCellOptions } from "./rnn_cell.ts";
export { RNNCellBase, type RNNCellBaseOptions } from "./rnn_cell_base.ts";
// Normalisation and dropout.
export { Dropout, type DropoutLayerOptions } from "./dropout.ts";
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
export type { SummaryOptions } from "./summary.ts";
