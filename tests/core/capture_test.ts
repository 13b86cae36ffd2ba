// Steps that are captured: the same numbers as without, to the last bit; what they hold and free;
// and what they refuse. Operation by operation: tests/ops/capture_test.ts.
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  ArgumentError,
  autocast,
  capture,
  type Captured,
  checkpoint,
  clipGradNorm,
  customGradient,
  type DeviceName,
  devices,
  DisposedError,
  gatherRows,
  grad,
  init,
  keep,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  scaledDotProductAttention,
  scope,
  Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest, later, modUrl, program, refuse } from "../_helpers.ts";

const names = devices().map(({ device }) => device);
const [usual] = names;

/** A test on each device, which new tensors and layers are on by default. */
function test(name: string, fn: (device: DeviceName) => void) {
  for (const device of names) {
    cleanTest(`capture: ${name} (${device})`, () => {
      init({ device });
      try {
        fn(device);
      } finally {
        init({ device: usual });
      }
    });
  }
}

// deno-lint-ignore no-explicit-any -- steps of any inputs
type Step = (...inputs: any[]) => unknown;

interface Built {
  step: Step;
  /** Inputs of call i; default: images and their classes. */
  make?: (i: number) => unknown[];
  before?: (i: number, step: Step) => void;
  after?: (i: number, step: Step) => void;
  /** What is to be the same in the end too. */
  params?: () => readonly Tensor[];
}

const images = () => [rand([8, 3, 8, 8]), randint(0, 5, [8])];
const rows = () => [rand([8, 7, 6]), randint(0, 5, [8])];

function tensorsOf(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(tensorsOf) : [];
}

const bitsOf = (x: Tensor) => `${x.dtype} [${x.shape}] ${new Uint8Array(x.dataSync().buffer)}`;

// What each call gives, and what is there in the end.
function outcome(build: () => Built, calls: number, captured: boolean): string[][] {
  manualSeed(3);
  const { step, make = images, before, after, params } = build();
  const run: Step & Partial<Captured<unknown[], unknown>> = captured ? capture(step) : step;
  const seen: string[][] = [];
  for (let i = 0; i < calls; i++) {
    scope(() => {
      const inputs = make(i);
      before?.(i, run);
      seen.push(tensorsOf(run(...inputs)).map(bitsOf));
      after?.(i, run);
    });
  }
  seen.push(params?.().map(bitsOf) ?? []);
  if (captured) assert(run.captured, "it was captured");
  run.dispose?.();
  return seen;
}

function same(build: () => Built, calls = 10): void {
  const [eager, captured] = [false, true].map((captured) => outcome(build, calls, captured));
  assert(new Set(eager!.map(String)).size > calls / 2, "numbers change from call to call");
  eager!.forEach((wanted, i) => assertEquals(captured![i], wanted, `call ${i}`));
}

const lossOf = new nn.CrossEntropyLoss();

