// Convolutional models: their keys and counts, written down by torchvision's rules; their output,
// against one composed of operations; folded batch normalisation.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  ArgumentError,
  batchNorm,
  concat,
  conv2d,
  data,
  linear,
  maxPool2d,
  models,
  nn,
  noGrad,
  optim,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, later, nativeCalls, refuse, root } from "../_helpers.ts";

// Builds a model without filling its parameters, which takes most of the time.
function unfilled<M extends nn.Module>(make: () => M): M {
  using x = zeros([]);
  const functions = x.backend.functions as Record<string, unknown>;
  const names = ["cdn_uniform", "cdn_normal"];
  const originals = names.map((name) => functions[name]);
  for (const name of names) functions[name] = () => 0;
  try {
    return later(make());
  } finally {
    names.forEach((name, i) => functions[name] = originals[i]);
  }
}

type Keys = [name: string, shape: number[]][];

const conv = (name: string, out: number, inC: number, size = 3, bias = true): Keys => [
  [`${name}.weight`, [out, inC, size, size]],
  ...(bias ? [[`${name}.bias`, [out]] as Keys[0]] : []),
];
const fc = (name: string, out: number, features: number): Keys => [
  [`${name}.weight`, [out, features]],
  [`${name}.bias`, [out]],
];
const bn = (name: string, n: number): Keys => [
  ...["weight", "bias", "running_mean", "running_var"].map((key): Keys[0] => [
    `${name}.${key}`,
    [n],
  ]),
  [`${name}.num_batches_tracked`, []],
];

function resnetKeys(blocks: number[], bottleneck: boolean): Keys {
  const keys = [...conv("conv1", 64, 3, 7, false), ...bn("bn1", 64)];
  let inC = 64;
  blocks.forEach((count, i) => {
    const width = [64, 128, 256, 512][i]!;
    const outC = bottleneck ? 4 * width : width;
    for (let j = 0; j < count; j++) {
      const name = `layer${i + 1}.${j}`;
      const layers = bottleneck
        ? [[width, inC, 1], [width, width, 3], [outC, width, 1]]
        : [[width, inC, 3], [width, width, 3]];
      layers.forEach(([out, from, size], k) => {
        keys.push(...conv(`${name}.conv${k + 1}`, out!, from!, size, false));
        keys.push(...bn(`${name}.bn${k + 1}`, out!));
      });
      if (j === 0 && (i > 0 || bottleneck)) {
        keys.push(...conv(`${name}.downsample.0`, outC, inC, 1, false));
        keys.push(...bn(`${name}.downsample.1`, outC));
      }
      inC = outC;
    }
  });
  return [...keys, ...fc("fc", 1000, inC)];
}

// By the places that convolutions have among the features, and their channels.
function vggKeys(places: number[], widths: number[], norms = false): Keys {
  const features = places.flatMap((place, i) => [
    ...conv(`features.${place}`, widths[i]!, widths[i - 1] ?? 3),
    ...(norms ? bn(`features.${place + 1}`, widths[i]!) : []),
  ]);
  return [
    ...features,
    ...fc("classifier.0", 4096, 25088),
    ...fc("classifier.3", 4096, 4096),
    ...fc("classifier.6", 1000, 4096),
  ];
}

const alexnetKeys: Keys = [
  ...conv("features.0", 64, 3, 11),
  ...conv("features.3", 192, 64, 5),
  ...conv("features.6", 384, 192),
  ...conv("features.8", 256, 384),
  ...conv("features.10", 256, 256),
  ...fc("classifier.1", 4096, 9216),
  ...fc("classifier.4", 4096, 4096),
  ...fc("classifier.6", 1000, 4096),
];

function mobilenetKeys(): Keys {
  const keys = [...conv("features.0.0", 32, 3, 3, false), ...bn("features.0.1", 32)];
  const outs = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320];
  outs.forEach((out, i) => {
    const inC = outs[i - 1] ?? 32;
    const name = `features.${i + 1}.conv`;
    const inner = i === 0 ? inC : 6 * inC;
    if (i > 0) keys.push(...conv(`${name}.0.0`, inner, inC, 1, false), ...bn(`${name}.0.1`, inner));
    const next = i === 0 ? 0 : 1;
    keys.push(...conv(`${name}.${next}.0`, inner, 1, 3, false), ...bn(`${name}.${next}.1`, inner));
    keys.push(...conv(`${name}.${next + 1}`, out, inner, 1, false));
    keys.push(...bn(`${name}.${next + 2}`, out));
  });
  keys.push(...conv("features.18.0", 1280, 320, 1, false), ...bn("features.18.1", 1280));
  return [...keys, ...fc("classifier.1", 1000, 1280)];
}

