import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  abs,
  add,
  ArgumentError,
  cosineEmbeddingLoss,
  crossEntropy,
  devices,
  div,
  type DType,
  embedding,
  erf,
  full,
  gatherRows,
  grad,
  gradcheck,
  GradientError,
  gru,
  logSoftmax,
  logSumExp,
  lstm,
  matmul,
  max,
  maximum,
  min,
  minimum,
  mul,
  noGrad,
  norm,
  ones,
  pow,
  relu,
  rsqrt,
  scope,
  ShapeError,
  softmax,
  sqrt,
  std,
  sum,
  type Tensor,
  tensor,
  topK,
  zeros,
} from "../../mod.ts";
import { throughOps } from "../../lib/core/backward.ts";
import { type Case, cases, inputDType, inputsOf, upload } from "../cases.ts";
import { halves, rounding, roundoff } from "../cases/case.ts";
import { type Grid, permuted } from "../reference.ts";

const float64 = { dtype: "float64" } as const;
const learned = { requiresGrad: true } as const;
const names = devices().map(({ device }) => device);

const reversed = (x: { rank: number }) => Array.from({ length: x.rank }, (_, d) => x.rank - 1 - d);

// Every derivative of every element, by inputs that follow the dtype; targets and the like are
// fixed.
function checkGradient(c: Case, grids: readonly Grid[], device: typeof names[number]): void {
  const free = grids.flatMap((_, i) => (c.fixed?.[i] === undefined ? [i] : []));
  const leaves = (change: (x: Grid) => Grid) =>
    free.map((i) => upload(change(grids[i]!), "float64", device, true));
  const constants = grids.map((x, i) => upload(x, inputDType(c, i, "float64"), device));
  const call = (given: Tensor[]) => {
    const inputs = [...constants];
    given.forEach((x, k) => inputs[free[k]!] = x);
    return c.call(...inputs);
  };
  assert(gradcheck((...xs: Tensor[]) => call(xs), leaves((x) => x)));
  // The same with axes reversed before and after, so that gradients pass through permutations.
  const flip = (x: Grid) => permuted(x, reversed({ rank: x.shape.length }));
  assert(gradcheck((...xs: Tensor[]) => {
    const y = call(xs.map((x) => x.permute(reversed(x))));
    return y.permute(reversed(y));
  }, leaves(flip)));
}

// What the derivatives of the gradient itself are those of, for a fixed gradient of the result and
// weights that tell its elements apart; and the leaves by which to take them.
function firstDerivatives(
  c: Case,
  grids: readonly Grid[],
  device: typeof names[number],
  dtype: DType,
): { fn: (...given: Tensor[]) => Tensor; leaves: Tensor[] } {
  const free = grids.flatMap((_, i) => (c.fixed?.[i] === undefined ? [i] : []));
  const constants = grids.map((x, i) => upload(x, inputDType(c, i, dtype), device));
  const weights = (of: Tensor, from: number) => {
    const values = Array.from({ length: of.size }, (_, i) => 0.5 + ((i + from) % 7) / 4);
    return upload({ shape: of.shape, values }, of.dtype, device);
  };
  const wide = (x: Tensor) => x.to("float64");
  const fn = (...given: Tensor[]) => {
    const inputs = [...constants];
    given.forEach((x, k) => inputs[free[k]!] = x);
    const y = c.call(...inputs);
    const options = { gradOutputs: weights(y, 0), createGraph: true, allowUnused: true };
    const parts = grad(y, given, options).map((g, k) => wide(g).mul(wide(weights(g, k + 1))).sum());
    // Plus nothing, since a gradient that does not depend on an input is not recorded.
    return given.reduce(
      (total, x) => total.add(wide(x).mul(0).sum()),
      parts.reduce((a, b) => a.add(b)),
    );
  };
  return { fn, leaves: free.map((i) => upload(grids[i]!, dtype, device, true)) };
}

function checkSecond(c: Case, grids: readonly Grid[], device: typeof names[number]): void {
  const { fn, leaves } = firstDerivatives(c, grids, device, "float64");
  assert(gradcheck(fn, leaves, { eps: 1e-5, atol: 1e-6 }));
}

