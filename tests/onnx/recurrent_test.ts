import { assertAlmostEquals, assertEquals } from "@std/assert";
import { manualSeed, onnx, rand, scope } from "../../mod.ts";
import { evaluated, type Given } from "./_evaluated.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

const floats = (shape: number[], data: number[]): Given => ["float32", shape, data];
const sigma = (x: number) => 1 / (1 + Math.exp(-x));
const soft = (x: number) => x / (1 + Math.abs(x));

// One unit and one feature, so that all weights are numbers, a gate each in ONNX's order.
const w = [0.5, -0.3, 0.8, 0.2], r = [-0.4, 0.6, 0.3, 0.9], p = [0.7, -0.5, 0.4];
const wb = [0.1, 0.2, -0.3, 0.4], rb = [0.05, -0.1, 0.15, 0.25];
const xs = [1.5, -0.5, 2, 0.7];

interface Way {
  lstm?: boolean;
  peepholes?: boolean;
  clip?: number;
  squash?: (x: number) => number;
  after?: boolean;
  reverse?: boolean;
  steps?: number;
}

/** What the definition says, step by step: outputs, and the last states. */
function reference(x: readonly number[], way: Way): [number[], number, number] {
  const { lstm = true, peepholes, clip = Infinity, squash = Math.tanh, after, reverse } = way;
  const { steps = x.length } = way;
  const cut = (v: number) => Math.max(-clip, Math.min(clip, v));
  let [h, c] = [0.25, -0.75];
  const y = x.map(() => 0);
  for (let k = 0; k < steps; k++) {
    const t = reverse ? steps - 1 - k : k;
    const [a, u] = [w.map((v, g) => v * x[t]! + wb[g]!), r.map((v, g) => v * h + rb[g]!)];
    const sum = (g: number, cell = 0) => cut(a[g]! + u[g]! + (peepholes ? p[g]! * cell : 0));
    if (lstm) { // i, o, f, c
      const [i, f] = [sigma(sum(0, c)), sigma(sum(2, c))];
      c = f * c + i * squash(cut(a[3]! + u[3]!));
      h = sigma(sum(1, c)) * squash(c);
    } else { // z, r, h
      const [z, reset] = [sigma(sum(0)), sigma(sum(1))];
      const past = after ? reset * u[2]! : r[2]! * reset * h + rb[2]!;
      h = (1 - z) * squash(cut(a[2]! + past)) + z * h;
    }
    y[t] = h;
  }
  return [y, h, c];
}

async function check(way: Way, attributes: Record<string, unknown>, both = false) {
  const { lstm = true, peepholes, steps } = way;
  const gates = lstm ? 4 : 3;
  const twice = (list: number[]) => both ? [...list, ...list] : list;
  const d = both ? 2 : 1;
  const given: Record<string, Given> = {
    x: floats([4, 1, 1], xs),
    w: floats([d, gates, 1], twice(w.slice(0, gates))),
    r: floats([d, gates, 1], twice(r.slice(0, gates))),
    b: floats([d, 2 * gates], twice([...wb.slice(0, gates), ...rb.slice(0, gates)])),
    h: floats([d, 1, 1], twice([0.25])),
    ...(steps ? { lengths: ["int32", [1], [steps]] } : {}),
    ...(lstm ? { c: floats([d, 1, 1], twice([-0.75])) } : {}),
    ...(peepholes ? { p: floats([d, 3], twice(p)) } : {}),
  };
  const names = ["x", "w", "r", "b", steps ? "lengths" : "", "h", lstm ? "c" : ""];
  if (peepholes) names.push("p");
  const outputs = ["y", "last", ...(lstm ? ["cell"] : [])];
  const op = lstm ? "LSTM" : "GRU";
  const found = await evaluated(
    [node(op, names, outputs, { hidden_size: 1, ...attributes })],
    given,
    outputs,
    17,
  );
  const ways = both ? [way, { ...way, reverse: true }] : [way];
  const parts = ways.map((way) => reference(xs, way));
  const want = [
    xs.flatMap((_, t) => parts.map(([y]) => y[t]!)),
    parts.map(([, h]) => h),
    parts.map(([, , c]) => c),
  ];
  assertEquals(found[0]![0], [4, d, 1, 1]);
  found.forEach(([, list], i) =>
    list.forEach((value, k) => assertAlmostEquals(value, want[i]![k]!, 1e-6, `${outputs[i]} ${k}`))
  );
}

