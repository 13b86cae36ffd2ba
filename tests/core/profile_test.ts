// profile(): its figures against hand counts, and that nothing is left of it.
import { assert, assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ArgumentError,
  conv2d,
  type DeviceName,
  nn,
  optim,
  Profile,
  profile,
  type ProfileData,
  randint,
  randn,
  relu,
  synchronize,
  type Tensor,
  zeros,
} from "../../mod.ts";
import { told } from "../../lib/native/arguments.ts";
import { countsOf } from "../../lib/core/counts.ts";
import { cleanTest, inFolder, later, nativeCalls, refuse } from "../_helpers.ts";

const [N, IN, HIDDEN, OUT] = [5, 8, 16, 4];

function perceptron() {
  const model = later(
    new nn.Sequential(new nn.Linear(IN, HIDDEN), new nn.ReLU(), new nn.Linear(HIDDEN, OUT)),
  );
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }));
  const x = randn([N, IN]), target = randint(0, OUT, [N]);
  const loss = new nn.CrossEntropyLoss();
  const step = () => {
    optimizer.zeroGrad();
    loss.forward(model.forward(x), target).backward();
    optimizer.step();
  };
  step(); // makes the velocities
  return { model, step, x };
}

const rowOf = ({ ops }: ProfileData, op: string, layer: string, phase: string) => {
  const row = ops.find((row) => row.op === op && row.layer === layer && row.phase === phase);
  assert(row, `${op}, ${layer}, ${phase}: ${JSON.stringify(ops)}`);
  return row;
};

/** Nothing is on: calls are told to nobody, and the library records nothing. */
function off() {
  using x = zeros([1]);
  assertEquals(told, undefined);
  refuse(
    () => x.backend.check(x.backend.functions.cdn_profile_note(0)),
    "native",
    "no profile",
  );
}

cleanTest("profile: the step of a perceptron, by hand", async () => {
  const { model, step } = perceptron();
  const found = await profile(step, { model });
  const { data } = found;
  const [first, last] = ["0 Linear", "2 Linear"];
  const inner = rowOf(data, "linear", first, "forward");
  assertEquals(inner.flops, 2 * N * IN * HIDDEN);
  assertEquals(inner.bytes, 4 * (N * IN + HIDDEN * IN + HIDDEN + N * HIDDEN));
  assertEquals([inner.calls, inner.bandwidthShare], [1, undefined]);
  assertEquals(rowOf(data, "linear", last, "forward").flops, 2 * N * HIDDEN * OUT);
  // the weight's gradient and, but for the first layer, the input's
  assertEquals(rowOf(data, "linear", first, "backward").flops, 2 * N * IN * HIDDEN);
  assertEquals(rowOf(data, "linear", last, "backward").flops, 2 * 2 * N * HIDDEN * OUT);
  const parameters = (IN + 1) * HIDDEN + (HIDDEN + 1) * OUT;
  const sgd = rowOf(data, "sgdStep", "", "other");
  assertEquals([sgd.flops, sgd.bytes], [4 * parameters, 4 * 5 * parameters]);
  assertEquals(data.layers.map(({ layer }) => layer).toSorted(), [first, last]);
  assert(data.ops.every((op) => op.time >= 0 && op.idle >= 0));
  assertEquals(data.ops.reduce((sum, op) => sum + op.launches, 0), data.launches.length);
  assertLess(Math.abs(data.ops.reduce((sum, op) => sum + op.time, 0) - data.busy), 1e-6);
  assert(data.launches.every(({ kernel }) => kernel.length > 0));
  const text = `${found}`;
  for (const part of ["sgdStep", first, "crossEntropy", "memory"]) assertStringIncludes(text, part);
  assertEquals(Deno.inspect(found), text);
  assertEquals(JSON.parse(JSON.stringify(found)).ops.length, data.ops.length);
  assertEquals(found.explain().length, 3);
  off();
});

cleanTest("profile: a convolution, by hand", async () => {
  const x = randn([2, 6, 9, 8]), w = randn([4, 3, 3, 3]);
  const { data } = await profile(() => conv2d(x, w, null, { groups: 2, stride: 2 }), {
    peaks: true,
  });
  const row = data.ops.find(({ flops }) => flops)!;
  assertEquals([row.op, row.phase], ["conv2d", "forward"]);
  assertEquals(row.flops, 2 * (2 * 4 * 3) * 4 * 3 * 3 * 3);
  assertEquals(row.bytes, 4 * (x.size + w.size + 2 * 4 * 4 * 3));
  assert(row.computeShare! > 0 && row.bandwidthShare! > 0);
});