// Those of 16-bit floats against float64's, of the same numbers.
function checkShortSecond(
  c: Case,
  grids: readonly Grid[],
  device: typeof names[number],
  dtype: DType,
): void {
  const rounded = grids.map(({ shape, values }, i) => ({
    shape,
    values: c.fixed?.[i] ? values : Array.from(values, (x) => rounding(x, dtype)),
  }));
  const [found, wanted] = ([dtype, "float64"] as const).map((dtype) => {
    const { fn, leaves } = firstDerivatives(c, rounded, device, dtype);
    return grad(fn(...leaves), leaves).flatMap((g) => [...g.to("float64").dataSync()]);
  });
  const allowed = 16 * roundoff[dtype]! * Math.max(1, ...wanted!.map(Math.abs));
  wanted!.forEach((x, k) => assertAlmostEquals(found![k]!, x, allowed, `${dtype}, ${k}`));
}

for (const c of cases.filter((c) => c.gradShapes && c.dtypes.includes("float64"))) {
  // too coarse for differences; see the test of casts below
  if (c.output && c.output !== "float64") continue;
  for (const device of names) {
    Deno.test(`${c.name}: gradients match differences on ${device}`, () => {
      for (const shapes of c.gradShapes!) {
        scope(() => checkGradient(c, inputsOf(c, shapes, "float64"), device));
      }
    });

    Deno.test(`${c.name}: second derivatives match differences on ${device}`, () => {
      for (const shapes of c.gradShapes!) {
        scope(() => checkSecond(c, inputsOf(c, shapes, "float64"), device));
      }
    });

    Deno.test(`${c.name}: second derivatives of 16 bits are those of float64 on ${device}`, () => {
      for (const dtype of halves.filter((dtype) => c.dtypes.includes(dtype))) {
        for (const shapes of c.gradShapes!) {
          scope(() => checkShortSecond(c, inputsOf(c, shapes, "float64"), device, dtype));
        }
      }
    });
  }
}

/** The gradients of sum(fn(inputs) * weights) by each input. */
function gradients(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  weights?: Tensor,
): number[][] {
  const y = fn(...inputs);
  sum(weights ? y.mul(weights) : y).backward();
  return inputs.map((x) => [...x.grad!.dataSync()]);
}

const third = 1 / 3;
const atKinks: [
  name: string,
  fn: (...x: Tensor[]) => Tensor,
  inputs: number[][] | number[][][][],
  wanted: number[][],
][] = [
  ["relu is 0 up to 0, 1 above, also for NaN", relu, [[-1, 0, -0, 2, NaN]], [[0, 0, 0, 1, 1]]],
  ["abs is 0 at 0", abs, [[-2, 0, -0, 3]], [[-1, 0, 0, 1]]],
  ["sqrt is infinite at 0", sqrt, [[0, 4]], [[Infinity, 0.25]]],
  ["pow at a base of 0", pow, [[0, 0, 0, 0], [0, 1, 2, 0.5]], [[0, 1, 0, Infinity], [0, 0, 0, 0]]],
  ["pow at an exponent of 0", pow, [[2, -2], [0, 2]], [[0, -4], [Math.LN2, NaN]]],
  ["maximum shares ties", maximum, [[1, 2, 3], [2, 2, 2]], [[0, 0.5, 1], [1, 0.5, 0]]],
  ["minimum shares ties", minimum, [[1, 2, 3], [2, 2, 2]], [[1, 0.5, 0], [0, 0.5, 1]]],
  ["maximum with a number shares ties", (x) => maximum(x!, 2), [[1, 2, 3]], [[0, 0.5, 1]]],
  ["minimum with a number shares ties", (x) => minimum(x!, 2), [[1, 2, 3]], [[1, 0.5, 0]]],
  ["max shares ties", (x) => max(x!), [[3, 1, 3, 2]], [[0.5, 0, 0.5, 0]]],
  ["min shares ties", (x) => min(x!), [[1, 1, 3, 1]], [[third, third, 0, third]]],
  [
    "max shares ties evenly over axes that are not neighbours",
    (x) => max(x!, [0, 2]),
    [[[[5, 5]], [[5, 0]]]],
    [[third, third, third, 0]],
  ],
  [
    "min shares ties evenly over axes that are not neighbours",
    (x) => min(x!, [0, 2]),
    [[[[5, 5]], [[5, 9]]]],
    [[third, third, third, 0]],
  ],
];

