import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  devices,
  grad,
  GradientError,
  memory,
  nn,
  optim,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";

const found = devices();

/** Runs a test on the default device and frees what it made. */
function test(name: string, fn: () => void) {
  Deno.test(`optim: ${name}`, () => scope(fn));
}

/** A parameter with a gradient, as if backward() had been called. */
function parameter(values: number[], grad?: number[], device = found[0]!.device): Tensor {
  const p = tensor(values, { dtype: "float64", device, requiresGrad: true });
  if (grad) p.grad = tensor(grad, { dtype: "float64", device });
  return p;
}

/** torch.optim.SGD's rule for one number, from its documentation. */
function reference(start: number, grads: number[], rule: optim.SGDOptions): number[] {
  const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = rule;
  let p = start;
  let velocity: number | undefined;
  return grads.map((grad) => {
    let g = grad + weightDecay * p;
    if (momentum !== 0) {
      velocity = velocity === undefined ? g : momentum * velocity + (1 - dampening) * g;
      g = nesterov ? g + momentum * velocity : velocity;
    }
    return p -= lr * g;
  });
}

test("three steps computed by hand", () => {
  // p = 1, g = 1, 2, -1; lr 0.5, momentum 0.5, weightDecay 0.1.
  // 1: g = 1.1, v = 1.1, p = 0.45   2: g = 2.045, v = 2.595, p = -0.8475
  // 3: g = -1.08475, v = 0.21275, p = -0.953875
  const p = parameter([1]);
  const optimizer = new optim.SGD([p], { lr: 0.5, momentum: 0.5, weightDecay: 0.1 });
  for (const [grad, wanted] of [[1, 0.45], [2, -0.8475], [-1, -0.953875]] as const) {
    p.grad = tensor([grad], { dtype: "float64" });
    optimizer.step();
    assertAlmostEquals(p.itemSync(), wanted, 1e-15);
  }
  optimizer.dispose();
});

for (const { device } of found) {
  test(`the rule holds for all options on ${device}`, () => {
    const grads = [0.3, -1.2, 0.7, 2.5, -0.1];
    for (const lr of [0.1, 0]) {
      for (const momentum of [0, 0.9]) {
        for (const dampening of [0, 0.5]) {
          for (const weightDecay of [0, 0.01]) {
            for (const nesterov of [false, true]) {
              if (nesterov && (momentum === 0 || dampening !== 0)) continue;
              const rule = { lr, momentum, dampening, weightDecay, nesterov };
              const p = parameter([2, -1], undefined, device);
              const optimizer = new optim.SGD([p], rule);
              const wanted = [reference(2, grads, rule), reference(-1, grads, rule)];
              grads.forEach((g, step) => {
                p.grad = tensor([g, g], { dtype: "float64", device });
                optimizer.step();
                p.dataSync().forEach((v, i) =>
                  assertAlmostEquals(v, wanted[i]![step]!, 1e-14, JSON.stringify({ rule, step }))
                );
              });
              optimizer.dispose();
            }
          }
        }
      }
    }
  });

  test(`a hundred small parameters of both dtypes change together on ${device}`, () => {
    const parameters = Array.from({ length: 200 }, (_, i) => {
      const dtype = i % 2 ? "float32" : "float64";
      const shape = [i % 7, 1 + i % 3]; // some are empty
      const p = zeros(shape, { dtype, device, requiresGrad: true }).fill(i);
      p.grad = zeros(shape, { dtype, device }).fill(1 + i % 5);
      return p;
    });
    const optimizer = new optim.SGD(parameters, { lr: 0.5, momentum: 0.5 });
    optimizer.step(); // v = g
    optimizer.step(); // v = 1.5 g
    parameters.forEach((p, i) => {
      assertEquals(new Set(p.dataSync()), new Set(p.size ? [i - 0.5 * 2.5 * (1 + i % 5)] : []));
    });
    optimizer.dispose();
  });
}

/** What console.warn says while fn runs. */
function warnings(fn: () => void): string[] {
  const { warn } = console;
  const said: string[] = [];
  console.warn = (text: string) => void said.push(text);
  try {
    fn();
  } finally {
    console.warn = warn;
  }
  return said;
}