function squeezenetKeys(first: Keys, places: number[]): Keys {
  const squeezes = [16, 16, 32, 32, 48, 48, 64, 64];
  const fires = places.flatMap((place, i) => {
    const [narrow, inC] = [squeezes[i]!, i === 0 ? first[1]![1][0]! : 8 * squeezes[i - 1]!];
    return [
      ...conv(`features.${place}.squeeze`, narrow, inC, 1),
      ...conv(`features.${place}.expand1x1`, 4 * narrow, narrow, 1),
      ...conv(`features.${place}.expand3x3`, 4 * narrow, narrow, 3),
    ];
  });
  return [...first, ...fires, ...conv("classifier.1", 1000, 512, 1)];
}

const lenetKeys: Keys = [
  ...conv("conv1", 6, 1, 5),
  ...conv("conv2", 16, 6, 5),
  ...fc("fc1", 120, 400),
  ...fc("fc2", 84, 120),
  ...fc("fc3", 10, 84),
];

function unetKeys(): Keys {
  const two = (name: string, inC: number, out: number) => [
    ...conv(`${name}.double_conv.0`, out, inC, 3, false),
    ...bn(`${name}.double_conv.1`, out),
    ...conv(`${name}.double_conv.3`, out, out, 3, false),
    ...bn(`${name}.double_conv.4`, out),
  ];
  const down = [1, 2, 3, 4].flatMap((i) =>
    two(`down${i}.maxpool_conv.1`, 32 * 2 ** i, 64 * 2 ** i)
  );
  const up = [512, 256, 128, 64].flatMap((out, i): Keys => [
    [`up${i + 1}.up.weight`, [2 * out, out, 2, 2]],
    [`up${i + 1}.up.bias`, [out]],
    ...two(`up${i + 1}.conv`, 2 * out, out),
  ]);
  return [...two("inc", 3, 64), ...down, ...up, ...conv("outc.conv", 2, 64, 1)];
}

const widths11 = [64, 128, 256, 256, 512, 512, 512, 512];
const widths16 = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
const widths19 = [64, 64, 128, 128, 256, 256, 256, 256, ...Array(8).fill(512)];
const places16 = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];
const places19 = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34];
const places11 = [0, 4, 8, 11, 15, 18, 22, 25]; // of the one with norms
const of11 = { version: "1.1" } as const;

const known: [name: string, make: () => nn.Module, parameters: number, keys: Keys][] = [
  ["resnet18", models.resnet18, 11_689_512, resnetKeys([2, 2, 2, 2], false)],
  ["resnet34", models.resnet34, 21_797_672, resnetKeys([3, 4, 6, 3], false)],
  ["resnet50", models.resnet50, 25_557_032, resnetKeys([3, 4, 6, 3], true)],
  ["alexnet", models.alexnet, 61_100_840, alexnetKeys],
  ["vgg11", models.vgg11, 132_863_336, vggKeys([0, 3, 6, 8, 11, 13, 16, 18], widths11)],
  ["vgg11, batchNorm", () => models.vgg11({ batchNorm: true }), 132_868_840, [
    ...vggKeys(places11, widths11, true),
  ]],
  ["vgg16", models.vgg16, 138_357_544, vggKeys(places16, widths16)],
  ["vgg19", models.vgg19, 143_667_240, vggKeys(places19, widths19)],
  ["mobilenetV2", models.mobilenetV2, 3_504_872, mobilenetKeys()],
  ["squeezenet 1.0", models.squeezenet, 1_248_424, [
    ...squeezenetKeys(conv("features.0", 96, 3, 7), [3, 4, 5, 7, 8, 9, 10, 12]),
  ]],
  ["squeezenet 1.1", () => models.squeezenet(of11), 1_235_496, [
    ...squeezenetKeys(conv("features.0", 64, 3, 3), [3, 4, 6, 7, 9, 10, 11, 12]),
  ]],
  ["lenet5", models.lenet5, 61_706, lenetKeys],
  ["unet", models.unet, 31_037_698, unetKeys()],
];