cleanTest("profile: counts of calls, unknown ones left open", () => {
  const x = randn([4, 6]), y = zeros([4, 6], { dtype: "float16" }), row = zeros([6]);
  const g = zeros([4, 6]), rows = zeros([6]);
  const counts = (name: string, ...args: unknown[]) => {
    const { bytes, flops } = countsOf(name, args);
    return [bytes, flops];
  };
  assertEquals(counts("relu", x, x, 24, 0), [192, 24]);
  assertEquals(counts("relu_grad", x, x, g, 24, 0), [288, 48]);
  assertEquals(counts("cast", y, x, 24, 4, 0), [144, 0]);
  assertEquals(counts("add", x, x, row, null, 2, 0, 0), [216, 24]); // a row for all
  assertEquals(
    counts("add", x, g, g, null, 2, 0, 0),
    [192, 24],
    "what is given twice is read once",
  );
  assertEquals(counts("sum", row, x, 1, 4, 6, 0, 0), [120, 24]);
  assertEquals(counts("softmax", x, x, 4, 6, 0), [192, 120]);
  assertEquals(counts("layer_norm", x, null, null, x, row, rows), [240, 192]);
  assertEquals(counts("gather_rows", row, x, zeros([1], { dtype: "int32" })), [52, undefined]);
  assertEquals(counts("topk", row, row, x), [undefined, undefined]);
  assertEquals(counts("max_pool", row, null, x), [120, undefined]);
  const batch = new BigInt64Array([3n, 0n, 8n]), [a, b, c] = [[2, 4], [3, 4, 5], [3, 2, 5]];
  // Two batches of four heads, of which two share keys; causal, 1 + 2 + 3 of 3 x 5 scores.
  const numbers = new BigInt64Array([2, 4, 2, 3, 5, 8, 6, 0, 0, -1, 0].map(BigInt));
  const [q, k, v, out] = [[2, 4, 3, 8], [2, 2, 5, 8], [2, 2, 5, 6], [2, 4, 3, 6]].map((s) =>
    zeros(s)
  );
  assertEquals(
    counts("attention", out, null, q, k, v, null, null, null, numbers, 1, 0, 0n, 0n, 0, 0, 0),
    [4 * (192 + 160 + 120 + 144), 2 * 2 * 4 * 6 * (8 + 6)],
  );
  assertEquals( // one matrix for a batch of three
    counts("matmul", ...[c, a, b].map((s) => zeros(s!)), batch, 1, 2, 5, 4, 0, 0, 0, 0, 0, 0, 0),
    [4 * (8 + 60 + 30), 2 * 3 * 2 * 5 * 4],
  );
  const none = new BigInt64Array(0), [nothing, nil] = [zeros([0, 4]), zeros([0, 5])];
  const empty = [nil, nothing, zeros([4, 5]), none, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0, 0];
  assertEquals(counts("matmul", ...empty), [80, 0]);
  const sizes = new BigInt64Array([10n, 20n]), handles = new Uint32Array(2);
  assertEquals(
    counts(
      "adam_step",
      ...[handles, handles, handles, handles, null],
      sizes,
      2,
      x,
      null,
      0,
      0,
      0,
      0,
    ),
    [30 * (3 + 4) * 4, 30 * 13],
  );
  assertEquals(counts("list_zero", handles, sizes, 2, 5), [60, 0]);
});

cleanTest("profile: layers stay fused, and are what they were afterwards", async () => {
  class Twice extends nn.Module {
    inner = new nn.Sequential(new nn.Linear(IN, IN), new nn.ReLU());
    override forward(x: Tensor): Tensor {
      return this.inner.forward(x).mul(2);
    }
  }
  const model = later(new Twice());
  const forward = () => void model.forward(zeros([N, IN]));
  const names = ["cdn_matmul_fused", "cdn_relu", "cdn_mul"];
  const before = nativeCalls(names, forward).map(({ name }) => name);
  const { data } = await profile(forward, { model });
  const kernels = data.launches.map(({ op, layer, phase }) => `${op} ${layer} ${phase}`);
  assertEquals(kernels.slice(-2), ["linear inner.0 Linear forward", "mul Twice forward"]);
  assertEquals(before, ["cdn_matmul_fused", "cdn_mul"]);
  for (const [, module] of model.namedModules()) assert(!Object.hasOwn(module, "forward"));
});

