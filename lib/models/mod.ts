/** Models ready to train, made of the layers of nn. */
export type { Activation } from "./activation.ts";
export { mlp, type MLPOptions } from "./mlp.ts";
export { perceptron, type PerceptronOptions } from "./perceptron.ts";