for (const [name, make, parameters, keys] of known) {
  cleanTest(`models.${name}: PyTorch's keys, shapes and count of parameters`, () => {
    const model = unfilled(make);
    const own = Object.entries(model.stateDict()).map(([key, { shape }]) => [key, [...shape]]);
    assertEquals(own, keys);
    assertEquals(model.parameters().reduce((n, { size }) => n + size, 0), parameters);
  });
}

// The root of the mean square, and the largest magnitude.
function spread(x: Tensor): [deviation: number, largest: number] {
  const data = Float64Array.from(x.dataSync());
  const squares = data.reduce((sum, v) => sum + v * v, 0);
  return [
    Math.sqrt(squares / data.length),
    data.reduce((most, v) => Math.max(most, Math.abs(v)), 0),
  ];
}

cleanTest("models of images start as torchvision's do", () => {
  const near = (x: Tensor, deviation: number) => {
    assertAlmostEquals(spread(x)[0], deviation, 6 * deviation / Math.sqrt(2 * x.size));
  };
  const state = (model: nn.Module) => later(model).stateDict();
  const he = (x: Tensor) => near(x, Math.sqrt(2 / (x.shape[0]! * x.shape[2]! * x.shape[3]!)));
  const resnet = state(models.resnet18({ classes: 10 }));
  for (const name of ["conv1", "layer1.0.conv1", "layer2.0.downsample.0"]) {
    he(resnet[`${name}.weight`]!);
  }
  const [, largest] = spread(resnet["fc.weight"]!);
  assert(largest <= 1 / Math.sqrt(512) && largest > 0.95 / Math.sqrt(512));
  assert(spread(resnet["fc.bias"]!)[0] > 0);
  const mobilenet = state(models.mobilenetV2());
  he(mobilenet["features.2.conv.1.0.weight"]!);
  near(mobilenet["classifier.1.weight"]!, 0.01);
  assertEquals(spread(mobilenet["classifier.1.bias"]!), [0, 0]);
  const squeezenet = state(models.squeezenet(of11));
  near(squeezenet["classifier.1.weight"]!, 0.01);
  near(squeezenet["features.3.expand3x3.weight"]!, Math.sqrt(2 / (16 * 9)));
  const bound = Math.sqrt(6 / (16 * 9)); // He's, uniform by the inputs
  const [, most] = spread(squeezenet["features.3.expand3x3.weight"]!);
  assert(most <= bound && most > 0.95 * bound);
  assertEquals(spread(squeezenet["features.3.expand3x3.bias"]!), [0, 0]);
});

// In evaluation mode, with statistics and biases that are not those of a new model.
function used<M extends nn.Module>(model: M): M {
  for (const [name, x] of Object.entries(later(model).stateDict())) {
    if (/running_mean|bias$/.test(name)) nn.init.normal(x, { std: 0.1 });
    if (/running_var|(bn\d|[14])\.weight$/.test(name) && x.rank === 1) {
      nn.init.uniform(x, { low: 0.5, high: 1.5 });
    }
  }
  return model.eval();
}

function alike(y: Tensor, wanted: Tensor, tolerance = 1e-5): void {
  assertEquals(y.shape, wanted.shape);
  const [, largest] = spread(wanted);
  assert(largest > 0);
  const off = spread(y.sub(wanted))[1] / largest;
  assert(off <= tolerance, `off by ${off}`);
}

// The layers of a state dict by name, as operations.
function layersOf(state: nn.StateDict) {
  const at = (name: string) => state[name] ?? null;
  const norm = (name: string, x: Tensor) =>
    batchNorm(x, {
      weight: at(`${name}.weight`),
      bias: at(`${name}.bias`),
      runningMean: at(`${name}.running_mean`),
      runningVar: at(`${name}.running_var`),
    });
  const conv = (name: string, x: Tensor, stride = 1, groups = 1) => {
    const weight = state[`${name}.weight`]!;
    const padding = (weight.shape[2]! - 1) / 2;
    return conv2d(x, weight, at(`${name}.bias`), { stride, padding, groups });
  };
  const head = (name: string, x: Tensor) =>
    linear(x.mean([2, 3]), state[`${name}.weight`]!, at(`${name}.bias`));
  return { norm, conv, head };
}