// Of the logistic function, with its digits.
const slope = (x: number) => Math.exp(-x) / (1 + Math.exp(-x)) ** 2;

// Where squares, products or results on the way overflow or vanish, but the gradient does not.
const atEnds: [
  name: string,
  fn: (...x: Tensor[]) => Tensor,
  dtype: DType,
  inputs: (number[] | number[][])[],
  wanted: number[][],
][] = [
  ["div", div, "float16", [[300, 1e-4], [300, 1e-4]], [[1 / 300, 1e4], [-1 / 300, -1e4]]],
  ["div", div, "bfloat16", [[1e20, 1e-20], [1e20, 1e-20]], [[1e-20, 1e20], [-1e-20, -1e20]]],
  ["div", div, "float32", [[1e20, 1e-20], [1e20, 1e-20]], [[1e-20, 1e20], [-1e-20, -1e20]]],
  ["pow", (a) => pow(a!, -1).mul(2 ** -12), "float16", [[2 ** -9]], [[-64]]],
  ["pow", (a, b) => pow(a!, b!).mul(2 ** -12), "float16", [[2 ** 15], [1]], [[
    2 ** -12,
  ], [8 * Math.log(2 ** 15)]]],
  ["rsqrt", (x) => rsqrt(x!).mul(1e-10), "float32", [[1e-30]], [[-5e34]]],
  ["rsqrt", (x) => rsqrt(x!).mul(1e10), "float32", [[1e30]], [[-5e-36]]],
  ["norm", (x) => norm(x!), "float32", [[3e20, 4e20]], [[0.6, 0.8]]],
  ["norm", (x) => norm(x!), "float16", [[48000, 64000]], [[0.6, 0.8]]],
  ["std", (x) => std(x!), "float32", [[0, 1e25]], [[-Math.SQRT1_2, Math.SQRT1_2]]],
  ["std", (x) => std(x!), "float16", [[-64000, 64000]], [[-Math.SQRT1_2, Math.SQRT1_2]]],
  // Sums of products that vanish one by one: 2^-14 2^-14 2^16.
  [
    "mul",
    (a, b) => mul(a!, b!).mul(2 ** -14),
    "float16",
    [[2], new Array(2 ** 16).fill(2 ** -14)],
    [
      [2 ** -12],
      new Array(2 ** 16).fill(2 ** -13),
    ],
  ],
  [
    "matmul",
    (a, b) => matmul(a!.reshape([2 ** 14, 1, 1]), b!).mul(2 ** -14),
    "float16",
    [new Array(2 ** 14).fill(2 ** -12), [[2]]],
    [new Array(2 ** 14).fill(2 ** -13), [2 ** -12]],
  ],
  ["erf", (x) => erf(x!), "bfloat16", [[2.984375]], [[
    2 / Math.sqrt(Math.PI) * Math.exp(-(2.984375 ** 2)),
  ]]],
  ["norm of p = 3", (x) => norm(x!, 0, { p: 3 }), "float32", [[0, 1e-20]], [[0, 1]]],
  ["pow", (a) => pow(a!, zeros([1], { device: a!.device })), "float32", [[NaN]], [[0]]],
  [
    "logSoftmax",
    (x) => logSoftmax(x!).slice(0, 0, 1),
    "bfloat16",
    [new Array(3072).fill(0)],
    [[1 - 1 / 3072, ...new Array(3071).fill(-1 / 3072)]],
  ],
  ["logSumExp", (x) => logSumExp(x!), "float16", [[300, 300]], [[0.5, 0.5]]],
  ["logSumExp", (x) => logSumExp(x!), "float32", [[1e8, 1e8]], [[0.5, 0.5]]],
  ["softmax", (x) => softmax(x!).slice(0, 1, 2), "bfloat16", [[0, 4]], [
    [-slope(4), slope(4)],
  ]],
  ["sigmoid", (x) => x!.sigmoid(), "bfloat16", [[-8, 8, 30]], [[slope(8), slope(8), slope(30)]]],
  ["sigmoid", (x) => x!.sigmoid(), "float32", [[30]], [[slope(30)]]],
  ["tanh", (x) => x!.tanh(), "float32", [[-8, 10]], [[4 * slope(16), 4 * slope(20)]]],
  [
    "cosineEmbeddingLoss",
    (x) => cosineEmbeddingLoss(x!, x!.detach().mul(0).add(1), ones([1], { device: x!.device })),
    "float32",
    [[[1e20, 0]]],
    [[0, -Math.SQRT1_2 * 1e-20]],
  ],
];