function conv() {
  return later(
    new nn.Sequential(
      new nn.Conv2d(3, 8, { kernelSize: 3, padding: 1 }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(128, 5),
    ),
  );
}

interface Options {
  optimizer?: (params: Tensor[]) => optim.Optimizer;
  loss?: (model: ReturnType<typeof conv>, x: Tensor, y: Tensor) => Tensor;
}

const sgd = (params: Tensor[]) => new optim.SGD(params, { lr: 0.01, momentum: 0.9 });

// A network, its optimizer, and a step with both.
function training({ optimizer: make = sgd, loss: of = classified }: Options = {}) {
  const model = conv(), optimizer = later(make(model.parameters()));
  const step = (x: Tensor, y: Tensor) => {
    optimizer.zeroGrad();
    const loss = of(model, x, y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  return {
    model,
    optimizer,
    step,
    params: () => [...model.parameters(), ...Object.values(model.stateDict())],
  };
}

function classified(model: ReturnType<typeof conv>, x: Tensor, y: Tensor): Tensor {
  return lossOf.forward(model.forward(x), y);
}

// The same of layers that give features of sequences.
function sequences(
  layer: nn.Module & { parameters(): Tensor[] },
  features: (x: Tensor) => Tensor,
  width: number,
  optimizers: (layer: Tensor[], head: Tensor[]) => optim.Optimizer[],
): Built {
  later(layer);
  const head = later(new nn.Linear(width, 5));
  const all = optimizers(layer.parameters(), head.parameters()).map(later);
  return {
    make: rows,
    params: () => [...layer.parameters(), ...head.parameters()],
    step: (x: Tensor, y: Tensor) => {
      for (const optimizer of all) optimizer.zeroGrad();
      const loss = lossOf.forward(head.forward(features(x).mean(1)), y);
      loss.backward();
      for (const optimizer of all) optimizer.step();
      return loss;
    },
  };
}

// ---- the same numbers

const builds: Record<string, () => Built> = {
  "a convolution with BatchNorm, Adam, EMA and clipping": () => {
    const { model, optimizer, params } = training({
      optimizer: (p) => new optim.Adam(p, { lr: 0.01 }),
    });
    const ema = later(new optim.EMA(model, { decay: 0.9 }));
    return {
      params: () => [...params(), ...Object.values(ema.stateDict().tensors)],
      after: (i) => assertEquals(ema.updates, i + 1),
      step: (x, y) => {
        optimizer.zeroGrad();
        const loss = classified(model, x, y);
        loss.backward();
        const norm = clipGradNorm(model.parameters(), 0.5);
        optimizer.step();
        ema.update();
        return { loss, norm };
      },
    };
  },
  "autocast float16 with GradScaler, and an overflow in the middle": () => {
    const { model, optimizer, params } = training();
    const scaler = later(new optim.GradScaler({ growthInterval: 3 }));
    const scales: number[] = [];
    return {
      params,
      make: (i) => {
        const [x, y] = images();
        return [i === 6 ? x!.mul(1e30) : x, y];
      },
      after: (i) => {
        scales.push(scaler.stateDict().scale);
        if (i === 6) assert(scales[6]! < scales[5]!, "the scale goes down");
        if (i === 9) assert(scales[9]! > scales[6]!, "and up again");
      },
      step: (x, y) => {
        optimizer.zeroGrad();
        const loss = autocast("float16", () => classified(model, x, y));
        scaler.scale(loss).backward();
        scaler.step(optimizer);
        scaler.update();
        return loss;
      },
    };
  },
  "autocast bfloat16": () =>
    training({ loss: (model, x, y) => autocast("bfloat16", () => classified(model, x, y)) }),
  "channelsLast": () =>
    training({ loss: (model, x, y) => classified(model, x.to({ format: "channelsLast" }), y) }),
  "inputs in channelsLast": () => ({
    ...training(),
    make: () => images().map((x) => x.rank === 4 ? x.to({ format: "channelsLast" }) : x),
  }),
  "zeroGrad() outside, after the step": () => {
    const { model, optimizer, params } = training();
    return {
      params,
      after: () => (optimizer.step(), optimizer.zeroGrad()),
      step: (x, y) => {
        const loss = classified(model, x, y);
        loss.backward();
        return loss;
      },
    };
  },
  "zeroGrad() outside, before the step": () => {
    const { model, optimizer, params } = training();
    return {
      params,
      before: () => optimizer.zeroGrad(),
      step: (x, y) => {
        const loss = classified(model, x, y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  "zeroGrad() at the end": () => {
    const { model, optimizer, params } = training();
    return {
      params,
      after: () => assertEquals(model.parameters().map(({ grad }) => grad).filter(Boolean), []),
      step: (x, y) => {
        const loss = classified(model, x, y);
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return loss;
      },
    };
  },
  "gradients that add up": () => {
    const { model, optimizer } = training();
    return {
      params: () => model.parameters().flatMap((p) => [p, p.grad!]),
      step: (x, y) => {
        const loss = classified(model, x, y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  "gradients of two halves that add up": () => {
    const { model, optimizer, params } = training();
    return {
      params,
      step: (x, y) => {
        optimizer.zeroGrad();
        const losses = [0, 4].map((at) => {
          const loss = classified(model, x.slice(0, at, at + 4), y.slice(0, at, at + 4)).mul(0.5);
          loss.backward();
          return loss;
        });
        optimizer.step();
        return losses[0]!.add(losses[1]!);
      },
    };
  },
  "setToNone: false": () => {
    const { model, optimizer, params } = training();
    return {
      params,
      step: (x, y) => {
        optimizer.zeroGrad({ setToNone: false });
        const loss = classified(model, x, y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  "an LSTM of two layers with dropout": () => {
    const layer = new nn.LSTM(6, 10, { numLayers: 2, batchFirst: true, dropout: 0.2 });
    const of = (x: Tensor) => layer.forward(x);
    return sequences(layer, of, 10, (a, b) => [new optim.RMSprop([...a, ...b], { lr: 0.01 })]);
  },
  "a GRU with Muon and NAdam": () => {
    const layer = new nn.GRU(6, 10, { batchFirst: true });
    const of = (x: Tensor) => layer.forward(x);
    return sequences(layer, of, 10, (a, b) => {
      const matrix = ({ rank }: Tensor) => rank === 2;
      const others = [...a.filter((p) => !matrix(p)), ...b];
      return [new optim.Muon(a.filter(matrix), { lr: 0.01 }), new optim.NAdam(others)];
    });
  },
  "TransformerEncoderLayer": () => {
    const layer = new nn.TransformerEncoderLayer(6, 2, { feedForward: 16 });
    const of = (x: Tensor) => layer.forward(x);
    return sequences(layer, of, 6, (a, b) => [new optim.AdamW([...a, ...b], { lr: 0.01 })]);
  },
  "checkpoint() with dropout": () => {
    const [a, b] = [new nn.Linear(192, 32), new nn.Linear(32, 5)].map(later);
    const dropout = later(new nn.Dropout(0.5));
    const params = [...a!.parameters(), ...b!.parameters()];
    const optimizer = later(new optim.Adagrad(params));
    return {
      params: () => params,
      step: (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const hidden = (x: Tensor) => dropout.forward(a!.forward(x).relu());
        const loss = lossOf.forward(b!.forward(checkpoint(hidden, x.reshape([8, 192]))), y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  "rand(), and tensor() of constants": () =>
    training({
      loss: (model, x, y) =>
        classified(model, x.add(rand([8, 3, 8, 8]).mul(tensor([0.1, 2, -1]).max())), y),
    }),
  "attention with dropout": () => {
    const wide = later(new nn.Linear(6, 8)), head = later(new nn.Linear(8, 5));
    const params = [...wide.parameters(), ...head.parameters()];
    const optimizer = later(sgd(params));
    return {
      make: rows,
      params: () => params,
      step: (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const h = wide.forward(x);
        const seen = scaledDotProductAttention(h, h, h, { dropout: 0.3, causal: true });
        const loss = lossOf.forward(head.forward(seen.mean(1)), y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  "customGradient()": () => {
    const exp = customGradient(
      (x: Tensor) => {
        const y = x.exp();
        return { outputs: [y] as [Tensor], saved: { twice: y.mul(2) } };
      },
      ([gradient], { saved: { twice } }) => [gradient.mul(twice)],
    );
    return training({ loss: (model, x, y) => lossOf.forward(exp(model.forward(x))[0], y) });
  },
  "a gradient of a gradient, by a leaf of the step's own": () =>
    training({
      loss: (model, x, y) => {
        const own = x.detach();
        own.requiresGrad = true;
        const loss = classified(model, own, y);
        const [first] = grad(loss, [own], { createGraph: true });
        return loss.add(first!.mul(first!).sum());
      },
    }),
  "backward() to a leaf of the step's own": () => ({
    make: () => [rand([3])],
    step: (x: Tensor) => {
      const own = x.clone();
      own.requiresGrad = true;
      own.mul(own).sum().backward();
      return own.grad!.add(1);
    },
  }),
  "several outputs, and one of them twice": () => {
    const { model, params } = training();
    return {
      params,
      step: (x, y) => {
        const logits = model.forward(x), loss = lossOf.forward(logits, y);
        return [loss, { logits, deep: [loss, logits.argmax(1)], text: "as it is" }];
      },
    };
  },
  "structures as inputs": () => ({
    make: () => [{ image: rand([2, 3]), more: [rand([3]), { scale: 3 }] }, "text", null],
    step: (
      { image, more: [bias, { scale }] }: { image: Tensor; more: [Tensor, { scale: number }] },
      text: string,
    ) => ({ y: image.mul(scale).add(bias), text }),
  }),
  "uint8 and int32 inputs, and an empty one": () => ({
    make: () => [randint(0, 256, [5, 4]).to("uint8"), randint(0, 5, [5]), zeros([0, 4])],
    step: (x: Tensor, index: Tensor, none: Tensor) => [
      gatherRows(x.to("float32").mul(0.5), index),
      x,
      none.sum(),
    ],
  }),
  "a parameter as an input": () => {
    const { model, params } = training();
    const [weight] = model.parameters();
    return {
      params,
      make: () => [...images(), weight],
      step: (x: Tensor, _: Tensor, weight: Tensor) => [x.mean().mul(weight), weight],
    };
  },
  "learning rates that change between calls": () => {
    const built = training();
    return { ...built, before: (i) => built.optimizer.groups[0]!.lr = 0.01 * (1 + i % 4) };
  },
  "a momentum that changes between calls": () => {
    const built = training();
    return {
      ...built,
      before: (i) => (built.optimizer as optim.SGD).groups[0]!.momentum = 0.5 + i / 20,
    };
  },
  "a schedule that is stepped outside": () => {
    const built = training();
    const schedule = new optim.schedule.CosineAnnealingLR(built.optimizer, { tMax: 7 });
    return { ...built, after: () => schedule.step() };
  },
  "manualSeed() between calls": () => ({
    ...training({ loss: (model, x, y) => classified(model, x.add(rand([8, 3, 8, 8])), y) }),
    before: (i) => i % 3 === 2 && manualSeed(i),
  }),
  "random numbers that are drawn between calls": () => ({
    ...training({ loss: (model, x, y) => classified(model, x.add(rand([8, 3, 8, 8])), y) }),
    after: (i) => void rand([i + 1]),
  }),
  "two steps in turns": () => {
    const [one, other] = [training({}), training({})];
    const noisy = (x: Tensor) => x.add(rand([8, 3, 8, 8]));
    const second = later(capture((x: Tensor, y: Tensor) => other.step(noisy(x), y)));
    return {
      params: () => [...one.params(), ...other.params()],
      after: () => second(...images() as [Tensor, Tensor]),
      step: (x, y) => one.step(noisy(x), y),
    };
  },
  "an evaluation": () => {
    const { model } = training();
    model.eval();
    return {
      step: (x, y) =>
        noGrad(() => {
          const logits = model.forward(x);
          return [logits, lossOf.forward(logits, y)];
        }),
    };
  },
  "a state that stays in its place, and is returned": () => {
    const state = later(zeros([3, 3]));
    return {
      make: () => [rand([3, 3])],
      params: () => [state],
      step: (x: Tensor) => state.copyFrom(state.mul(0.5).add(x)),
    };
  },
  "an input that is changed in place": () => ({
    make: () => [rand([3]), rand([3])],
    step: (x: Tensor, y: Tensor) => {
      x.copyFrom(x.add(y));
      return x.mul(2);
    },
  }),
};
for (const [name, build] of Object.entries(builds)) test(name, () => same(build));

const optimizers: Record<string, (params: Tensor[]) => optim.Optimizer> = {
  SGD: (p) => new optim.SGD(p, { lr: 0.01 }),
  "SGD with all": (p) =>
    new optim.SGD(p, { lr: 0.01, momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
  Adam: (p) => new optim.Adam(p, { amsgrad: true, weightDecay: 0.1 }),
  AdamW: (p) => new optim.AdamW(p),
  NAdam: (p) => new optim.NAdam(p),
  RMSprop: (p) => new optim.RMSprop(p, { momentum: 0.5, weightDecay: 0.1 }),
  Adagrad: (p) => new optim.Adagrad(p, { lrDecay: 0.1 }),
  Muon: (p) => new optim.Muon(p.filter(({ rank }) => rank === 2)),
  "groups of Adam": (p) =>
    new optim.Adam([{ params: p.slice(0, 2), lr: 0.1 }, { params: p.slice(2) }]),
};
for (const [name, make] of Object.entries(optimizers)) {
  test(`${name} takes the same steps`, () => {
    same(() => {
      const model = later(
        new nn.Sequential(new nn.Linear(6, 4), new nn.Tanh(), new nn.Linear(4, 5)),
      );
      const optimizer = later(make(model.parameters()));
      const others = new Set(
        model.parameters().filter((p) =>
          !optimizer.groups.some(({ params }) => params.includes(p))
        ),
      );
      for (const p of others) p.requiresGrad = false;
      return {
        make: () => [rand([4, 6]), randint(0, 5, [4])],
        params: () => [...model.parameters(), ...tensorsOf(optimizer.stateDict())],
        step: (x: Tensor, y: Tensor) => {
          optimizer.zeroGrad();
          const loss = lossOf.forward(model.forward(x), y);
          loss.backward();
          optimizer.step();
          return loss;
        },
      };
    });
  });
}

test("repeat(n) is n calls with the same inputs", () => {
  for (const times of [0, 1, 7, 40]) {
    const [wanted, found] = [false, true].map((repeated) => {
      manualSeed(3);
      const { step, params } = training({
        loss: (model, x, y) => classified(model, x.add(rand([8, 3, 8, 8])), y),
        optimizer: (p) => new optim.Adam(p),
      });
      using run = capture(step);
      const inputs = images() as [Tensor, Tensor];
      let loss = run(...inputs);
      if (repeated) run.repeat(times);
      else for (let i = 0; i < times; i++) loss = run(...inputs);
      // What the first call returned is not the program's yet.
      if (repeated) loss = run(...inputs);
      else loss = run(...inputs);
      return [loss, rand([2]), ...params()].map(bitsOf);
    });
    assertEquals(found, wanted, `${times} times`);
  }
});

// ---- what is returned, and memory

test("a result is overwritten by the next call, and by repeat()", () => {
  using double = capture((x: Tensor) => x.mul(2));
  const results = [1, 2, 3, 4, 5].map((i) => double(tensor([i])));
  assert(double.captured);
  // The first has memory of its own; from the second on, when it was captured, they share it.
  assertEquals(results.map((y) => y.itemSync()), [2, 10, 10, 10, 10]);
  const kept = results[4]!.clone();
  double(tensor([7]));
  assertEquals([results[4]!.itemSync(), kept.itemSync()], [14, 10]);
  double.repeat(3);
  assertEquals(results[4]!.itemSync(), 14);
  results[3]!.dispose();
  assertEquals(double(tensor([8])).itemSync(), 16);
});

test("inputs, parameters and states that are returned stay", () => {
  const weight = later(tensor([2], { requiresGrad: true })), state = later(tensor([3]));
  using run = capture((x: Tensor) => ({ x, weight, state, parts: [x.reshape([1, 1])] }));
  for (let i = 0; i < 5; i++) {
    const found = run(tensor([i]));
    assertEquals(tensorsOf(found).map((y) => y.itemSync()), [i, 2, 3, i]);
    for (const y of tensorsOf(found)) y.dispose();
    assert(!weight.disposed && !state.disposed);
  }
});

test("results can be differentiated no further", () => {
  const weight = later(tensor([2], { requiresGrad: true }));
  using run = capture((x: Tensor) => x.mul(weight));
  for (let i = 0; i < 4; i++) assert(!run(tensor([i])).requiresGrad);
});

const live = (device: DeviceName) => {
  const { live, tensors } = memory(device);
  return { live, tensors };
};

test("dispose() frees all", (device) => {
  const built = training(); // with what it makes at its first step
  scope(() => built.step(...images() as [Tensor, Tensor]));
  built.optimizer.zeroGrad();
  const before = live(device);
  for (const calls of [0, 1, 2, 5]) {
    const run = capture(built.step);
    scope(() => {
      for (let i = 0; i < calls; i++) run(...images() as [Tensor, Tensor]);
    });
    run.dispose();
    run.dispose();
    built.optimizer.zeroGrad();
    assertEquals(live(device), before, `after ${calls} calls`);
  }
});

test("200 replays take no more memory", (device) => {
  const { step } = training();
  using run = capture(step);
  let before: unknown;
  for (let i = 0; i < 204; i++) {
    scope(() => void run(...images() as [Tensor, Tensor]));
    if (i === 3) before = live(device);
  }
  assertEquals(live(device), before);
});

test("inside scope(), which does not free what the step holds", () => {
  let run: Captured<[Tensor], Tensor> | undefined;
  scope(() => {
    run = capture((x: Tensor) => x.mul(2).add(1));
    for (let i = 0; i < 4; i++) run(tensor([i]));
  });
  assert(run!.captured);
  for (let i = 0; i < 4; i++) assertEquals(run!(tensor([i])).itemSync(), 2 * i + 1);
  run!.dispose();
});

test("once disposed of, it begins anew", () => {
  const run = capture((x: Tensor) => x.mul(2));
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 4; i++) assertEquals(run(tensor([i])).itemSync(), 2 * i);
    assert(run.captured);
    run.dispose();
    assert(!run.captured);
  }
  const other = capture((x: Tensor) => x.mul(2));
  refuse(() => other.repeat(1), ArgumentError, "call the step before repeat()");
  refuse(() => other.repeat(-1), ArgumentError, "times");
  // @ts-expect-error a function is wanted
  refuse(() => capture(5), ArgumentError, "fn");
});

test("operations between two steps are none of its business", () => {
  const column = rand([2, 1]);
  const scaled = (x: Tensor) => x.mul(column).transpose(0, 1).add(0.5);
  const step = capture(scaled);
  for (let i = 1; i < 8; i++) {
    const x = rand([2, 3]);
    // of more axes, and other ones each time
    rand([2, 3, i, 1, 3 + i]).mul(rand([1, 3, 1, 2, 1]));
    assertEquals(step(x).dataSync(), scaled(x).dataSync());
  }
  assert(step.captured);
  step.dispose();
  column.dispose();
});

for (const device of names) {
  Deno.test(`capture: in a Worker while the main thread trains (${device})`, async () => {
    const source = `import * as m from ${JSON.stringify(modUrl)};
m.init({ device: ${JSON.stringify(device)}, seed: 5 });
export function train() {
  m.manualSeed(5);
  const { Dropout, Linear, Sequential } = m.nn;
  const model = new Sequential(new Linear(6, 16), new Dropout(0.3), new Linear(16, 3));
  const optimizer = new m.optim.Adam(model.parameters()), lossOf = new m.nn.CrossEntropyLoss();
  const step = m.capture((x, y) => {
    optimizer.zeroGrad();
    const loss = lossOf.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  const losses = [];
  for (let i = 0; i < 300; i++) {
    m.scope(() => losses.push(step(m.rand([9, 6]), m.randint(0, 3, [9])).itemSync()));
  }
  step.dispose();
  return losses;
}`;
    const { code, out, err } = await program(
      `const source = ${JSON.stringify(source)};
const url = (text) => "data:application/javascript," + encodeURIComponent(text);
const answers = [0, 1].map(() => new Promise((resolve) => {
  const worker = new Worker(url(source + "postMessage(train());"), { type: "module" });
  worker.onmessage = ({ data }) => (worker.terminate(), resolve(data));
}));
const { train } = await import(url(source));
const own = train();
for (const losses of await Promise.all(answers)) {
  console.log(losses.length, losses.every((x, i) => Object.is(x, own[i])));
}`,
      { flags: ["-A"] },
    );
    assertEquals([code, out], [0, "300 true\n300 true\n"], err);
  });
}

// ---- what is refused

const x3 = () => tensor([1, 2, 3]);

// Calls until one throws, which must be an ArgumentError that says these.
function refused(fn: Step, make: () => unknown[], ...parts: string[]): void {
  const run = capture(fn);
  refuse(
    () => {
      for (let i = 0; i < 6; i++) run(...make());
    },
    ArgumentError,
    "capture: ",
    ...parts,
  );
  run.dispose();
}

let counter = 0;
const refusals: Record<string, [fn: Step, make: () => unknown[], ...parts: string[]]> = {
  "item() within": [(x) => x.mul(x.sum().itemSync()), () => [x3()], "reads a tensor on the host"],
  "data() within": [
    (x) => (x.data().catch(() => {}), x.mul(2)),
    () => [x3()],
    "reads a tensor on the host",
    "return the tensor, and read it outside",
  ],
  "Math.random()": [
    (x) => x.mul(Math.random()),
    () => [x3()],
    "Math.random() would be drawn while the step is recorded only",
  ],
  "a tensor of a counter": [
    (x) => x.mul(tensor([counter++])),
    () => [x3()],
    "has another source than the time before: numbers that JavaScript makes anew each time",
    "pass them as a tensor, or draw them by rand()",
  ],
  "a counter": [
    (x) => x.mul(counter++),
    () => [x3()],
    "mul, operation 1, has another scalar than the time before: ",
    "A number that changes must be a tensor",
  ],
  "another order of operations": [
    (x) => counter++ % 2 ? x.exp().abs() : x.abs().exp(),
    () => [x3()],
    "operation 1 is ",
    "what JavaScript decides must be decided alike each time",
  ],
  "more operations each time": [
    (x) => {
      let y = x.abs();
      for (let i = counter++ % 7; i >= 0; i--) y = y.abs();
      return y;
    },
    () => [x3()],
    "the time before",
  ],
  "a shape of its own that changes": [(x) => x.sum().add(zeros([counter++ % 5 + 1])), () => [
    x3(),
  ], "the time before"],
  "an async function": [
    // deno-lint-ignore require-await
    async (x) => x.mul(2),
    () => [x3()],
    "the function is async; what is captured must not wait",
  ],
  "copyFromAsync() within": [
    (x) => void x.copyFromAsync(new Float32Array(3)).catch(() => {}),
    () => [x3()],
    "brings data from the host beside the computation",
  ],
  "manualSeed() within": [(x) => (manualSeed(1), x.add(rand([3]))), () => [x3()], "manualSeed()"],
};
for (const [name, [fn, make, ...parts]] of Object.entries(refusals)) {
  test(`refuses ${name}`, () => refused(fn, make, ...parts));
}

test("refuses a state that is replaced", () => {
  let state = later(zeros([3]));
  refused(
    (x: Tensor) => void (state = later(keep(state.add(x)))),
    () => [x3()],
    "another tensor each time. A state that goes on from step to step must stay in its place",
    "state.copyFrom(next), not state = next",
  );
});

test("refuses a schedule's step within, and a step within a step", () => {
  const { step, optimizer } = training();
  const schedule = new optim.schedule.StepLR(optimizer, { stepSize: 2 });
  refused(
    (x, y) => {
      const loss = step(x, y);
      schedule.step();
      return loss;
    },
    images,
    "a schedule's step() would run while the step is recorded only; call it after the step",
  );
  const inner = capture((x: Tensor) => x.mul(2));
  refused((x) => inner(x), () => [x3()], "a step is being captured already");
  inner.dispose();
});

test("after a refusal tensors are read again, and other steps are captured", () => {
  refused((x) => x.mul(x.sum().itemSync()), () => [x3()], "reads");
  assertEquals(x3().sum().itemSync(), 6);
  using run = capture((x: Tensor) => x.mul(2));
  for (let i = 0; i < 4; i++) assertEquals([...run(x3()).dataSync()], [2, 4, 6]);
});

test("an error of the function itself passes through, and captures nothing", () => {
  let fail = true;
  using run = capture((x: Tensor) => {
    const y = x.mul(2);
    if (fail) throw new TypeError("stop");
    return y;
  });
  refuse(() => run(x3()), TypeError, "stop");
  fail = false;
  for (let i = 0; i < 4; i++) assertEquals([...run(x3()).dataSync()], [2, 4, 6]);
  assert(run.captured);
});

test("refuses inputs that are not as before", () => {
  const cases: [change: unknown[], ...parts: string[]][] = [
    [[zeros([4]), 1, [zeros([1])]], "input[0] is float32 [4], and was float32 [3]", "one shape"],
    [[zeros([3], { dtype: "int32" }), 1, [zeros([1])]], "input[0] is int32 [3]"],
    [[zeros([3]), 2, [zeros([1])]], "input[1] is not what it was the time before"],
    [[zeros([3]), 1, [5]], "input[2][0] is not what it was"],
    [[5, 1, [zeros([1])]], "input[0] is not what it was"],
    [[zeros([3])], "1 inputs were given, and 3 the time before"],
    [[zeros([3]), 1, [zeros([1]), zeros([1])]], "4 inputs were given"],
    [[zeros([3], { requiresGrad: true }), 1, [zeros([1])]], "input[0] is not what it was"],
  ];
  for (const calls of [1, 2, 4]) {
    using run = capture((x: unknown, factor: unknown, [bias]: unknown[]) =>
      (x as Tensor).mul(factor as number).add(bias as Tensor)
    );
    for (let i = 0; i < calls; i++) run(x3(), 1, [zeros([1])]);
    for (const [change, ...parts] of cases) {
      refuse(() => run(...change as [unknown, unknown, unknown[]]), ArgumentError, ...parts);
    }
    assertEquals([...(run(x3(), 1, [zeros([1])]) as Tensor).dataSync()], [1, 2, 3], "goes on");
  }
});

// Changes something between calls of a captured step, which the next call must refuse.
function stale(change: (built: ReturnType<typeof training>) => void, ...parts: string[]): void {
  const built = training();
  const { model, optimizer, params } = built;
  using run = capture((x: Tensor, y: Tensor) => {
    const loss = classified(model, x, y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  for (let i = 0; i < 5; i++) run(...images() as [Tensor, Tensor]);
  assert(run.captured);
  change(built);
  const [before, inputs] = [params().filter((p) => !p.disposed).map(bitsOf), images()];
  refuse(() => run(...inputs as [Tensor, Tensor]), ArgumentError, ...parts);
  refuse(() => run.repeat(2), ArgumentError, ...parts);
  assertEquals(params().filter((p) => !p.disposed).map(bitsOf), before, "nothing was done");
}

const anew = "since the step was captured; capture it anew";
test("refuses where an option of the optimizer was changed", () =>
  stale(
    ({ optimizer }) => (optimizer as optim.SGD).groups[0]!.weightDecay = 0.5,
    "options or parameters of SGD were changed " + anew,
  ));
test("refuses where requiresGrad was changed", () =>
  stale(({ model }) => model.parameters()[0]!.requiresGrad = false, "requiresGrad", anew));
test("refuses where gradients were freed", () =>
  stale(
    ({ optimizer }) => optimizer.zeroGrad(),
    "gradients were freed, by zeroGrad() perhaps,",
    anew,
  ));

test("refuses where gradients came", () => {
  const { model, step, optimizer } = training();
  using run = capture((x: Tensor, y: Tensor) => {
    const loss = classified(model, x, y);
    loss.backward();
    optimizer.zeroGrad();
    return loss;
  });
  for (let i = 0; i < 5; i++) run(...images() as [Tensor, Tensor]);
  step(...images() as [Tensor, Tensor]);
  refuse(
    () => run(...images() as [Tensor, Tensor]),
    ArgumentError,
    "gradients came to parameters that had none, by a missing zeroGrad() perhaps,",
    anew,
  );
});

test("refuses where a tensor that it uses was disposed of", () => {
  const weight = x3();
  using run = capture((x: Tensor) => x.mul(weight));
  for (let i = 0; i < 4; i++) run(x3());
  weight.dispose();
  refuse(
    () => run(x3()),
    DisposedError,
    "capture: a tensor that the step uses was disposed of",
    "capture it anew",
  );
});

test("a tensor that a captured step left behind is written to again", () => {
  let left: Tensor | undefined;
  using run = capture((x: Tensor) => {
    const y = x.mul(3);
    left?.dispose();
    left = later(scope(() => y.add(1)));
    return y;
  });
  for (let i = 0; i < 5; i++) run(tensor([i]));
  assertStrictEquals(run.captured, true);
});
