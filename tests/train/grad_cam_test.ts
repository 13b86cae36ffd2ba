// Where a model looks.
import { assert, assertEquals } from "@std/assert";
import { gradCam, manualSeed, nn, rand, randn, tensor } from "../../mod.ts";
import { cleanTest as test, later, refuse } from "../_helpers.ts";

const float64 = { dtype: "float64" } as const;
/** A convolution, a linear layer of each of its k outputs' places, and the rest in numbers. */
function small(dtype: "float32" | "float64" = "float64") {
  const conv = new nn.Conv2d(1, 3, 3, { padding: 1, dtype });
  const head = [new nn.Flatten(), new nn.Linear(3 * 4 * 6, 5, { dtype })] as const;
  return later(new nn.Sequential(conv, new nn.ReLU(), new nn.Dropout(0.5), ...head));
}

test("gradCam: is the formula", () => {
  const model = small(), x = rand([2, 1, 4, 6], float64);
  const conv = [...model.namedModules()][1]![1] as nn.Conv2d;
  const w = model.stateDict()["4.weight"]!.dataSync();
  model.eval();
  const a = conv.forward(x).dataSync(), scores = model.forward(x).dataSync();
  model.train();
  const maps = (classes: number[]) =>
    classes.flatMap((c, n) => {
      const map = new Float64Array(24);
      for (let k = 0; k < 3; k++) {
        let weight = 0; // the head is linear: dy / dA is its weight, where the relu lets it through
        const at = (p: number) => a[(n * 3 + k) * 24 + p]!;
        for (let p = 0; p < 24; p++) weight += at(p) > 0 ? w[c * 72 + k * 24 + p]! / 24 : 0;
        for (let p = 0; p < 24; p++) map[p]! += weight * at(p);
      }
      const most = Math.max(0, ...map);
      return [...map.map((v) => most > 0 ? Math.max(0, v) / most : 0)];
    });
  const close = (found: ArrayLike<number>, wanted: number[]) => {
    wanted.forEach((v, i) => assert(Math.abs(found[i]! - v) < 1e-5, `${i}: ${found[i]} for ${v}`));
  };
  close(gradCam(model, "0", x, { target: 3 }).dataSync(), maps([3, 3]));
  close(
    gradCam(model, conv, x, { target: tensor([0, 4], { dtype: "int32" }) }).dataSync(),
    maps([0, 4]),
  );
  const likeliest = [0, 1].map((n) => {
    const own = [...scores.slice(n * 5, n * 5 + 5)];
    return own.indexOf(Math.max(...own));
  });
  model.freeze();
  close(gradCam(model, "0", x).dataSync(), maps(likeliest));
  assert([...model.namedModules()].every(([, { training }]) => training));
  assertEquals(Object.getOwnPropertyNames(conv).includes("forward"), false, "the hook is gone");
});

/** Spearman's correlation; what is equal has the mean of its ranks. */
function ranks(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const rank = (x: ArrayLike<number>) => {
    const sorted = Float64Array.from(x).sort();
    const last = sorted.length - 1;
    return Array.from(x, (v) => sorted.indexOf(v) + sorted.lastIndexOf(v) - last);
  };
  const [p, q] = [rank(a), rank(b)];
  const dot = (x: number[], y: number[]) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q));
}

test("gradCam: depends on the class and on weights above the layer; is as large as images", () => {
  manualSeed(8);
  const conv = (from: number) => new nn.Conv2d(from, 8, 3, { padding: 1 });
  const layers = [conv(3), new nn.ReLU(), new nn.MaxPool2d(2), conv(8), new nn.ReLU()];
  const model = later(new nn.Sequential(...layers, new nn.Flatten(), new nn.Linear(8 * 64, 4)));
  const x = randn([12, 3, 16, 16]);
  const map = (target = 0) => gradCam(model, "1", x, { target }).dataSync();
  const first = map(), again = map(), other = map(1);
  assertEquals([first, gradCam(model, "1", x).shape], [again, [12, 16, 16]]);
  assert(first.every((v) => v >= 0 && v <= 1) && first.includes(1));
  const far = [ranks(first, other)];
  for (const name of ["6.weight", "3.weight"]) { // one layer after another, from the top
    model.stateDict()[name]!.copyFrom(randn(model.stateDict()[name]!.shape).mul(0.1));
    far.push(ranks(first, map()));
  }
  assert(far.every((r) => Math.abs(r) < 0.5), `${far}`);
});

test("gradCam: says what is wrong, and leaves nothing behind", () => {
  const model = small("float32"), x = rand([1, 1, 4, 6]);
  refuse(() => gradCam(model, "conv", x), "argument", "no layer conv", "0, 1, 2, 3, 4");
  refuse(() => gradCam(model, "4", x), "shape", "what Linear", "[1, 5]");
  refuse(() => gradCam(model, "0", x, { target: 5 }), "argument", "a class from 0 to 4");
  refuse(() => gradCam(model, "0", rand([4, 6])), "shape", "input is [4, 6]");
  assert(model.training);
});
