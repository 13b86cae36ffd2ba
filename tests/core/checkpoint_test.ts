// Activations that are computed again in backward().
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  autocast,
  checkpoint,
  devices,
  dropout,
  grad,
  gradcheck,
  GradientError,
  manualSeed,
  memory,
  nn,
  noGrad,
  rand,
  resetPeakMemory,
  scope,
  Tensor,
  tensor,
} from "../../mod.ts";
import { withRandomState } from "../../lib/core/random.ts";
import { cleanTest as test, later, refuse } from "../_helpers.ts";

type Fn = (x: Tensor) => Tensor;
const plain = (fn: Fn, x: Tensor) => fn(x);
const again = (fn: Fn, x: Tensor) => checkpoint(fn, x);
const leaf = (...values: number[]) => tensor(values, { dtype: "float64", requiresGrad: true });

// The loss, the gradients and the next random number, each with and without checkpoints.
function both(run: (call: typeof plain) => Tensor, leaves: readonly Tensor[], within = 0) {
  const found = [plain, again].map((call) => {
    manualSeed(3);
    const loss = run(call);
    loss.backward();
    const gradients = leaves.map((x) => [...x.grad!.dataSync()]);
    forget(leaves);
    return { loss: loss.itemSync(), gradients, next: rand([4]).dataSync() };
  });
  if (within === 0) return assertEquals(found[1], found[0]);
  const [wanted, gradients] = found.map(({ gradients }) => gradients.flat());
  gradients!.forEach((x, i) => assertAlmostEquals(x, wanted![i]!, within));
}

function forget(leaves: readonly Tensor[]) {
  for (const x of leaves) {
    x.grad?.dispose();
    x.grad = null;
  }
}

test("checkpoint: inputs and the parameters of closures get the same gradients", () => {
  const block = later(new nn.Sequential(new nn.Linear(4, 8), new nn.GELU(), new nn.Linear(8, 4)));
  const [x, unused] = [rand([3, 4], { requiresGrad: true }), tensor([1], { requiresGrad: true })];
  both((call) => {
    const y = call((x) => block.forward(x).mul(x), x.mul(2));
    return call((y) => y.add(x).tanh(), y).sum();
  }, [x, ...block.parameters()]);
  assertEquals(unused.grad, null);
  const constant = rand([3, 4]);
  both((call) => call((x) => block.forward(x), constant).sum(), block.parameters());
  assertEquals(constant.grad, null);
});

test("checkpoint: dropout repeats itself, and random numbers go on as without", () => {
  const x = rand([64], { requiresGrad: true });
  const drop: Fn = (x) => dropout(dropout(x, { p: 0.4 }).mul(x), { p: 0.5 });
  both((call) => call(drop, call(drop, dropout(x))).sum(), [x]);
  const y = checkpoint(drop, x).sum();
  manualSeed(11); // what is drawn between the two does not matter
  const first = rand([4]).dataSync();
  const [gradient] = grad(y, [x], { retainGraph: true });
  const next = rand([4]).dataSync();
  assertEquals(grad(y, [x])[0]!.dataSync(), gradient!.dataSync());
  manualSeed(11);
  assertEquals([rand([4]).dataSync(), rand([4]).dataSync()], [first, next]);
});

for (const { device } of devices()) {
  test(`checkpoint: random numbers by a state on ${device} repeat themselves too`, () => {
    const state = tensor(Int32Array.of(5, 0, 0, 0), { device });
    const x = rand([64], { device, requiresGrad: true });
    const [wanted, found] = [plain, again].map((call) => {
      let next: ArrayLike<number> | undefined;
      const blocks = withRandomState(state, () => {
        const y = call((x) => dropout(dropout(x).mul(x)), dropout(x, { p: 0.1 })).sum();
        rand([8], { device });
        y.backward();
        next = rand([8], { device }).dataSync();
      });
      const gradient = x.grad!.dataSync();
      forget([x]);
      return { blocks, gradient, next };
    });
    assertEquals(found, wanted);
  });
}

test("checkpoint: nested, and several outputs of which not all are used or need gradients", () => {
  const [x, w] = [leaf(0.5, 2, -1), leaf(3, 1, 2)];
  const inner: Fn = (x) => dropout(x.mul(w).exp(), { p: 0.3 });
  both((call) => call((x) => call(inner, call(inner, x).log1p()).add(x), x).sum(), [x, w]);
  const parts = (x: Tensor): [Tensor, Tensor, Tensor, Tensor] => {
    const y = x.mul(w);
    return [y.sin(), y.detach(), y.argmax(), y.cos()];
  };
  both((call) => {
    const [a, b, index] = call === again ? checkpoint(parts, x) : parts(x);
    assertEquals([a, b, index].map((x) => x.requiresGrad), [true, false, false]);
    assertEquals(index.dtype, "int32");
    return a.mul(b).sum();
  }, [x, w]);
});

test("checkpoint: second derivatives, by gradcheck", () => {
  const [x, w] = [leaf(0.5, 2), leaf(1.5, -1)];
  const fn = (x: Tensor, w: Tensor) => checkpoint((x) => x.mul(w).tanh().mul(x), x);
  assert(gradcheck(fn, [x, w]));
  const first = (x: Tensor, w: Tensor) => grad(fn(x, w).sum(), [w], { createGraph: true })[0]!;
  assert(gradcheck(first, [x, w]));
});

