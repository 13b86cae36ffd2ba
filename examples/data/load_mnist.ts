// MNIST for examples that have no permission to read: the files are imported. All of it where `make
// data` has fetched it, else a subset that comes with the repository.
import { data } from "../../mod.ts";

const whole: Record<string, () => Promise<{ default: Uint8Array }>> = {
  "train-images-idx3-ubyte": () =>
    import("../../data/mnist/train-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "train-labels-idx1-ubyte": () =>
    import("../../data/mnist/train-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-images-idx3-ubyte": () =>
    import("../../data/mnist/t10k-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-labels-idx1-ubyte": () =>
    import("../../data/mnist/t10k-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
};
const subset: typeof whole = {
  "train-images-idx3-ubyte": () =>
    import("./mnist_subset/train-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "train-labels-idx1-ubyte": () =>
    import("./mnist_subset/train-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-images-idx3-ubyte": () =>
    import("./mnist_subset/t10k-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-labels-idx1-ubyte": () =>
    import("./mnist_subset/t10k-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
};

/** All of MNIST, or the subset; says which. */
export async function loadMnist(): Promise<data.Splits> {
  const dir = folder();
  if (dir) {
    console.log(`data: MNIST in ${dir}`);
    return await data.mnist({ dir });
  }
  const from = (files: typeof whole) => async (name: string) => (await files[name]!()).default;
  try {
    await whole["t10k-labels-idx1-ubyte"]!();
  } catch {
    console.log("data: a subset of MNIST; `make data` fetches all of it");
    return await data.mnist({ read: from(subset), verify: false });
  }
  console.log("data: MNIST");
  return await data.mnist({ read: from(whole) });
}

// MNIST_DIR, where the program may see it (--allow-env=MNIST_DIR --allow-read); the imports above
// need no permission.
function folder(): string | undefined {
  const seen = Deno.permissions.querySync({ name: "env", variable: "MNIST_DIR" }).state;
  return seen === "granted" ? Deno.env.get("MNIST_DIR") : undefined;
}