cleanTest("profile: a trace that viewers read", async () => {
  const { model, step } = perceptron();
  const found = await profile(step, { model });
  await inFolder(async (folder) => {
    await found.save(`${folder}/trace.json`);
    const { traceEvents } = JSON.parse(await Deno.readTextFile(`${folder}/trace.json`));
    type Event = { ph: string; tid: number; ts: number; dur: number; name: string };
    const whole = (tid: number) =>
      (traceEvents as Event[]).filter((event) => event.ph === "X" && event.tid === tid);
    const [outer, ...inner] = whole(0);
    assertEquals(outer!.name, "Sequential");
    assert(inner.length > 0);
    const end = outer!.ts + outer!.dur + 1e-3; // both ends are rounded
    for (const { ts, dur } of inner) {
      assert(ts >= outer!.ts && ts + dur <= end, "a layer within its model");
    }
    assertEquals(whole(2).length, found.data.launches.length);
    for (const tid of [0, 1, 2]) for (const { ts, dur } of whole(tid)) assert(ts >= 0 && dur >= 0);
    assert(
      traceEvents.some(({ ph, args }: { ph: string; args: { bytes: number } }) =>
        ph === "C" && args.bytes === found.data.memory.peak
      ),
    );
  });
});

cleanTest("profile: who has the memory", async () => {
  const { data } = await profile(() => {
    const x = relu(zeros([1 << 16])); // zeros and their relu
    x.sum();
  });
  const { peak, owners } = data.memory;
  assert(peak >= 1 << 19);
  for (const name of ["fill", "relu"]) {
    assertEquals(owners.find(({ owner }) => owner.startsWith(name))?.bytes, 1 << 18, name);
  }
});

cleanTest("profile: an error, a promise, another one, a limit", async () => {
  const x = zeros([8]);
  const wrong = new Error("mine");
  const failing = () => {
    relu(x);
    throw wrong;
  };
  assertEquals(await assertRejects(() => profile(failing)), wrong);
  off();
  await assertRejects(() => profile(() => Promise.reject(wrong)), Error, "mine");
  off();
  const { data } = await profile(async () => {
    relu(x);
    await synchronize();
    await assertRejects(() => profile(() => {}), ArgumentError, "under way");
    x.neg();
  }, { limit: 1 });
  assertEquals([data.launches.map(({ op }) => op), data.leftOut], [["relu"], 1]);
  off();
  const empty = await profile(() => {});
  assert(empty instanceof Profile && `${empty}`.includes("No work"));
  await assertRejects(() => profile(1 as never), ArgumentError, "fn");
  await assertRejects(() => profile(() => {}, { limit: 0 }), ArgumentError, "limit");
  await assertRejects(() => profile(() => {}, { device: "tpu" as DeviceName }), ArgumentError);
  off();
});

cleanTest("profile: costs nothing when there is none", () => {
  const { step } = perceptron();
  assertEquals(
    nativeCalls(["cdn_profile_begin", "cdn_profile_note", "cdn_memory_stats"], step),
    [],
  );
});

cleanTest("profile: the library refuses what it cannot read", () => {
  const { backend } = zeros([1]);
  const { functions: f } = backend, counts = new BigInt64Array(2);
  const fails = (status: number, part: string) =>
    refuse(() => backend.check(status), "native", part);
  fails(f.cdn_profile_stop(counts), "no profile");
  fails(f.cdn_profile_begin(backend.index, -1n), "limit");
  backend.check(f.cdn_profile_begin(backend.index, 5n));
  const [names, times, facts] = [new Uint8Array(2560), new Float64Array(20), new BigInt64Array(30)];
  fails(f.cdn_profile_read(names, times, facts, 1n), "count");
  fails(f.cdn_profile_stop(null), "counts");
  backend.check(f.cdn_profile_stop(counts));
  assertEquals([...counts], [0n, 0n]);
  fails(f.cdn_profile_read(null, times, facts, 1n), "names");
  backend.check(f.cdn_profile_read(null, null, null, 0n));
  backend.check(f.cdn_profile_read(null, null, null, 0n));
});