function resnetByHand(state: nn.StateDict, x: Tensor, blocks: number[], small: boolean): Tensor {
  const { norm, conv, head } = layersOf(state);
  x = norm("bn1", conv("conv1", x, small ? 1 : 2)).relu();
  if (!small) x = maxPool2d(x, { kernelSize: 3, stride: 2, padding: 1 });
  blocks.forEach((count, i) => {
    for (let j = 0; j < count; j++) {
      const name = `layer${i + 1}.${j}`;
      const stride = i > 0 && j === 0 ? 2 : 1;
      const bottleneck = `${name}.conv3.weight` in state;
      let y = norm(`${name}.bn1`, conv(`${name}.conv1`, x, bottleneck ? 1 : stride)).relu();
      y = norm(`${name}.bn2`, conv(`${name}.conv2`, y, bottleneck ? stride : 1));
      if (bottleneck) y = norm(`${name}.bn3`, conv(`${name}.conv3`, y.relu()));
      const down = `${name}.downsample`;
      const skip = `${down}.0.weight` in state
        ? norm(`${down}.1`, conv(`${down}.0`, x, stride))
        : x;
      x = y.add(skip).relu();
    }
  });
  return head("fc", x);
}

cleanTest("models.resnet18 and resnet50 compute what their layers do", () =>
  noGrad(() => {
    const x = randn([2, 3, 33, 40]);
    const plain = used(models.resnet18({ classes: 7 }));
    alike(plain.forward(x), resnetByHand(plain.stateDict(), x, [2, 2, 2, 2], false));
    const small = used(models.resnet18({ classes: 7, smallImages: true, channels: 1 }));
    const y = randn([2, 1, 9, 8]);
    alike(small.forward(y), resnetByHand(small.stateDict(), y, [2, 2, 2, 2], true));
    const deep = used(models.resnet50({ classes: 7 }));
    alike(deep.forward(x), resnetByHand(deep.stateDict(), x, [3, 4, 6, 3], false));
  }));

cleanTest("models.mobilenetV2 computes what its layers do", () =>
  noGrad(() => {
    const model = used(models.mobilenetV2({ classes: 7 }));
    const { norm, conv, head } = layersOf(model.stateDict());
    const six = (x: Tensor) => x.clip(0, 6);
    const input = randn([2, 3, 40, 33]);
    let x = six(norm("features.0.1", conv("features.0.0", input, 2)));
    for (let i = 1; i <= 17; i++) {
      const name = `features.${i}.conv`;
      const stride = [2, 4, 7, 14].includes(i) ? 2 : 1;
      let y = x;
      if (i > 1) y = six(norm(`${name}.0.1`, conv(`${name}.0.0`, y)));
      const next = i > 1 ? 1 : 0;
      y = six(norm(`${name}.${next}.1`, conv(`${name}.${next}.0`, y, stride, y.shape[1])));
      y = norm(`${name}.${next + 2}`, conv(`${name}.${next + 1}`, y));
      x = stride === 1 && x.shape[1] === y.shape[1] ? x.add(y) : y;
    }
    x = six(norm("features.18.1", conv("features.18.0", x)));
    alike(model.forward(input), head("classifier.1", x));
  }));

cleanTest("models.unet joins what was there at each size, of odd sizes too", () =>
  noGrad(() => {
    const model = used(models.unet({ channels: 1, classes: 3, widths: [2, 3, 4] }));
    const state = model.stateDict();
    const { norm, conv } = layersOf(state);
    const two = (name: string, x: Tensor) => {
      const y = norm(`${name}.double_conv.1`, conv(`${name}.double_conv.0`, x)).relu();
      return norm(`${name}.double_conv.4`, conv(`${name}.double_conv.3`, y)).relu();
    };
    const half = (x: Tensor) => maxPool2d(x, { kernelSize: 2 });
    const input = randn([2, 1, 7, 6]);
    const first = two("inc", input);
    const second = two("down1.maxpool_conv.1", half(first));
    const third = two("down2.maxpool_conv.1", half(second));
    // Each pixel of x becomes two by two, by one product.
    const doubled = (name: string, x: Tensor, like: Tensor) => {
      const [n, c, h, w] = x.shape as [number, number, number, number];
      const weight = state[`${name}.weight`]!;
      const out = weight.shape[1]!;
      const y = x.permute([0, 2, 3, 1]).reshape([n * h * w, c]).matmul(weight.reshape([c, out * 4]))
        .reshape([n, h, w, out, 2, 2]).permute([0, 3, 1, 4, 2, 5]).reshape([n, out, 2 * h, 2 * w])
        .add(state[`${name}.bias`]!.reshape([1, out, 1, 1]));
      const missing = [like.shape[2]! - 2 * h, like.shape[3]! - 2 * w] as const;
      return y.pad([[0, 0], [0, 0], [0, missing[0]], [0, missing[1]]]);
    };
    const join = (a: Tensor, b: Tensor) => concat([a, b], 1);
    let x = two("up1.conv", join(second, doubled("up1.up", third, second)));
    x = two("up2.conv", join(first, doubled("up2.up", x, first)));
    alike(model.forward(input), conv("outc.conv", x));
  }));

