// The network of cifar_record.ts.
import {
  batchNorm,
  conv2d,
  type DType,
  matmul,
  nn,
  noGrad,
  rand,
  scope,
  type Tensor,
  tensor,
  unfold,
  zeros,
} from "../../mod.ts";
import { eigen } from "./eigen.ts";

/**
 * 3x3 filters as a matrix with a row for each, which is what Muon makes orthogonal. The first ones
 * begin as the identity: each passes on one channel.
 */
class Filters extends nn.Module {
  readonly weight: Tensor;
  readonly #shape: number[];

  constructor(from: number, to: number, dtype: DType) {
    super();
    this.#shape = [to, from, 3, 3];
    const bound = 1 / Math.sqrt(9 * from);
    using random = rand([to, 9 * from], { low: -bound, high: bound });
    const values = random.dataSync().fill(0, 0, Math.min(from, to) * 9 * from);
    for (let i = 0; i < Math.min(from, to); i++) values[i * 9 * from + 9 * i + 4] = 1;
    this.weight = tensor(values, { shape: [to, 9 * from], dtype, requiresGrad: true });
  }

  override forward(x: Tensor): Tensor {
    return conv2d(x, this.weight.reshape(this.#shape), null, { padding: 1 });
  }

  /** Makes rows 1 long on average, where they are. */
  rescale(): void {
    const { weight } = this;
    weight.copyFrom(weight.mul(Math.sqrt(weight.shape[0]!)).div(weight.norm()));
  }
}

/** Batch normalisation without a weight; its bias stays float32. */
class Norm extends nn.Module {
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;

  constructor(channels: number) {
    super();
    this.bias = zeros([channels], { requiresGrad: true });
    this.running_mean = zeros([channels]);
    this.running_var = zeros([channels]).fill(1);
  }

  override forward(x: Tensor): Tensor {
    const { bias, running_mean: runningMean, running_var: runningVar, training } = this;
    const own = { bias: bias.to(x.dtype), runningMean, runningVar };
    return batchNorm(x, { ...own, training, momentum: 0.4, eps: 1e-12 });
  }
}

const group = (from: number, to: number, dtype: DType) => [
  ...[new Filters(from, to, dtype), new nn.MaxPool2d(2), new Norm(to), new nn.GELU()],
  ...[new Filters(to, to, dtype), new Norm(to), new nn.GELU()],
];

/** What is trained, by how it is. */
export interface RecordNet {
  model: nn.Module;
  whiten: nn.Conv2d;
  filters: Filters[];
  biases: Tensor[];
  head: nn.Linear;
}

/** The network with random weights; `widths` are the channels of its three groups. */
export function recordNet(dtype: DType, widths: readonly number[]): RecordNet {
  const whiten = new nn.Conv2d(3, 24, 2, { dtype });
  whiten.weight.requiresGrad = false;
  const [a, b, c] = widths as [number, number, number];
  const body = [...group(24, a, dtype), ...group(a, b, dtype), ...group(b, c, dtype)];
  const head = new nn.Linear(c, 10, { bias: false, dtype });
  noGrad(() => scope(() => head.weight.copyFrom(head.weight.div(head.weight.std()))));
  const layers = [whiten, new nn.GELU(), ...body, new nn.MaxPool2d(3), new nn.Flatten(), head];
  return {
    ...{ model: new nn.Sequential(layers), whiten, head },
    filters: body.filter((layer) => layer instanceof Filters),
    biases: body.filter((layer) => layer instanceof Norm).map(({ bias }) => bias),
  };
}

// Rows of n numbers.
const rowsOf = (list: number[], n: number) =>
  Array.from({ length: list.length / n }, (_, i) => list.slice(n * i, n * i + n));

/**
 * Sets the first filters to what makes 2x2 patches of images [n, 3, h, w] uncorrelated and of
 * variance 1: the eigenvectors of their covariance, and the same with the other sign.
 */
export function setWhitening({ weight }: nn.Conv2d, images: Tensor): void {
  scope(() => {
    const patches = unfold(images.to("float32"), { kernelSize: 2 }); // [n, 12, places]
    const rows = patches.permute([1, 0, 2]).reshape([12, -1]);
    const scaled = rows.mul(1 / Math.sqrt(rows.shape[1]!));
    const sums = [...matmul(scaled, scaled, { transposeB: true }).dataSync()];
    const { values, vectors } = eigen(rowsOf(sums, 12));
    const whole = vectors.flatMap((v, i) => v.map((x) => x / Math.sqrt(values[i]! + 5e-4)));
    const both = [...whole, ...whole.map((x) => -x)];
    weight.copyFrom(tensor(both, { dtype: weight.dtype }).reshape(weight.shape));
  });
}
