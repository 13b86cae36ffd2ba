/** Data sets, loaders and file formats of data. */
export type * from "./batch.ts";
export * from "./category_encoder.ts";
export * from "./cifar10.ts";
export * from "./cifar10_files.ts";
export * from "./concat.ts";
export * from "./csv.ts";
export * from "./data_loader.ts";
export * from "./dataset.ts";
export * from "./fashion_mnist.ts";
export * from "./fashion_mnist_files.ts";
export * from "./idx.ts";
export * from "./image_folder.ts";
export * from "./map.ts";
export * from "./mnist.ts";
export * from "./mnist_files.ts";
export * from "./normalizer.ts";
export * from "./npy.ts";
export * from "./pad_sequence.ts";
export * from "./random_split.ts";
export * from "./splits.ts";
export * from "./stratified_split.ts";
export * from "./subset.ts";
export * from "./token_dataset.ts";
export * from "./transformed_dataset.ts";
/** Random changes to batches of images, on the device; named as torchvision's. */
export * as transforms from "./transforms/mod.ts";
