// What onnx.save() is tried on: every layer by itself, the operations, and the ready networks, cut
// in width. Each with a batch of inputs; `others` are further arguments.
import * as c from "../../mod.ts";

const { models, nn } = c;

/** A model, and what it is given for a batch of so many. */
export interface SaveCase {
  readonly name: string;
  readonly make: () => c.nn.Module;
  /** The input, and further arguments, of a batch of n. */
  readonly inputs: (n: number) => c.Tensor[];
  readonly options?: Partial<c.onnx.OnnxSaveOptions>;
}

const device = "cpu", place = { device } as const;

class Op extends nn.Module {
  readonly #fn: (...xs: c.Tensor[]) => c.Tensor;
  constructor(fn: (...xs: c.Tensor[]) => c.Tensor) {
    super();
    this.#fn = fn;
  }
  override forward(...xs: c.Tensor[]): c.Tensor {
    return this.#fn(...xs);
  }
}

/** Numbers that differ from place to place. */
const x = (...shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1);
  const noise = (i: number) => Math.sin(i * 12.9898 + size) * 437.58 % 1;
  return c.tensor(Float32Array.from({ length: size }, (_, i) => 2 * noise(i)), { shape, device });
};
const whole = (shape: number[], below: number) =>
  c.tensor(Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i * 7 % below), {
    shape,
    device,
  });

const cases: SaveCase[] = [];
const add = (
  name: string,
  make: () => c.nn.Module,
  inputs: (n: number) => c.Tensor[],
  options: SaveCase["options"] = {},
) => cases.push({ name, make, inputs, options });
/** A layer for inputs of these sizes after the batch. */
const layer = (name: string, make: () => c.nn.Module, ...size: number[]) =>
  add(name, make, (n) => [x(n, ...size)]);
const op = (name: string, fn: (...xs: c.Tensor[]) => c.Tensor, ...sizes: number[][]) =>
  add(name, () => new Op(fn), (n) => sizes.map((size) => x(n, ...size)));
/** The statistics of a norm, as if it had been trained. */
const moved = <M extends c.nn.Module>(model: M): M => {
  for (const [name, tensor] of Object.entries(model.stateDict())) {
    if (!/running_|weight$|bias$/.test(name) || tensor.rank !== 1) continue;
    tensor.copyFrom(x(...tensor.shape).mul(0.2).add(1));
  }
  return model;
};

layer("Linear", () => new nn.Linear(4, 3, place), 4);
layer("Linear without bias", () => new nn.Linear(4, 3, { ...place, bias: false }), 4);
layer("Linear of sequences", () => new nn.Linear(4, 3, place), 5, 4);
layer("Conv2d", () => new nn.Conv2d(3, 4, 3, { ...place, padding: 1, stride: 2 }), 3, 8, 7);
layer("Conv2d same", () => new nn.Conv2d(3, 4, [2, 4], { ...place, padding: "same" }), 3, 8, 7);
layer("Conv2d groups", () => new nn.Conv2d(4, 8, 3, { ...place, groups: 2, dilation: 2 }), 4, 9, 9);
layer(
  "Conv2d reflect",
  () => new nn.Conv2d(2, 3, 3, { ...place, padding: 1, paddingMode: "reflect" }),
  2,
  5,
  6,
);
layer("Conv1d", () => new nn.Conv1d(3, 4, 3, { ...place, padding: 1 }), 3, 8);
layer(
  "Conv1d and pool",
  () =>
    new nn.Sequential(
      new nn.Conv1d(3, 4, 3, place),
      new nn.ReLU(),
      new nn.MaxPool1d(2),
    ),
  3,
  9,
);
layer(
  "ConvTranspose2d",
  () => new nn.ConvTranspose2d(3, 4, 3, { ...place, stride: 2, padding: 1, outputPadding: 1 }),
  3,
  4,
  5,
);
layer("BatchNorm1d", () => moved(new nn.BatchNorm1d(4, place)), 4);
layer("BatchNorm1d of lines", () => moved(new nn.BatchNorm1d(4, place)), 4, 6);
layer("BatchNorm2d", () => moved(new nn.BatchNorm2d(4, place)), 4, 3, 3);
layer("LayerNorm", () => moved(new nn.LayerNorm(6, place)), 5, 6);
layer(
  "LayerNorm of two axes",
  () => new nn.LayerNorm([5, 6], { ...place, elementwiseAffine: false }),
  5,
  6,
);
layer("RMSNorm", () => moved(new nn.RMSNorm(6, place)), 5, 6);
layer("GroupNorm", () => moved(new nn.GroupNorm(2, 4, place)), 4, 3, 5);
layer("GroupNorm of vectors", () => moved(new nn.GroupNorm(2, 8, place)), 8);
layer("InstanceNorm2d", () => new nn.InstanceNorm2d(4, place), 4, 3, 5);
layer("InstanceNorm1d", () => moved(new nn.InstanceNorm1d(4, { ...place, affine: true })), 4, 7);
layer("LocalResponseNorm", () => new nn.LocalResponseNorm(3), 6, 3, 3);
const plain =
  "Identity ReLU ReLU6 Sigmoid Tanh GELU SiLU ELU LeakyReLU Softplus Softmax LogSoftmax";