class Hidden extends nn.Module {
  shown = new nn.Linear(2, 3);
  #hidden = new nn.Linear(3, 4);
  override forward(x: Tensor) {
    return this.#hidden.forward(this.shown.forward(x));
  }
  override dispose() {
    super.dispose();
    this.#hidden.dispose();
  }
}

test("the first step warns once of tensors with gradients that no optimizer has", () => {
  const [model, other] = [new Hidden(), new Hidden()];
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const step = (net: nn.Module, by: optim.Optimizer) => {
    by.zeroGrad();
    net.forward(zeros([1, 2])).sum().backward();
    by.step();
  };
  const said = warnings(() => {
    optimizer.step(); // before there are gradients
    for (let i = 0; i < 3; i++) step(model, optimizer);
    step(model, new optim.Adam(model.parameters()));
  });
  assertEquals(said.length, 1);
  for (const part of ["SGD: ", "2 of shape [4, 3], [4].", "#private", "requiresGrad"]) {
    assert(said[0]!.includes(part), said[0]);
  }
  // Also where no parameter of its own had a gradient.
  const late = new optim.SGD([parameter([1])], { lr: 0.1 });
  assertEquals(warnings(() => step(other, late))[0]!.includes("4 of shape"), true);
  for (const net of [model, other]) net.dispose();
});

test("nothing is said of parameters that are frozen, or another optimizer's", () => {
  const [generator, critic] = [new nn.Linear(2, 2), new nn.Linear(2, 1)];
  const frozen = new nn.Linear(2, 2);
  for (const p of frozen.parameters()) p.requiresGrad = false;
  const both = [generator, critic].map((net) => new optim.SGD(net.parameters(), { lr: 0.1 }));
  const said = warnings(() => {
    for (const optimizer of both) {
      critic.forward(frozen.forward(generator.forward(zeros([1, 2])))).sum().backward();
      optimizer.step();
    }
  });
  assertEquals(said, []);
  for (const net of [generator, critic, frozen]) net.dispose();
  assertThrows(() => new optim.Adam([]), ArgumentError, "none in #private fields");
});

test("an optimizer prints the options of its groups", () => {
  const [a, b, c] = [parameter([1]), parameter([1]), parameter([1])];
  const optimizer = new optim.Adam([{ params: [a, b] }, { params: [c], lr: 0.5 }], { lr: 0.25 });
  const rest = "betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, amsgrad: false, maximize: false";
  const wanted =
    `Adam({ lr: 0.25, ${rest} }) of 2 parameters\nAdam({ lr: 0.5, ${rest} }) of 1 parameters`;
  assertEquals([`${optimizer}`, Deno.inspect(optimizer)], [wanted, wanted]);
});

test("nothing is said of an input whose gradient is penalised", () => {
  const model = new nn.Linear(2, 1);
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const x = parameter([1, 2]);
  const said = warnings(() => {
    const [g] = grad(model.forward(x.to("float32")).sum(), [x], { createGraph: true });
    g!.mul(g!).sum().backward();
    model.forward(x.to("float32")).sum().backward();
    assert(x.grad);
    optimizer.step();
  });
  assertEquals(said, []);
  model.dispose();
});

test("parameters without a gradient stay as they are, and start when they have one", () => {
  const [a, b] = [parameter([1], [1]), parameter([1])];
  const optimizer = new optim.SGD([a, b], { lr: 0.1, momentum: 0.9, dampening: 0.5 });
  optimizer.step();
  assertEquals(b.itemSync(), 1);
  b.grad = tensor([1], { dtype: "float64" });
  optimizer.step();
  const wanted = reference(1, [1, 1], { lr: 0.1, momentum: 0.9, dampening: 0.5 });
  assertAlmostEquals(a.itemSync(), wanted[1]!, 1e-15);
  assertAlmostEquals(b.itemSync(), wanted[0]!, 1e-15); // b's own first step, without dampening
  optimizer.zeroGrad();
  assert(a.grad === null && b.grad === null);
  optimizer.step();
  assertAlmostEquals(a.itemSync(), wanted[1]!, 1e-15);
  optimizer.dispose();
});

