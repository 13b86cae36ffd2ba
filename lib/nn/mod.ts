/** Layers, losses and the Module they are made of, named as in torch.nn. */
export { ReLU, Sigmoid, Tanh } from "./activations.ts";
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
// Other losses, normalisation and dropout.
export { BatchNorm, BatchNorm1d, type BatchNormOptions } from "./batch_norm.ts";
export { CosineEmbeddingLoss, HingeLoss, MultiMarginLoss } from "./margin_losses.ts";
export { HuberLoss, L1Loss, MSELoss, SmoothL1Loss } from "./regression_losses.ts";
export { Dropout } from "./dropout.ts";
export { LayerNorm, type LayerNormOptions, RMSNorm, type RMSNormOptions } from "./row_norm.ts";