for (const name of `${plain} Flatten Dropout`.split(" ")) {
  const made = nn as unknown as Record<string, new () => c.nn.Module>;
  layer(name, () => new made[name]!(), 5, 6);
}
layer("GELU tanh", () => new nn.GELU({ approximate: "tanh" }), 5);
layer("Softplus of beta 2", () => new nn.Softplus({ beta: 2 }), 5);
layer("Softmax of channels", () => new nn.Softmax({ axis: 1 }), 4, 3);
layer("MaxPool2d", () => new nn.MaxPool2d(3, { stride: 2, padding: 1 }), 2, 7, 8);
layer("MaxPool2d ceilMode", () => new nn.MaxPool2d(2, { ceilMode: true }), 2, 7, 8);
layer("AvgPool2d", () => new nn.AvgPool2d(3, { stride: 2, padding: 1 }), 2, 7, 8);
layer(
  "AvgPool2d of the image",
  () => new nn.AvgPool2d(3, { padding: 1, countIncludePad: false }),
  2,
  7,
  8,
);
layer("AvgPool2d ceilMode", () => new nn.AvgPool2d(3, { stride: 2, ceilMode: true }), 2, 6, 8);
layer("AvgPool1d", () => new nn.AvgPool1d(2), 2, 7);
layer("AdaptiveAvgPool2d", () => new nn.AdaptiveAvgPool2d(1), 2, 7, 8);
layer("AdaptiveAvgPool2d of parts", () => new nn.AdaptiveAvgPool2d([3, 4]), 2, 7, 8);
layer("AdaptiveMaxPool2d", () => new nn.AdaptiveMaxPool2d([3, 2]), 2, 6, 8);
layer("Upsample", () => new nn.Upsample({ scaleFactor: 2 }), 2, 3, 4);
layer("Upsample to 7", () => new nn.Upsample({ size: 7 }), 2, 3, 5);
layer("Upsample bilinear", () => new nn.Upsample({ scaleFactor: 2, mode: "bilinear" }), 2, 3, 4);
layer(
  "Upsample corners",
  () => new nn.Upsample({ size: [7, 5], mode: "bilinear", alignCorners: true }),
  2,
  3,
  4,
);
layer("Upsample bicubic", () => new nn.Upsample({ scaleFactor: 2, mode: "bicubic" }), 2, 4, 4);
layer("PixelShuffle", () => new nn.PixelShuffle(2), 8, 3, 4);
layer("PixelUnshuffle", () => new nn.PixelUnshuffle(2), 2, 4, 6);
for (const name of ["ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d"] as const) {
  layer(name, () => new nn[name]([1, 2, 0, 1]), 2, 4, 5);
}
layer("ZeroPad2d crops", () => new nn.ZeroPad2d([-1, 2, 0, -1]), 2, 4, 5);
layer("Unfold", () => new nn.Unfold({ kernelSize: [2, 3], padding: 1, stride: 2 }), 2, 5, 6);
layer("Fold", () => new nn.Fold({ outputSize: [4, 5], kernelSize: 2, padding: 1 }), 8, 30);
layer("Residual", () => new nn.Residual(new nn.Linear(4, 4, place)), 4);
layer("SwiGLU", () => new nn.SwiGLU(4, 6, place), 3, 4);
layer("RotaryEmbedding", () => new nn.RotaryEmbedding(6), 4, 6);
add("Embedding", () => new nn.Embedding(10, 4, place), (n) => [whole([n, 3], 10)]);

