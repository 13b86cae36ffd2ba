/** Models ready to train, made of the layers of nn. */
export * from "./activation.ts";
export * from "./alexnet.ts";
export * from "./gpt.ts";
export * from "./image_model.ts";
export * from "./lenet5.ts";
export * from "./mlp.ts";
export * from "./mobilenet.ts";
export * from "./perceptron.ts";
export * from "./resnet.ts";
export * from "./squeezenet.ts";
export * from "./unet.ts";
export * from "./vgg.ts";