for (const device of names) {
  for (const [name, fn, dtype, inputs, wanted] of atEnds) {
    Deno.test(`gradient: ${name} at the ends of ${dtype}, on ${device}`, () => {
      scope(() => {
        const leaves = inputs.map((x) => tensor(x, { dtype, device, requiresGrad: true }));
        const y = sum(fn(...leaves));
        for (const createGraph of [false, true]) {
          grad(y, leaves, { createGraph, retainGraph: true }).forEach((g, i) =>
            g.dataSync().forEach((found, k) => {
              const off = Math.abs(found - wanted[i]![k]!);
              const near = Math.abs(wanted[i]![k]!) * 4 * roundoff[dtype]!;
              assert(off <= near, `input ${i}: ${found}, not ${wanted[i]![k]}`);
            })
          );
        }
      });
    });
  }

  Deno.test(`gradient: infinity that is left out does not come back as NaN, on ${device}`, () => {
    scope(() => {
      const x = tensor([[1, 5]], { device, requiresGrad: true });
      const y = tensor([[3, 2]], { device, requiresGrad: true });
      const index = tensor([0, 1], { dtype: "int32", device });
      const weight = tensor([[1], [2]], { device, requiresGrad: true });
      const gradOutputs = [tensor([[Infinity, Infinity]], { device })];
      const rows = [tensor([[Infinity], [1]], { device })];
      for (const createGraph of [false, true]) {
        const of = (z: Tensor, by: Tensor[], gradOutputs: Tensor[]) =>
          grad(z, by, { gradOutputs, createGraph, retainGraph: true }).map((
            g,
          ) => [...g.dataSync()]);
        assertEquals(of(maximum(x, y), [x, y], gradOutputs), [[0, Infinity], [Infinity, 0]]);
        assertEquals(of(minimum(x, y), [x, y], gradOutputs), [[Infinity, 0], [0, Infinity]]);
        assertEquals(of(x.clip(0, 3), [x], gradOutputs), [[Infinity, 0]]);
        assertEquals(of(max(x, 1, { keepDims: true }), [x], [rows[0]!.slice(0, 0, 1)]), [[
          0,
          Infinity,
        ]]);
        assertEquals(of(embedding(index, weight, { paddingIndex: 0 }), [weight], rows), [[0, 1]]);
      }
    });
  });

  for (const [name, fn, inputs, wanted] of atKinks) {
    Deno.test(`gradient: ${name}, on ${device}`, () => {
      for (const dtype of ["float32", "float64"] as const) {
        scope(() => {
          const leaves = inputs.map((x) => tensor(x, { dtype, device, requiresGrad: true }));
          const close = gradients(fn, leaves).map((g) => g.map((x) => Math.fround(x)));
          assertEquals(close, wanted.map((g) => g.map(Math.fround)), dtype);
        });
      }
    });
  }

  Deno.test(`gradient: logits of -inf get none, on ${device}`, () => {
    scope(() => {
      const options = { device, requiresGrad: true };
      const masked = () => tensor([[0, -Infinity, 0]], options);
      const weights = tensor([[4, 9, 2]], { device });
      assertEquals(gradients((x) => softmax(x!), [masked()], weights), [[0.5, 0, -0.5]]);
      const chosen = tensor([[1, 0, 0]], { device });
      assertEquals(
        gradients((x) => maximum(logSoftmax(x!), -100), [masked()], chosen),
        [[0.5, 0, -0.5]],
      );
      const target = tensor([2], { dtype: "int32", device });
      assertEquals(gradients((x) => crossEntropy(x!, target), [masked()]), [[0.5, 0, -0.5]]);
    });
  });

  Deno.test(`gradient: casts between floats pass it on in the input's dtype, on ${device}`, () => {
    scope(() => {
      const x = tensor([1, 2], { dtype: "float64", device, requiresGrad: true });
      x.to("float32").mul(tensor([3, 4], { device })).to("float64").sum().backward();
      assertEquals(x.grad!.dtype, "float64");
      assertEquals([...x.grad!.dataSync()], [3, 4]);
    });
  });
}

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });
const gradOf = (x: Tensor) => [...x.grad!.dataSync()];