for (const name of ["LSTM", "GRU", "RNN"] as const) {
  layer(name, () => new nn[name](4, 5, { ...place, batchFirst: true }) as never, 6, 4);
  add(
    `${name} both ways, two layers`,
    () => new nn[name](4, 5, { ...place, bidirectional: true, numLayers: 2 }) as never,
    (n) => [x(6, n, 4)],
    { batchAxis: 1 },
  );
}
layer(
  "RNN relu without bias",
  () =>
    new nn.RNN(4, 5, { ...place, batchFirst: true, nonlinearity: "relu", bias: false }) as never,
  6,
  4,
);
for (const name of ["LSTMCell", "GRUCell", "RNNCell"] as const) {
  layer(name, () => new nn[name](4, 5, place) as never, 4);
}
for (const batchFirst of [true, false]) {
  const own = { ...place, batchFirst },
    sizes = (n: number, t: number) => batchFirst ? [n, t] : [t, n];
  const more = batchFirst ? {} : { batchAxis: 1 }, first = batchFirst ? " batchFirst" : "";
  add(
    `TransformerEncoder${first}`,
    () =>
      new nn.TransformerEncoder([
        new nn.TransformerEncoderLayer(8, 2, { ...own, feedForward: 12 }),
      ], { norm: new nn.LayerNorm(8, place) }),
    (n) => [x(...sizes(n, 5), 8)],
    more,
  );
  add(
    `TransformerDecoder${first}`,
    () =>
      new nn.TransformerDecoder([
        new nn.TransformerDecoderLayer(8, 2, { ...own, feedForward: 12, normFirst: true }),
      ]),
    (n) => [x(...sizes(n, 5), 8), x(...sizes(n, 4), 8)],
    more,
  );
}
add(
  "MultiHeadAttention kvHeads",
  () => new nn.MultiHeadAttention(8, 4, { ...place, batchFirst: true, kvHeads: 2 }) as never,
  (n) => [x(n, 5, 8), x(n, 6, 8), x(n, 6, 8)],
);
add(
  "scaledDotProductAttention",
  () => new Op((q, k, v) => c.scaledDotProductAttention(q!, k!, v!, { causal: true })),
  (n) => [x(n, 2, 4, 6), x(n, 2, 4, 6), x(n, 2, 4, 5)],
);

op(
  "elementwise",
  (a, b) =>
    a!.mul(b!).add(1).sub(b!).div(b!.abs().add(1)).maximum(-1).neg()
      .exp().clip(0, 5).sqrt().add(a!.sin().mul(b!.cos())).pow(2).log1p().add(a!.expm1()),
  [3],
  [3],
);
op("more elementwise", (a) =>
  a!.floor().add(a!.ceil()).add(a!.round()).add(a!.trunc())
    .add(a!.sign()).add(a!.erf()).add(a!.abs().add(1).rsqrt()).add(a!.floorDivide(0.7))
    .add(a!.remainder(0.7)).add(a!.clip(undefined, 1)), [4]);
op(
  "masks",
  (a, b) =>
    c.where(a!.gt(b!), a!, 0).add(a!.eq(a!).to("float32"))
      .add(c.where(a!.ne(0), 1, b!)),
  [3],
  [3],
);
op("broadcasting", (a) => a!.unsqueeze(1).add(a!.unsqueeze(2)).mul(c.tensor([1, 2, 3], place)), [
  3,
]);
op("reductions", (a) =>
  c.concat([
    a!.sum(1),
    a!.mean([1, 2]).unsqueeze(1),
    a!.max(2),
    a!.min([1, 2], { keepDims: true }).squeeze(2),
    a!.std(1),
    a!.norm(2),
    a!.logSumExp(1),
    a!.prod(2),
    a!.variance([1, 2]).unsqueeze(1),
  ], 1), [3, 4]);
op("reductions over the batch", (a) => a!.sub(a!.mean(0)).add(a!.sum()), [3]);
op(
  "reductions of images",
  (a) => a!.mean([2, 3]).add(a!.mean([2, 3], { keepDims: true }).flatten(1)),
  [3, 4, 2],
);
op(
  "argmax",
  (a) => a!.argmax(1).to("float32").add(a!.argmin(-1).to("float32").sum(-1, { keepDims: true })),
  [5, 5],
);
op("topK", (a) => a!.topK(3).values.add(a!.topK(3).indices.to("float32")), [6]);
op("sort", (a) => a!.sort({ axis: 1 }).values, [5, 2]);
op("cumsum", (a) => a!.cumsum(1).add(a!.cumsum(2, { reverse: true, exclusive: true })), [3, 4]);
op("shapes", (a) =>
  a!.reshape([-1, 4]).mul(2).reshape([-1, 3, 4]).permute([0, 2, 1]).flatten(1)
    .unsqueeze(0).transpose(0, 1).squeeze(1), [3, 4]);