test("lr may change between steps, but not to nonsense", () => {
  const p = parameter([1], [1]);
  const optimizer = new optim.SGD([p], { lr: 0.5 });
  optimizer.step();
  optimizer.lr = 0.25;
  optimizer.step();
  assertEquals(p.itemSync(), 0.25);
  for (const lr of [NaN, -1, Infinity]) {
    optimizer.lr = lr;
    assertThrows(() => optimizer.step(), ArgumentError, `lr is ${lr}`);
  }
  assertEquals(p.itemSync(), 0.25);
});

test("a step is not recorded, and trains what backward() computed", () => {
  const p = parameter([3]);
  const optimizer = new optim.SGD([p], { lr: 0.1 });
  for (let step = 0; step < 2; step++) {
    optimizer.zeroGrad();
    p.mul(p).sum().backward();
    optimizer.step();
  }
  assertAlmostEquals(p.itemSync(), 3 * 0.8 * 0.8, 1e-15);
  assert(p.node === null && p.requiresGrad);
});

test("the gradients are read only", () => {
  const p = parameter([1, 2], [3, 4]);
  const optimizer = new optim.SGD([p], { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1 });
  optimizer.step();
  optimizer.step();
  assertEquals([...p.grad!.dataSync()], [3, 4]);
  optimizer.dispose();
});

test("dispose() and zeroGrad() free velocities and gradients", () => {
  const p = parameter([1]);
  const optimizer = new optim.SGD([p], { lr: 0.1, momentum: 0.9 });
  const before = memory().tensors;
  scope(() => p.sum().backward());
  scope(() => optimizer.step());
  scope(() => optimizer.step());
  assertEquals(memory().tensors, before + 3); // the gradient, the velocity, the clock
  optimizer.zeroGrad();
  optimizer.dispose();
  assertEquals(memory().tensors, before);
});

test("wrong options are refused", () => {
  const p = parameter([1]);
  const refuse = (options: object, message: string) =>
    assertThrows(
      () => new optim.SGD([p], { lr: 0.1, ...options } as optim.SGDOptions),
      ArgumentError,
      message,
    );
  for (const name of ["lr", "momentum", "dampening", "weightDecay"]) {
    for (const value of [NaN, -0.1, Infinity, "1"]) {
      refuse(
        { [name]: value },
        `${name} is ${Deno.inspect(value)}; it must be a finite number, at least 0`,
      );
    }
  }
  refuse({ lr: undefined }, "lr is undefined");
  refuse({ weight_decay: 0.1 }, "did you mean weightDecay?");
  refuse({ nesterov: true }, "nesterov needs a momentum and no dampening");
  refuse({ nesterov: true, momentum: 0.9, dampening: 0.1 }, "nesterov needs a momentum");
});

test("wrong parameters are refused", () => {
  const p = parameter([1]);
  const make = (...parameters: Tensor[]) => new optim.SGD(parameters, { lr: 0.1 });
  assertThrows(() => make(), ArgumentError, "there are no parameters");
  assertThrows(() => make(p, p), ArgumentError, "twice");
  assertThrows(() => make(p, zeros([1])), GradientError, "requiresGrad");
});

test("a gradient of another shape or dtype is refused, and nothing changes", () => {
  for (const grad of [zeros([3], { dtype: "float64" }), zeros([2, 1], { dtype: "float64" })]) {
    const p = parameter([1, 2]);
    p.grad = grad;
    assertThrows(() => new optim.SGD([p], { lr: 0.1 }).step(), ShapeError, "[2]");
    assertEquals([...p.dataSync()], [1, 2]);
  }
  const p = tensor([1, 2], { requiresGrad: true });
  p.grad = tensor([1, 2], { dtype: "float64" });
  const error = assertThrows(() => new optim.SGD([p], { lr: 0.1 }).step());
  assertEquals((error as ArgumentError).code, "dtype");
  assertEquals([...p.dataSync()], [1, 2]);
});