// What each builds, and d result / d x at x = (1, 2).
const graphs: [string, (x: Tensor) => Tensor, number[]][] = [
  ["one leaf twice in one operation", (x) => x.add(x).sum(), [2, 2]],
  ["one leaf as both factors", (x) => x.mul(x).sum(), [2, 4]],
  ["one leaf on both sides of a difference", (x) => x.sub(x).sum(), [0, 0]],
  ["a diamond", (x) => {
    const y = x.mul(2);
    return y.mul(3).add(y.mul(y)).sum();
  }, [14, 22]],
  ["a shared subexpression, used three times", (x) => {
    const y = x.mul(x);
    return y.add(y).add(y).sum();
  }, [6, 12]],
  ["a leaf through a reshape and by itself", (x) => x.reshape([2, 1]).flatten().add(x).sum(), [
    2,
    2,
  ]],
  ["a leaf that is broadcast against itself", (x) => x.unsqueeze(0).mul(x.unsqueeze(1)).sum(), [
    6,
    6,
  ]],
  ["branches of unequal length", (x) => x.exp().log().mul(1).mul(x).sum(), [2, 4]],
  ["one branch detached", (x) => x.detach().mul(x).sum(), [1, 2]],
  ["one branch without recording", (x) => noGrad(() => x.mul(x)).mul(x).sum(), [1, 4]],
  ["a result by way of another dtype's branch", (x) => x.gt(1).to("float32").mul(x).sum(), [0, 1]],
];

for (const [name, build, wanted] of graphs) {
  Deno.test(`backward: ${name}`, () => {
    scope(() => {
      const x = leaf(1, 2);
      build(x).backward();
      gradOf(x).forEach((found, i) => assertAlmostEquals(found, wanted[i]!, 1e-5));
    });
  });
}

Deno.test("backward: a chain of thousands of operations", () => {
  scope(() => {
    const x = leaf(1);
    let y: Tensor = x;
    for (let i = 0; i < 5000; i++) y = y.add(x);
    y.sum().backward();
    assertEquals(gradOf(x), [5001]);
  });
});

Deno.test("backward: only once, unless the graph is retained", () => {
  scope(() => {
    const x = leaf(1, 2);
    const y = x.mul(x).sum();
    y.backward(undefined, { retainGraph: true });
    y.backward();
    assertEquals(gradOf(x), [4, 8], "two calls add up");
    assertThrows(() => y.backward(), GradientError, "retainGraph");
    assertEquals(gradOf(x), [4, 8], "a refused call changes nothing");
  });
});

Deno.test("backward: two graphs that share a part need it retained", () => {
  scope(() => {
    const x = leaf(1, 2);
    const shared = x.exp();
    shared.sum().backward();
    assertThrows(() => shared.mul(2).sum().backward(), GradientError, "exp");
  });
});

