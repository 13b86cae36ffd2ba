// Functions whose gradients users write.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  autocast,
  customGradient,
  grad,
  gradcheck,
  GradientError,
  memory,
  noGrad,
  rand,
  scope,
  Tensor,
  tensor,
} from "../../mod.ts";
import { cleanTest as test, refuse } from "../_helpers.ts";

const leaf = (...values: number[]) => tensor(values, { dtype: "float64", requiresGrad: true });
const gradOf = (x: Tensor) => [...x.grad!.dataSync()];

const exp = customGradient(
  (x: Tensor) => x.exp(),
  ([gradient], { outputs: [y] }) => [gradient.mul(y)],
);

test("customGradient: backward's gradient is the one that counts", () => {
  const scaled = customGradient((x: Tensor) => x.mul(2), ([gradient]) => [gradient.mul(100)]);
  const x = leaf(1, 2);
  const y = scaled(x);
  assertEquals([...y.dataSync()], [2, 4]);
  y.mul(3).sum().backward();
  assertEquals(gradOf(x), [300, 300]);
});

test("customGradient: several inputs, outputs and saved tensors; unused outputs give zeros", () => {
  const seen: number[][] = [];
  const both = customGradient(
    (a: Tensor, b: Tensor): { outputs: [Tensor, Tensor]; saved: { product: Tensor } } => {
      const product = a.mul(b);
      return { outputs: [product.mul(1), a.add(b)], saved: { product } };
    },
    ([g, h], { inputs: [a, b], saved: { product } }) => {
      seen.push([...h.dataSync()], [...product.dataSync()]);
      return [g.mul(b).add(h), g.mul(a).add(h)];
    },
  );
  const [a, b] = [leaf(2, 3), leaf(5, 7)];
  const [product, sum] = both(a, b);
  product.add(sum).sum().backward();
  assertEquals([gradOf(a), gradOf(b)], [[6, 8], [3, 4]]);
  a.grad = b.grad = null;
  both(a, b)[0].sum().backward();
  assertEquals([gradOf(a), gradOf(b)], [[5, 7], [2, 3]]);
  assertEquals(seen, [[1, 1], [10, 21], [0, 0], [10, 21]]);
});

test("customGradient: gradcheck agrees, of first and second derivatives", () => {
  const product = customGradient(
    (a: Tensor, b: Tensor) => a.mul(b),
    ([g], { inputs: [a, b] }) => [g.mul(b), g.mul(a)],
  );
  const [a, b] = [leaf(0.5, -1.5), leaf(2, 0.3)];
  assert(gradcheck((a: Tensor, b: Tensor) => exp(product(a, b)), [a, b]));
  const first = (a: Tensor, b: Tensor) =>
    grad(exp(product(a, b)).sum(), [a], { createGraph: true })[0]!;
  assert(gradcheck(first, [a, b]));
});

test("customGradient: a gradient that is an input, an output or a constant is copied", () => {
  const constant = tensor([4, 5], { dtype: "float64" });
  const odd = customGradient(
    (a: Tensor, b: Tensor, _c: Tensor) => a.mul(b),
    (_, { inputs: [, b], outputs: [y] }) => [b, y, constant],
  );
  for (const createGraph of [false, true]) {
    const [a, b, c] = [leaf(1, 2), leaf(3, 4), leaf(0, 0)];
    const y = odd(a, b, c);
    y.sum().backward(undefined, { createGraph, retainGraph: true });
    for (const x of [a, b, c]) x.grad!.fill(9);
    assertEquals([...b.dataSync(), ...y.dataSync(), ...constant.dataSync()], [3, 4, 3, 8, 4, 5]);
    y.sum().backward();
    assertEquals([gradOf(a), gradOf(b), gradOf(c)], [[12, 13], [12, 17], [13, 14]]);
  }
});

test("customGradient: forward may return its input, or one tensor twice", () => {
  const reversed = customGradient((x: Tensor) => x, ([gradient]) => [gradient.neg()]);
  const x = leaf(1, 2);
  const y = reversed(x);
  assert(x.node === null && y !== x);
  y.mul(x).sum().backward();
  assertEquals(gradOf(x), [0, 0]);
  const twice = customGradient((x: Tensor): [Tensor, Tensor] => {
    const y = x.mul(1);
    return [y, y];
  }, ([a, b]) => [a.sub(b)]);
  x.grad = null;
  const [a, b] = twice(x);
  a.mul(3).add(b).sum().backward();
  assertEquals(gradOf(x), [2, 2]);
});

test("customGradient: inputs that need none are skipped, also where none does", () => {
  const needs: boolean[][] = [];
  const product = customGradient((a: Tensor, b: Tensor) => a.mul(b), ([g], step) => {
    needs.push([...step.needs]);
    return [g.mul(step.inputs[1]), rand([7])]; // of no input's shape, but nobody asks for it
  });
  const [a, b] = [leaf(2), tensor([3], { dtype: "float64" })];
  product(a, b).sum().backward();
  assertEquals([gradOf(a), b.grad, needs], [[3], null, [[true, false]]]);
  assert(!product(b, b).requiresGrad && !noGrad(() => product(a, b)).requiresGrad);
  const none = customGradient((a: Tensor, b: Tensor) => a.mul(b), () => [null, null]);
  const c = leaf(1);
  none(a, c).add(c).sum().backward();
  assertEquals([gradOf(a), gradOf(c)], [[3], [1]]);
});