test("checkpoint: what fn returns may be its input, a view of it, or there twice", () => {
  const x = leaf(1, 2);
  both((call) => call((x) => x, x).mul(3).sum(), [x]);
  both((call) => call((x) => x.reshape([2, 1]), x).exp().sum(), [x]);
  both((call) => call((x) => x, x.mul(2)).mul(x).sum(), [x]);
  const [a, b] = checkpoint((x: Tensor): [Tensor, Tensor] => {
    const y = x.mul(2);
    return [y, y];
  }, x);
  a.mul(3).add(b).sum().backward();
  assertEquals([...x.grad!.dataSync()], [8, 8]);
});

test("checkpoint: in autocast's region both times, also beside casts made around it", () => {
  const layer = later(new nn.Linear(4, 4));
  const x = rand([2, 4], { requiresGrad: true });
  both(
    (call) => {
      const y = autocast("bfloat16", () => {
        const y = call((x) => layer.forward(layer.forward(x)), layer.forward(x));
        assertEquals(y.dtype, "bfloat16");
        return layer.forward(y);
      });
      return y.to("float32").sum();
    },
    [x, ...layer.parameters()],
    2e-2,
  ); // sums of casts' gradients are rounded elsewhere
});

test("checkpoint: batch normalisation moves its running statistics once", () => {
  const states = [plain, again].map((call) => {
    const layer = later(new nn.BatchNorm1d(3));
    manualSeed(5);
    const x = rand([8, 3], { requiresGrad: true });
    call((x) => call((x) => layer.forward(x).tanh(), x), x).mul(x).sum().backward();
    assert(layer.weight!.grad);
    return Object.values(layer.stateDict()).map((x) => x.dataSync());
  });
  assertEquals(states[1], states[0]);
  assertEquals(states[1]![4]![0], 1);
});

test("checkpoint: a chain needs less memory, and gives it all back", () => {
  const parameters = Array.from({ length: 8 }, () => rand([1], { requiresGrad: true }));
  const x = rand([1 << 16]);
  const segment = (w: Tensor): Fn => (x) => {
    for (let i = 0; i < 8; i++) x = x.mul(w).sin();
    return x;
  };
  const [kept, recomputed] = [plain, again].map((call) => {
    const { live, tensors } = memory();
    resetPeakMemory();
    const peak = scope(() => {
      let y = x;
      for (const w of parameters) y = call(segment(w), y);
      if (call === again) assertEquals(memory().tensors - tensors, parameters.length);
      y.sum().backward();
      return memory().peak - live;
    });
    forget(parameters);
    assertEquals(memory().tensors, tensors);
    return peak / (4 << 16);
  });
  assert(kept! >= 128, `${kept} tensors`);
  assert(recomputed! < 40, `${recomputed} tensors: 8 kept, 16 of a segment, gradients`);
});

test("checkpoint: leaves that fn makes are its own affair", () => {
  const x = leaf(1, 2);
  const fn: Fn = (x) => x.mul(tensor([3, 4], { dtype: "float64", requiresGrad: true }));
  checkpoint(fn, x).sum().backward();
  assertEquals([...x.grad!.dataSync()], [3, 4]);
  assert(!checkpoint(fn, x.detach()).requiresGrad);
});

test("checkpoint: without recording it is fn, whose own tensors are freed", () => {
  const x = leaf(1, 2);
  const before = memory().tensors;
  const y = noGrad(() => checkpoint((x) => x.exp().mul(2).log(), x));
  assert(!y.requiresGrad);
  assertEquals(memory().tensors, before + 1);
  const z = checkpoint((x, scale) => x.mul(scale).add(1), x.detach(), 3);
  assert(!z.requiresGrad);
  assertEquals([...z.dataSync()], [4, 7]);
});

test("checkpoint: what goes wrong is said, and leaves no tensor", () => {
  const x = leaf(1, 2);
  const before = memory().tensors;
  const wrong = (fn: (x: Tensor) => unknown) => () => checkpoint(fn as Fn, x);
  refuse(wrong((x) => (x.mul(2), 3)), "argument", "checkpoint", "3", "a tensor");
  refuse(wrong(() => []), "argument", "checkpoint");
  refuse(wrong(() => Promise.reject(new Error("late"))), "argument", "await");
  refuse(wrong(3 as never), "argument", "checkpoint: fn");
  refuse(
    wrong((x) => {
      x.mul(2);
      throw new RangeError("mine");
    }),
    RangeError,
    "mine",
  );
  assertEquals(memory().tensors, before);
  const other: Fn[] = [(x) => x.sum(), (x) => x.mul(2).to("float32"), (x) => x.detach()];
  for (const then of other) {
    scope(() => {
      let fn: Fn = (x) => x.mul(2);
      const y = checkpoint((x) => fn(x), x).sum();
      fn = then;
      const made = memory().tensors;
      scope(() => refuse(() => y.backward(), GradientError, "checkpoint", "training mode"));
      assertEquals(memory().tensors, made);
    });
  }
  manualSeed(2);
  const next = rand([4]).dataSync();
  manualSeed(2);
  const y = checkpoint((x) => dropout(x), x).sum();
  y.backward();
  refuse(() => y.backward(), GradientError, "used up");
  manualSeed(2);
  assertEquals(rand([4]).dataSync(), next);
});