Deno.test("backward: gradients add up over passes until they are cleared", () => {
  scope(() => {
    const x = leaf(1, 2);
    for (let pass = 1; pass <= 3; pass++) {
      x.mul(3).sum().backward();
      assertEquals(gradOf(x), [3 * pass, 3 * pass]);
    }
    x.grad!.dispose();
    x.grad = null;
    x.mul(3).sum().backward();
    assertEquals(gradOf(x), [3, 3]);
  });
});

Deno.test("backward: a tensor of several elements needs a gradient of its shape and dtype", () => {
  scope(() => {
    const x = leaf(1, 2);
    assertThrows(() => x.mul(2).backward(), GradientError, "shape [2]");
    assertThrows(() => x.mul(2).backward(tensor([1, 2, 3])), ShapeError, "[3]");
    assertThrows(() => x.mul(2).backward(tensor([1, 2], { dtype: "float64" })), ShapeError);
    const seed = tensor([10, 100]);
    x.mul(2).backward(seed);
    assertEquals(gradOf(x), [20, 200]);
    assertEquals([...seed.dataSync()], [10, 100], "the gradient given stays the caller's");
  });
});

Deno.test("backward: from a leaf itself", () => {
  scope(() => {
    const x = leaf(3);
    x.backward();
    assertEquals(gradOf(x), [1]);
  });
});

Deno.test("backward: nothing was recorded", () => {
  scope(() => {
    assertThrows(
      () => tensor([1]).sum().backward(),
      GradientError,
      "nothing was recorded: compute it from one with requiresGrad",
    );
    const x = leaf(1);
    assertThrows(() => x.detach().sum().backward(), GradientError);
    assertThrows(() => noGrad(() => x.sum()).backward(), GradientError);
  });
});

Deno.test("backward: leaves that need no gradient get none", () => {
  scope(() => {
    const [x, c] = [leaf(1, 2), tensor([3, 4])];
    x.mul(c).add(c).sum().backward();
    assertEquals(gradOf(x), [3, 4]);
    assertEquals(c.grad, null);
  });
});

Deno.test("backward: gradients of two leaves do not share memory", () => {
  scope(() => {
    const [a, b] = [leaf(1, 2), tensor([[3], [4]], { requiresGrad: true })];
    a.add(b.reshape([2])).sum().backward();
    a.grad!.fill(7);
    assertEquals([gradOf(a), gradOf(b)], [[7, 7], [1, 1]]);
    a.grad!.dispose();
    assertEquals(gradOf(b), [1, 1]);
  });
});

Deno.test("backward: a gradient that was given does not share memory with a leaf's", () => {
  scope(() => {
    const [x, seed] = [leaf(1, 2), tensor([5, 6])];
    x.add(1).backward(seed);
    seed.fill(0);
    assertEquals(gradOf(x), [5, 6]);
  });
});

Deno.test("backward: gradients outlive the scope in which they were computed", () => {
  const x = leaf(1, 2);
  scope(() => x.mul(x).sum().backward());
  assertEquals(gradOf(x), [2, 4]);
  x.grad!.dispose();
  x.dispose();
});

Deno.test("noGrad: nests, survives errors and refuses async functions", () => {
  scope(() => {
    const x = leaf(1);
    noGrad(() => noGrad(() => assert(!x.mul(2).requiresGrad)));
    assertThrows(() => noGrad(() => x.matmul(x, { transposeA: true })));
    assert(x.mul(2).requiresGrad);
    assertThrows(() => noGrad(() => Promise.resolve(1)), GradientError, "async");
  });
});

Deno.test("gatherRows() refuses to cut a graph, and integers have no gradients", () => {
  scope(() => {
    const [x, index] = [leaf(1, 2), tensor([0], { dtype: "int32" })];
    assertThrows(() => gatherRows(x, index), GradientError, "gatherRows");
    assertEquals([...gatherRows(x.detach(), index).dataSync()], [1]);
    assertEquals([...noGrad(() => gatherRows(x, index)).dataSync()], [1]);
    assertThrows(() => tensor([1], { dtype: "int32", requiresGrad: true }), GradientError, "int32");
    assertThrows(() => index.requiresGrad = true, GradientError);
  });
});

