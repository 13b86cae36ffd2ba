/** Data sets, loaders and file formats of data. */
export * from "./cifar10.ts";
export * from "./cifar10_files.ts";
export * from "./csv.ts";
export * from "./dataset.ts";
export * from "./fashion_mnist.ts";
export * from "./fashion_mnist_files.ts";
export * from "./idx.ts";
export * from "./mnist.ts";
export * from "./mnist_files.ts";
export * from "./npy.ts";
export * from "./splits.ts";
export * from "./transformed_dataset.ts";
/** Random changes to batches of images, on the device; named as torchvision's. */
export * as transforms from "./transforms/mod.ts";
