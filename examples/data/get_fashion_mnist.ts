/**
 * Downloads Fashion-MNIST (31 MB) to data/fashion_mnist/: from a public mirror, or else from
 * Debian's package, where there is apt-get.
 *
 *     deno run -A examples/data/get_fashion_mnist.ts
 */
import { fashionMnistFiles, fashionMnistMirrors } from "../../lib/data/fashion_mnist_files.ts";
import { archive, folderOf, main, mirror } from "./get_files.ts";

const debian = "dataset-fashion-mnist";
await using fallback = archive(
  `Debian's ${debian}`,
  async (run, folder) => {
    await run("apt-get", "download", debian);
    const [file] = Array.from(Deno.readDirSync(folder), ({ name }) => name);
    await run("dpkg-deb", "-x", file!, ".");
  },
  async (folder, { name }) => {
    const file = await Deno.open(`${folder}/usr/share/datasets/fashion-mnist/${name}.gz`);
    return await new Response(file.readable.pipeThrough(new DecompressionStream("gzip"))).bytes();
  },
);
await main("Fashion-MNIST", fashionMnistFiles, folderOf("fashion_mnist"), [
  ...fashionMnistMirrors.map((base) => mirror(base)),
  fallback,
]);