Deno.test("grad: returns gradients and leaves .grad alone", () => {
  scope(() => {
    const [x, y] = [leaf(1, 2), leaf(3, 4)];
    const [dx, dy] = grad(x.mul(y).sum(), [x, y]);
    assertEquals([[...dx!.dataSync()], [...dy!.dataSync()]], [[3, 4], [1, 2]]);
    assertEquals([x.grad, y.grad], [null, null]);
  });
});

Deno.test("grad: of several outputs, by results on the way, and by the output itself", () => {
  scope(() => {
    const x = leaf(1, 2);
    const y = x.mul(x);
    const z = y.mul(3);
    const outputs = [z.sum(), y.sum()];
    const gradOutputs = [undefined, tensor(10)];
    const found = grad(outputs, [x, y, z], { gradOutputs, retainGraph: true });
    assertEquals(found.map((g) => [...g.dataSync()]), [[26, 52], [13, 13], [1, 1]]);
    const seed = tensor([1, 10]);
    const [same] = grad(z, [z], { gradOutputs: seed, retainGraph: true });
    same!.fill(0);
    assertEquals([...seed.dataSync()], [1, 10], "the gradient given stays the caller's");
  });
});

const outputsOfOne: Record<string, (x: Tensor) => Tensor[]> = {
  lstm: (x) => {
    const weights = { weightIh: full([8, 3], 0.3, float64), weightHh: full([8, 2], -0.2, float64) };
    const { output, h, c } = lstm(x.reshape([4, 1, 3]), weights);
    return [output, h, c];
  },
  gru: (x) => {
    const weights = { weightIh: full([6, 3], 0.3, float64), weightHh: full([6, 2], -0.2, float64) };
    return Object.values(gru(x.reshape([4, 1, 3]), weights, { reverse: true }));
  },
  topK: (x) => Object.values(topK(x, 5)),
};
for (const [name, fn] of Object.entries(outputsOfOne)) {
  Deno.test(`grad: of each output of ${name}, of all, and by one of them`, () =>
    scope(() => {
      const x = tensor([3, -1, 0.5, 0.2, 9, -4, 0.25, 7, 2, -2, 1, 4], { ...float64, ...learned });
      const floats = fn(x).map(({ dtype }) => dtype === "float64");
      const squared = (x: Tensor) => x.mul(x).sum();
      floats.forEach((float, i) => {
        assertEquals(fn(x)[i]!.requiresGrad, float);
        if (float) assert(gradcheck((x: Tensor) => squared(fn(x)[i]!), [x]));
      });
      const all = (x: Tensor) => fn(x).filter((_, i) => floats[i]).map(squared).reduce(add);
      assert(gradcheck(all, [x]));
      assert(gradcheck((x: Tensor) => squared(grad(all(x), [x], { createGraph: true })[0]!), [x]));
      // One of them as the target, of which the others know nothing; their memory may be gone.
      const outputs = fn(x);
      const [target] = outputs;
      const [found] = grad(outputs.filter((_, i) => floats[i]).map(squared), [target!], {
        retainGraph: true,
      });
      assertEquals([...found!.dataSync()], [...target!.mul(2).dataSync()]);
      const loss = squared(target!);
      for (const other of outputs.slice(1)) if (name !== "topK") other.dispose();
      loss.backward();
      assert(x.grad!.dataSync().some((value) => value !== 0));
      assertThrows(() => loss.backward(), GradientError, "retainGraph");
    }));
}

Deno.test("throughOps: stops at one output of several, and goes on past another", () =>
  scope(() => {
    const x = ones([3, 1, 2], { ...float64, ...learned });
    const weights = { weightIh: full([6, 2], 0.3, float64), weightHh: full([6, 2], -0.2, float64) };
    const { output, h } = gru(x, weights);
    const fn = (_: Tensor, output: Tensor) => output.sum().add(h.sum());
    const [dx, dy] = throughOps(
      fn as (...inputs: Tensor[]) => Tensor,
      [x, output],
      ones([], float64),
    );
    const wanted = grad(gru(x, weights).h.sum(), [x])[0]!.dataSync();
    dx!.dataSync().forEach((value, i) => assertAlmostEquals(value, wanted[i]!, 1e-12));
    assertEquals([...dy!.dataSync()], [1, 1, 1, 1, 1, 1]);
  }));

