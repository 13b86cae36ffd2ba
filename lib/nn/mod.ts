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
export { CrossEntropyLoss, type Loss, MSELoss } from "./losses.ts";
export { type LoadResult, Module, type StateDict } from "./module.ts";
export { Sequential } from "./sequential.ts";
