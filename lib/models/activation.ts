/** What may stand between a model's layers. */
export type Activation =
  | "relu"
  | "leakyRelu"
  | "elu"
  | "gelu"
  | "silu"
  | "sigmoid"
  | "softplus"
  | "tanh";