Deno.test("grad: refuses what has no gradient, and gives zeros when told to", () => {
  scope(() => {
    const [x, y] = [leaf(1, 2), leaf(3, 4)];
    assertThrows(() => grad(x.sum(), [y]), GradientError, "input 0");
    assertEquals([...grad(x.sum(), [y], { allowUnused: true })[0]!.dataSync()], [0, 0]);
    assertThrows(() => grad(x.sum(), [tensor([1])]), GradientError, "requiresGrad");
    assertThrows(() => grad(tensor([1]).sum(), [x]), GradientError, "nothing was recorded");
    assertThrows(() => grad(x.mul(2), [x]), GradientError, "[2]");
    const misspelt = { creategraph: true } as Record<string, boolean>;
    assertThrows(() => grad(x.sum(), [x], misspelt), ArgumentError, "createGraph");
    const used = x.exp().sum();
    grad(used, [x]);
    assertThrows(() => grad(used, [x]), GradientError, "retainGraph");
  });
});

Deno.test("grad: derivatives of any order", () => {
  scope(() => {
    const x = tensor([0.5, 1.5], { dtype: "float64", requiresGrad: true });
    let y: Tensor = x.tanh().mul(x.exp()).sum();
    const wanted = (t: number) => { // the third derivative of tanh(t) e^t
      const h = Math.tanh(t);
      const s = 1 - h * h;
      return Math.exp(t) * (h + 3 * s - 6 * h * s + (-2 * s * s + 4 * h * h * s));
    };
    for (let order = 1; order <= 3; order++) y = grad(y.sum(), [x], { createGraph: true })[0]!;
    [...y.dataSync()].forEach((found, i) =>
      assertAlmostEquals(found, wanted([0.5, 1.5][i]!), 1e-9)
    );
  });
});

Deno.test("grad: where a norm or deviation is 0, so are derivatives of any order", () => {
  scope(() => {
    for (const fn of [norm, std, (x: Tensor) => norm(x, 0, { p: 3 })]) {
      const x = full([3], fn === std ? 2 : 0, { requiresGrad: true });
      const [first] = grad(fn(x), [x], { createGraph: true });
      const weighed = first!.mul(tensor([1, 2, 3])).sum();
      const [second] = grad(weighed, [x]);
      for (const found of [first!, second!]) assertEquals([...found.dataSync()], [0, 0, 0]);
    }
  });
});

Deno.test("backward with createGraph: a penalty on the gradient trains through it", () => {
  scope(() => {
    const x = leaf(2);
    x.mul(x).mul(x).sum().backward(undefined, { createGraph: true }); // 3 x^2 = 12
    const first = x.grad!;
    assert(first.requiresGrad);
    x.grad = null;
    first.mul(first).sum().backward(); // d (9 x^4) / d x = 36 x^3
    assertEquals(gradOf(x), [288]);
  });
});

Deno.test("gradcheck: finds a wrong gradient and leaves its inputs as they were", () => {
  scope(() => {
    const x = tensor([1, 2], { dtype: "float64", requiresGrad: true });
    // The detached factor's share of the gradient is missing.
    assertThrows(() => gradcheck((x) => x.mul(x.detach()), [x]), GradientError, "element 0");
    assertEquals([...x.dataSync()], [1, 2]);
    assertEquals(x.grad, null);
  });
});

Deno.test("a chain of 20,000 operations has its gradients, the second too", () =>
  scope(() => {
    const x = tensor([3], { dtype: "float64", requiresGrad: true });
    let y = x.mul(x);
    for (let i = 0; i < 20_000; i++) y = y.mul(1);
    const [first] = grad(y.sum(), [x], { createGraph: true });
    const [second] = grad(first!.sum(), [x]);
    assertEquals([first!.itemSync(), second!.itemSync()], [6, 2]);
  }));