op("permutations", (a) => a!.permute([0, 3, 1, 2]).permute([2, 0, 3, 1]).permute([1, 3, 0, 2]), [
  3,
  4,
  5,
]);
op("permutations of equal extents", (a) =>
  a!.permute([0, 2, 1, 3]).sub(a!.permute([0, 3, 2, 1]))
    .add(a!.permute([0, 2, 3, 1])).add(a!.permute([0, 1, 3, 2])), [3, 3, 3]);
op("slices", (a) =>
  c.concat([
    a!.slice(1, 1, 3),
    a!.slice(2, 0, undefined, 2).tile([1, 1, 2]),
    a!.slice(1, -2),
    a!.flip(1),
    a!.flip([0, 2]).flip(0),
    a!.split(2, 1)[1]!,
    a!.roll(1, 1),
    a!.slice(2, 3, undefined, -1),
  ], 1), [5, 4]);
op(
  "select",
  (a) =>
    a!.select(1, 2).add(a!.select(2, -1).select(1, 0).unsqueeze(1)).add(
      a!.select(0, 0)
        .select(1, 2).sum(),
    ),
  [4, 4],
);
op("pad", (a) => c.pad(a!, [[0, 0], [1, 2], [0, 1]], { value: 3 }), [3, 4]);
op("tile and repeat", (a) => c.concat([a!.tile([1, 2]), a!.repeatInterleave(2, 1)], 1), [3]);
op("index", (a) => {
  const at = c.tensor([2, 0], { device, dtype: "int32" });
  return c.concat([a!.indexSelect(1, at), a!.gather(1, a!.argmax(1).unsqueeze(1))], 1);
}, [4]);
op("oneHot", (a) => c.oneHot(a!.argmax(1), 4, { dtype: "float32" }), [4]);
op("tril", (a) => a!.tril().add(a!.triu(1)), [4, 4]);
op(
  "matmul",
  (a, b) => a!.matmul(b!, { transposeB: true }).add(b!.matmul(a!, { transposeA: true }).sum()),
  [3, 4],
  [3, 4],
);
op("matmul by a matrix", (a) => a!.matmul(c.ones([4, 2], place)), [3, 4]);
op("einsum", (a, b) => c.einsum("nij,nkj->nik", a!, b!), [3, 4], [2, 4]);
op("fused", (a) =>
  c.linear(a!, c.ones([3, 4], place), c.ones([3], place), {
    activation: "gelu",
    residual: c.ones([1, 3], place).add(a!.slice(1, 0, 3).mul(0)),
  }), [4]);
op("fused convolution", (a) =>
  c.conv2d(a!, c.ones([2, 2, 3, 3], place), null, {
    activation: "relu",
    maxPool: 2,
    padding: 1,
  }), [2, 4, 4]);
op("zeros of the batch", (a) => c.concat([a!, c.zeros([a!.shape[0]!, 2], place)], 1), [3]);

const image = (size: number, channels = 3) => (n: number) => [x(n, channels, size, size)];
add("lenet5", () => models.lenet5(place), image(28, 1));
add(
  "mlp",
  () => models.mlp({ in: 4, hidden: [8, 6], out: 3, norm: "batch", ...place }),
  (n) => [x(n, 4)],
);
add("perceptron", () => models.perceptron(4, 2, place as never), (n) => [x(n, 4)]);
add("unet", () => moved(models.unet({ widths: [4, 8, 8], ...place })), image(32));
add("gpt", () =>
  models.gpt({
    vocabSize: 20,
    contextLength: 8,
    dModel: 16,
    layers: 2,
    heads: 2,
    ...place,
  }), (n) => [whole([n, 6], 20)]);
// The others are made of the same layers, and take minutes.
const large = Deno.env.get("CUDENO_ONNX_LARGE") === "1";
const networks = ["squeezenet", ...large ? ["resnet18", "mobilenetV2", "resnet50"] as const : []];
for (const name of [...networks, ...large ? ["alexnet", "vgg11"] : []] as "alexnet"[]) {
  const size = (name as string) === "alexnet" ? 80 : 64;
  add(name, () => moved(models[name]({ classes: 10, ...place })), image(size));
}

/** Cases by name. */
export const saveCases: readonly SaveCase[] = cases;
