/** Data sets, loaders and file formats of data. */
export {
  DataLoader,
  type DataLoaderOptions,
  type Dataset,
  TensorDataset,
  type TensorDatasetOptions,
} from "./dataset.ts";
export { type IdxArray, type IdxData, type IdxDType, readIdx } from "./idx.ts";
export { mnist, type MnistOptions, type Splits } from "./mnist.ts";
export { type DataFile, mnistFiles } from "./mnist_files.ts";
