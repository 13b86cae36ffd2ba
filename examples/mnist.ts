// Trains a perceptron with one hidden layer to read handwritten digits.
//
//   deno run --allow-ffi examples/mnist.ts --help
//
// No other permission is needed: the data is imported, not read. It is all of MNIST where `make data` has fetched it,
// else a subset that comes with the repository.
import { parseArgs } from "@std/cli/parse-args";
import {
  type Callback,
  CudenoError,
  data,
  type DeviceName,
  init,
  io,
  nn,
  optim,
  ProgressBar,
  Trainer,
} from "../mod.ts";

const help = `Trains a 784-HIDDEN-10 network on MNIST.

  --epochs N    passes over the data (5)
  --batch N     samples a step (128)
  --lr X        learning rate of SGD with momentum 0.9, falling to 0 over the epochs (0.15)
  --hidden N    units in the hidden layer (128)
  --device D    auto, cpu, cuda or cuda:N (auto)
  --seed N      random seed (1)
  --out FILE    save the weights as .safetensors (needs --allow-write)
  --help        show this text`;

const whole: Record<string, () => Promise<{ default: Uint8Array }>> = {
  "train-images-idx3-ubyte": () =>
    import("../data/mnist/train-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "train-labels-idx1-ubyte": () =>
    import("../data/mnist/train-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-images-idx3-ubyte": () =>
    import("../data/mnist/t10k-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-labels-idx1-ubyte": () =>
    import("../data/mnist/t10k-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
};
const subset: typeof whole = {
  "train-images-idx3-ubyte": () =>
    import("./data/mnist_subset/train-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "train-labels-idx1-ubyte": () =>
    import("./data/mnist_subset/train-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-images-idx3-ubyte": () =>
    import("./data/mnist_subset/t10k-images-idx3-ubyte.gz", { with: { type: "bytes" } }),
  "t10k-labels-idx1-ubyte": () =>
    import("./data/mnist_subset/t10k-labels-idx1-ubyte.gz", { with: { type: "bytes" } }),
};

async function load(): Promise<data.Splits> {
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

// MNIST_DIR, where the program may see it (--allow-env=MNIST_DIR --allow-read); the imports above need no permission.
function folder(): string | undefined {
  const seen = Deno.permissions.querySync({ name: "env", variable: "MNIST_DIR" }).state;
  return seen === "granted" ? Deno.env.get("MNIST_DIR") : undefined;
}

function options() {
  const names = ["epochs", "batch", "lr", "hidden", "device", "seed", "out"];
  const args = parseArgs(Deno.args, {
    string: names,
    boolean: ["help"],
    default: { epochs: "5", batch: "128", lr: "0.15", hidden: "128", device: "auto", seed: "1" },
    unknown: (name) => fail(`There is no option ${name}; see --help`),
  });
  if (args.help) {
    console.log(help);
    Deno.exit();
  }
  const number = (name: string) => {
    const text = String(args[name]);
    if (text.trim() === "" || !Number.isFinite(Number(text))) {
      fail(`--${name} is ${text}; it must be a number`);
    }
    return Number(text);
  };
  return {
    epochs: number("epochs"),
    batch: number("batch"),
    lr: number("lr"),
    hidden: number("hidden"),
    seed: number("seed"),
    device: String(args.device) as "auto" | DeviceName,
    out: args.out as string | undefined,
  };
}

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

async function main() {
  const { epochs, batch, lr, hidden, device, seed, out } = options();
  if (out && Deno.permissions.querySync({ name: "write", path: out }).state !== "granted") {
    fail(`--out ${out} needs the permission to write it: run with --allow-write=${out}`);
  }
  const chosen = init({ device, seed });
  const gpu = chosen.computeCapability
    ? `, compute capability ${chosen.computeCapability}, driver for CUDA ${chosen.driver}`
    : "";
  const gigabytes = (chosen.totalMemory / 1e9).toFixed(1);
  console.log(`device: ${chosen.device}, ${chosen.name}, ${gigabytes} GB${gpu}`);
  console.log(`library: ${chosen.library}`);
  if (chosen.note) console.log(`no GPU: ${chosen.note.split("\n")[0]}`);

  const { train, test } = await load();
  const model = new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(784, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, 10),
  );
  console.log(model.summary());

  const optimizer = new optim.SGD(model.parameters(), { lr, momentum: 0.9 });
  // Smaller steps towards the end settle what large ones have found.
  const decay: Callback = {
    onEpochBegin: ({ epoch }) => void (optimizer.lr = lr * (1 - (epoch - 1) / epochs)),
  };
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    metrics: ["accuracy"],
  });
  const history = await trainer.fit(train, {
    epochs,
    batchSize: batch,
    validation: test,
    callbacks: [new ProgressBar({ unit: "images" }), decay],
  });
  const accuracy = history.at(-1)?.valAccuracy ?? (await trainer.evaluate(test)).accuracy;
  if (out) {
    await io.saveSafetensors(out, model.stateDict());
    console.log(`weights: ${out}`);
  }
  console.log(`test accuracy ${accuracy!.toFixed(4)}`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof CudenoError)) throw error;
  fail(`${error.name}: ${error.message}`);
}
