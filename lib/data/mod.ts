/** Data sets, loaders and file formats of data. */
export * from "./dataset.ts";
export * from "./idx.ts";
export * from "./mnist.ts";
export * from "./mnist_files.ts";