test("onnx: LSTM: gates i, o, f, c; directions; lengths; peepholes; clip", async () => {
  await check({}, {});
  await check({ reverse: true }, { direction: "reverse" });
  await check({}, { direction: "bidirectional" }, true);
  await check({ steps: 3 }, { direction: "bidirectional" }, true);
  await check({ peepholes: true }, {});
  await check({ peepholes: true, steps: 2 }, { direction: "bidirectional" }, true);
  await check({ clip: 0.5 }, { clip: 0.5 });
  const activations = ["Sigmoid", "Softsign", "Softsign"];
  await check({ squash: soft }, { activations });
});

test("onnx: GRU resets before or after the product", async () => {
  const lstm = false;
  await check({ lstm }, {});
  await check({ lstm, after: true }, { linear_before_reset: 1 });
  const reverse = { linear_before_reset: 1, direction: "reverse" };
  await check({ lstm, after: true, steps: 2, reverse: true }, reverse);
  await check({ lstm, steps: 3 }, { direction: "bidirectional" }, true);
});

test("onnx: RNN with the batch first; an activation with a number of its own", async () => {
  const nodes = [node("RNN", ["x", "w", "r"], ["y", "h"], {
    hidden_size: 1,
    layout: 1,
    activations: ["LeakyRelu"],
  })];
  const given = {
    x: floats([2, 2, 1], [1, -2, 3, 4]),
    w: floats([1, 1, 1], [2]),
    r: floats([1, 1, 1], [0.5]),
  };
  const [[shape, y], [, h]] = await evaluated(nodes, given, ["y", "h"], 17) as [
    [number[], number[]],
    [number[], number[]],
  ];
  // 2 x + h / 2, times 0.01 below zero
  assertEquals(shape, [2, 2, 1, 1]);
  [2, -0.03, 6, 11].forEach((want, i) => assertAlmostEquals(y[i]!, want, 1e-6));
  [-0.03, 11].forEach((want, i) => assertAlmostEquals(h[i]!, want, 1e-6));
});

test("onnx: inverse functions, einsum of integers, losses that ignore", async () => {
  const nodes = [
    node("Asin", ["x"], ["s"]),
    node("Acos", ["x"], ["c"]),
    node("Atan", ["z"], ["t"]),
  ];
  const x = [-1, -0.5, 0, 1e-4, 0.99, 1], z = [-Infinity, -3, -0.1, 0, 1, 1e9];
  const found = await evaluated(nodes, { x: floats([6], x), z: floats([6], z) }, ["s", "c", "t"]);
  const want = [x.map(Math.asin), x.map(Math.acos), z.map(Math.atan)];
  found.forEach(([, list], i) =>
    list.forEach((value, k) => assertAlmostEquals(value, want[i]![k]!, 1e-6))
  );
  const a: Given = ["int64", [2, 2], [1, 2, 3, 4]];
  const einsum = [node("Einsum", ["a", "a"], ["y"], { equation: "ij,kj->ik" })];
  assertEquals(await evaluated(einsum, { a }, ["y"]), [[[2, 2], [5, 11, 11, 25]]]);
  const loss = node("NegativeLogLikelihoodLoss", ["x", "at", "weight"], ["y"], {
    ignore_index: -1,
  });
  const given = {
    x: floats([3, 2], [-1, -2, -3, -4, -5, -6]),
    at: ["int64", [3], [1, -1, 0]] as Given,
    weight: floats([2], [1, 3]),
  };
  // (3 * 2 + 1 * 5) / (3 + 1)
  assertEquals(await evaluated([loss], given, ["y"]), [[[], [2.75]]]);
});

test("onnx: random numbers, by the process's seed or the node's own", async () => {
  const file = (attributes: Record<string, unknown>) =>
    onnx.load(
      modelBytes({
        node: [
          node("RandomUniform", [], ["y"], { shape: [4], low: 2.5, high: 3.5, ...attributes }),
        ],
        output: [valueInfo("y", "float32")],
      }),
      { device: "cpu" },
    );
  const draw = (model: onnx.OnnxModel) => scope(() => [...model.run({}).y!.dataSync()]);
  const after = (before: () => void) => {
    manualSeed(3);
    before();
    return scope(() => [...rand([2], { device: "cpu" }).dataSync()]);
  };
  using free = await file({});
  using seeded = await file({ seed: 7.5 });
  const first = draw(seeded);
  assertEquals(first.every((value) => value >= 2.5 && value < 3.5), true);
  assertEquals(draw(seeded), first);
  assertEquals(after(() => draw(seeded)), after(() => {}));
  manualSeed(3);
  const one = draw(free);
  assertEquals(one.join() === draw(free).join(), false);
  manualSeed(3);
  assertEquals(draw(free), one);
});
