/** Models ready to train, made of the layers of nn. */
export * from "./activation.ts";
export * from "./mlp.ts";
export * from "./perceptron.ts";
