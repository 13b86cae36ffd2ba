// A network with a batch of random images, whose training is measured.
import {
  crossEntropy,
  type DeviceName,
  type DType,
  keep,
  memory,
  type nn,
  noGrad,
  optim,
  randint,
  randn,
  resetPeakMemory,
  scope,
  type Shape,
  synchronize,
  type Tensor,
} from "../mod.ts";

/** What is trained on what. */
export interface TrainingOptions {
  model: nn.Module;
  /** Of a batch, [n, channels, height, width]. */
  shape: Shape;
  classes?: number;
  device: DeviceName;
  dtype?: DType;
}

/** Functions that queue the parts of a step. */
export class Training {
  readonly #model: nn.Module;
  readonly #optimizer: optim.SGD;
  readonly #device: DeviceName;
  readonly images: Tensor;
  readonly #targets: Tensor;

  constructor({ model, shape, classes = 1000, device, dtype = "float32" }: TrainingOptions) {
    this.#model = model;
    this.#device = device;
    this.#optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    this.images = scope(() => keep(randn(shape, { device, dtype }).to({ format: "channelsLast" })));
    this.#targets = randint(0, classes, [shape[0]!], { device });
  }

  /** The forward pass as in evaluation. */
  readonly inference = (): void => {
    this.#model.eval();
    scope(() => void noGrad(() => this.#model.forward(this.images)));
    this.#model.train();
  };

  /** The forward pass and the loss. */
  readonly forward = (): void => scope(() => void this.#loss());

  /** The forward pass, the loss and the gradients. */
  readonly both = (): void =>
    scope(() => {
      this.#optimizer.zeroGrad();
      this.#loss().backward();
    });

  /** All that, and the optimizer's step: SGD with momentum. */
  readonly step = (): void => {
    this.both();
    this.#optimizer.step();
  };

  #loss(): Tensor {
    return crossEntropy(this.#model.forward(this.images), this.#targets);
  }

  /** The most bytes that both() has in use beside parameters, their gradients and the batch. */
  async activationBytes(): Promise<number> {
    this.both();
    await synchronize(this.#device);
    resetPeakMemory(this.#device);
    const { live } = memory(this.#device);
    scope(() => this.#loss().backward()); // adds to the gradients that are there
    return memory(this.#device).peak - live;
  }

  /** Frees all. */
  dispose(): void {
    this.#optimizer.zeroGrad();
    for (const part of [this.#model, this.#optimizer, this.images, this.#targets]) part.dispose();
  }
}