cleanTest("models of images learn, on scores and on pixels", () => {
  const small = { classes: 3, channels: 1 };
  const made: [nn.Module, number[]][] = [
    [models.lenet5({ classes: 3, activation: "tanh" }), [2, 1, 28, 28]],
    [models.lenet5({ imageSize: 32, channels: 3 }), [2, 3, 32, 32]],
    [models.resnet18({ ...small, smallImages: true }), [2, 1, 8, 8]],
    [models.mobilenetV2({ ...small, widthMult: 0.25, dropout: 0 }), [4, 1, 32, 32]],
    [models.squeezenet({ ...small, version: "1.1", dropout: 0 }), [2, 1, 24, 24]],
    [models.unet({ ...small, widths: [2, 4] }), [2, 1, 6, 6]],
  ];
  for (const [model, shape] of made) {
    later(model).forward(randn(shape)).pow(2).sum().backward();
    for (const [name, x] of model.namedParameters()) assert(x.grad, `${model}: ${name}`);
    model.zeroGrad();
  }
});

cleanTest("models.lenet5 reads most digits after an epoch of a part of MNIST", async () => {
  const dir = new URL("examples/data/mnist_subset", root).pathname;
  const { train, test } = await data.mnist({ dir, verify: false });
  [train, test].forEach(later);
  const model = later(models.lenet5());
  const optimizer = later(new optim.AdamW(model.parameters(), { lr: 0.004 }));
  const loss = new nn.CrossEntropyLoss();
  const trainer = new Trainer(model, { loss, optimizer, metrics: ["accuracy"] });
  await trainer.fit(train, { batchSize: 50, callbacks: [] });
  const { accuracy } = await trainer.evaluate(test);
  assert(accuracy! > 0.8, `${accuracy}`);
});

cleanTest("models of images refuse options that they cannot have", () => {
  const wrong = (fn: () => unknown, ...parts: string[]) => refuse(fn, ArgumentError, ...parts);
  wrong(() => models.resnet18({ classes: 0 }), "resnet18: classes is 0", "at least 1");
  wrong(() => models.resnet50({ smallImages: 1 as unknown as boolean }), "true or false");
  wrong(
    () => models.vgg11({ norm: true } as object),
    "vgg11: there is no option norm",
    "batchNorm",
  );
  wrong(() => models.squeezenet({ version: "1_1" as "1.1" }), '"1_1"', "1.0, 1.1");
  wrong(() => models.mobilenetV2({ widthMult: 0, classes: 2 }), "widthMult is 0", "above 0");
  wrong(() => models.lenet5({ imageSize: 30 as 28 }), "imageSize is 30", "28 or 32");
  wrong(() => models.unet({ widths: [] }), "widths", "[64, 128]");
  wrong(() => models.alexnet({ dropout: 2, classes: 2 }), "Dropout: p is 2");
});

const { Conv2d, BatchNorm2d, ReLU, Identity, Sequential } = nn;
const native = ["cdn_conv2d", "cdn_relu", "cdn_batch_norm"];

cleanTest(
  "foldBatchNorm: what Sequential has in pairs becomes one convolution",
  () =>
    noGrad(() => {
      const convolutions = [
        new Conv2d(3, 4, 3, { padding: 1, stride: 2 }),
        new Conv2d(4, 4, 3, { groups: 2, bias: false, paddingMode: "reflect", padding: 1 }),
      ];
      const norms = [new BatchNorm2d(4, { eps: 0.1 }), new BatchNorm2d(4, { affine: false })];
      const model = used(
        new Sequential(convolutions[0]!, norms[0]!, new ReLU(), convolutions[1]!, norms[1]!),
      );
      const x = randn([2, 3, 9, 9]);
      const ran = () => nativeCalls(native, () => void model.forward(x)).map(({ name }) => name);
      const [convolved, , normed] = native;
      assertEquals(ran(), [convolved, normed, convolved, normed]); // relu goes with the norm
      const before = model.forward(x);
      assertEquals(nn.foldBatchNorm(model.train()), model);
      alike(model.forward(x), before);
      assertEquals(model.entries().map(([, module]) => module.describe()), [
        "Conv2d(3, 4, 3, { padding: 1, stride: 2 })",
        "Identity",
        "ReLU",
        'Conv2d(4, 4, 3, { groups: 2, paddingMode: "reflect", padding: 1 })',
        "Identity",
      ]);
      assertEquals(Object.keys(model.stateDict()), ["0.weight", "0.bias", "3.weight", "3.bias"]);
      assert(!model.training && convolutions[1]!.bias!.requiresGrad);
      assertEquals(ran(), [convolved, convolved]); // with the activation
      nn.foldBatchNorm(model); // nothing is left to fold
      alike(model.forward(x), before);
    }),
);

