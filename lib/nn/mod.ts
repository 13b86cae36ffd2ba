/** Layers, losses and the Module they are made of, named as in torch.nn. */
export * from "./activations.ts";
export * from "./embedding.ts";
export * from "./flatten.ts";
export * from "./linear.ts";
export * from "./losses.ts";
export * from "./module.ts";
export type { ForwardHook, ForwardPreHook, HookHandle } from "./_hooks.ts";
export type { GroupPattern, NamePattern } from "./_names.ts";
export * from "./sequential.ts";
// Other losses, normalisation, initialisers, containers.
export * from "./batch_norm.ts";
/** Initialisers, which fill a tensor in place and return it. */
export * as init from "./init.ts";
export * from "./margin_losses.ts";
export * from "./module_list.ts";
export * from "./regression_losses.ts";
export * from "./residual.ts";
// Convolution.
export * from "./conv.ts";
export type { ConvBase, ConvLayerOptions } from "./_conv_base.ts";
export type { LossBase } from "./_loss_base.ts";
export * from "./fold_batch_norm.ts";
// Recurrent layers.
export * from "./gru.ts";
export * from "./gru_cell.ts";
export * from "./lstm.ts";
export * from "./lstm_cell.ts";
export * from "./rnn.ts";
export * from "./rnn_base.ts";
export * from "./rnn_cell.ts";
export * from "./rnn_cell_base.ts";
// Normalisation and dropout.
export * from "./dropout.ts";
export * from "./group_norm.ts";
export * from "./row_norm.ts";
// Attention.
export * from "./attention.ts";
/** The same class under the name that PyTorch gives it. */
export { MultiHeadAttention as MultiheadAttention } from "./attention.ts";
export * from "./kv_cache.ts";
export * from "./rotary_embedding.ts";
export * from "./swiglu.ts";
export * from "./transformer.ts";
export * from "./transformer_decoder.ts";
export type * from "./transformer_layer.ts";
// Pooling.
export * from "./pooling.ts";
// Images: sizes, borders, windows.
export * from "./fold.ts";
export * from "./padding.ts";
export * from "./upsample.ts";