test("customGradient: an output of whole numbers has no gradient", () => {
  const top = customGradient(
    (x: Tensor): [Tensor, Tensor] => [x.max(), x.argmax()],
    ([g], { inputs: [x], outputs: [, index] }) => [
      x.make(x.shape).copyFrom(new Float64Array([0, 1, 2].map((i) => +(i === index.itemSync()))))
        .mul(g),
    ],
  );
  const x = leaf(1, 5, 2);
  const [value, index] = top(x);
  assert(!index.requiresGrad && index.dtype === "int32");
  value.mul(2).backward();
  assertEquals(gradOf(x), [0, 2, 0]);
});

test("customGradient: forward's own tensors are freed, saved ones with the scope", () => {
  const x = leaf(1, 2);
  const saving = customGradient((x: Tensor) => {
    const y = x.exp().mul(2).add(1);
    return { outputs: y, saved: [y.sqrt(), y.neg()] };
  }, ([g], { saved: [root] }) => [g.mul(root!)]);
  const before = memory().tensors;
  scope(() => {
    const y = saving(x);
    assertEquals(memory().tensors, before + 3);
    y.sum().backward();
  });
  assertEquals(memory().tensors, before + 1, "the gradient of x");
  const [now, reversed] = [memory().tensors, customGradient((x: Tensor) => x, ([g]) => [g])];
  reversed(x).dispose();
  assertEquals(memory().tensors, now);
  const unrecorded = noGrad(() => saving(x));
  assertEquals(memory().tensors, before + 2);
  unrecorded.dispose();
});

test("customGradient: forward runs under autocast, backward outside of it", () => {
  const product = customGradient(
    (a: Tensor, b: Tensor) => a.matmul(b),
    ([g], { inputs: [a, b] }) => [
      g.to("float32").matmul(b, { transposeB: true }),
      a.matmul(g.to("float32"), { transposeA: true }),
    ],
  );
  const [a, b] = [rand([2, 3], { requiresGrad: true }), rand([3, 4], { requiresGrad: true })];
  const y = autocast("bfloat16", () => product(a, b));
  assertEquals(y.dtype, "bfloat16");
  y.to("float32").sum().backward();
  assertAlmostEquals(
    a.grad!.dataSync()[0]!,
    b.slice(0, 0, 1).sum().itemSync(),
    1e-5,
  );
});

test("customGradient: what is returned wrongly is said, and leaves no tensor", () => {
  const x = leaf(1, 2);
  const fails = (backward: (g: Tensor) => unknown, code: string, ...parts: string[]) => {
    const fn = customGradient((x: Tensor) => x.mul(2), ([g]) => backward(g) as Tensor[]);
    const y = fn(x).sum();
    const before = memory().tensors;
    scope(() => refuse(() => y.backward(), code, "customGradient", ...parts));
    assertEquals(memory().tensors, before);
    assertEquals(x.grad, null);
  };
  fails((g) => [g, g], "argument", "2 gradients", "1 inputs");
  fails(() => [], "argument", "0 gradients");
  fails((g) => g.mul(1), "argument", "tensor of shape [2]", "an array");
  fails(() => [undefined], "argument", "undefined");
  fails(() => Promise.reject(new Error("late")), "argument", "await");
  fails((g) => [g.sum()], "shape", "[]", "input 0", "[2]");
  fails((g) => [g.to("float32")], "dtype", "float32", "float64");
  const before = memory().tensors;
  const made = (forward: (x: Tensor) => unknown) =>
    customGradient(forward as (x: Tensor) => Tensor, ([g]) => [g]);
  for (const value of [1, null, undefined, [], [x, 2], { outputs: 3, saved: x }]) {
    refuse(() => made((x) => (x.mul(2), value))(x), "argument", "customGradient: forward");
  }
  refuse(() => made(() => Promise.reject(new Error("late")))(x), "argument", "await");
  refuse(() => made((x) => x)(3 as unknown as Tensor), "argument", "customGradient", "inputs[0]");
  refuse(() => customGradient(Tensor as never, () => []), "argument", "forward", "class");
  refuse(() => customGradient((x: Tensor) => x, undefined as never), "argument", "backward");
  refuse(
    () =>
      made((x) => {
        x.mul(2);
        throw new RangeError("mine");
      })(x),
    RangeError,
    "mine",
  );
  assertEquals(memory().tensors, before);
});

test("customGradient: a graph that was used up is named", () => {
  const y = exp(leaf(1)).sum();
  y.backward();
  refuse(() => y.backward(), GradientError, "used up");
});
