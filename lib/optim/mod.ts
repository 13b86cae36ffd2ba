/** Optimizers, named as in torch.optim. */
export { type Optimizer, SGD, type SGDOptions } from "./sgd.ts";