cleanTest("foldBatchNorm: the models compute the same", () =>
  noGrad(() => {
    const x = randn([2, 3, 32, 32]);
    const all: nn.Module[] = [
      models.resnet18({ classes: 7 }),
      models.resnet50({ classes: 7, smallImages: true }),
      models.mobilenetV2({ classes: 7 }),
      models.unet({ widths: [4, 8, 8] }),
    ];
    for (const model of all) {
      const before = used(model).forward(x);
      alike(nn.foldBatchNorm(model).forward(x), before);
      assert(!/BatchNorm/.test(`${model}`), `${model}`);
    }
    const [wide] = [later(models.resnet18({ dtype: "bfloat16", classes: 2, smallImages: true }))];
    assertEquals(nn.foldBatchNorm(wide!).stateDict()["conv1.bias"]!.dtype, "bfloat16");
  }));

cleanTest("foldBatchNorm leaves what it cannot fold", () =>
  noGrad(() => {
    const conv = new Conv2d(2, 2, 1);
    const norm = () => new BatchNorm2d(2);
    class Doubled extends Conv2d {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    // Uses what the convolution gave before its norm, too.
    class Dense extends Sequential {
      override forward(x: Tensor): Tensor {
        const [y, ...others] = this.entries().map(([, module]) => x = module.forward(x));
        return others.reduce((sum, other) => sum.add(other), y!);
      }
    }
    const model = used(
      new Sequential(
        new Dense(new Conv2d(2, 2, 1), norm()),
        ...[conv, norm(), new ReLU(), conv, norm()], // used twice
        ...[new Conv2d(2, 2, 1), new BatchNorm2d(2, { trackRunningStats: false })],
        ...[new Doubled(2, 2, 1), norm(), new ReLU(), norm()],
      ),
    );
    const keys = Object.keys(model.stateDict());
    const x = randn([2, 2, 3, 3]);
    const before = model.forward(x);
    alike(nn.foldBatchNorm(model).forward(x), before);
    assertEquals(Object.keys(model.stateDict()), keys);
    refuse(() => nn.foldBatchNorm(nn.ReLU as unknown as nn.ReLU), ArgumentError, "new ReLU(…)");
  }));

cleanTest("Sequential takes modules by name, and others in their places", () => {
  const model = later(
    new Sequential({ first: new nn.Linear(2, 3), none: undefined, act: new ReLU() }),
  );
  assertEquals(Object.keys(model.stateDict()), ["first.weight", "first.bias"]);
  assertEquals(model.forward(zeros([1, 2])).shape, [1, 3]);
  const before = model.replace("act", later(new nn.Linear(3, 4)));
  assert(before instanceof ReLU);
  assertEquals(model.forward(zeros([1, 2])).shape, [1, 4]);
  const listed = new Sequential(new Identity(), new ReLU());
  listed.replace(1, new Identity());
  assertEquals([...listed.forward(tensor([-1])).dataSync()], [-1]);
  refuse(() => model.forward(zeros([1, 3])), ShapeError, "first: Linear(2, 3): linear");
  refuse(() => model.replace("fc", new ReLU()), ArgumentError, '"fc"', "first, act");
  refuse(() => model.replace("act", ReLU as unknown as nn.Module), ArgumentError, "new ReLU(…)");
  refuse(() => new Sequential({ "a.b": new ReLU() }), ArgumentError, '"a.b"', "no dot");
  refuse(() => new Sequential(new Map() as unknown as nn.Module), ArgumentError, "a Map");
});

cleanTest("ReLU6 cuts off at 6, and passes gradients between", () => {
  const x = tensor([-1, 3, 7], { requiresGrad: true });
  const y = new nn.ReLU6().forward(x);
  assertEquals([...y.dataSync()], [0, 3, 6]);
  y.sum().backward();
  assertEquals([...x.grad!.dataSync()], [0, 1, 0]);
});
