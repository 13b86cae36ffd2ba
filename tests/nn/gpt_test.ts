// GPT-2 against Hugging Face's, recorded by tests/fixtures/make_gpt_run.py.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  autocast,
  crossEntropy,
  generate,
  grad,
  io,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  scope,
  type StateDict,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { deviceTest, later, refuse } from "../_helpers.ts";
import { part, type Place, testRuns, within } from "../_runs.ts";

const assertNear = within({ float32: 4e-6, float64: 1e-12 });
const sizes = { vocabSize: 10, contextLength: 16, dModel: 8, layers: 2, heads: 2, dropout: 0 };

testRuns({ gpt: sizes }, (options, recorded: StateDict, place: Place) => {
  const model = models.gpt({ ...options, ...place });
  assertEquals(model.loadStateDict(part(recorded, "initial.")), { missing: [], unexpected: [] });
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  const tokens = recorded.tokens!;
  recorded.losses!.dataSync().forEach((wanted, step) =>
    scope(() => {
      const logits = model.forward(tokens);
      const loss = crossEntropy(
        logits.slice(1, 0, -1).flatten(0, 1),
        tokens.slice(1, 1).flatten(),
      );
      assertAlmostEquals(loss.itemSync(), wanted, 4e-6, `loss of step ${step}`);
      optimizer.zeroGrad();
      loss.backward();
      if (step === 0) {
        assertNear(logits, recorded.logits!, "logits");
        for (const [name, x] of model.namedParameters()) {
          assertNear(x.grad!, recorded[`first.${name}`]!, `gradient of ${name}`);
        }
      }
      optimizer.step();
    })
  );
  for (const [name, x] of model.namedParameters()) {
    assertNear(x, recorded[`final.${name}`]!, `final ${name}`);
  }
  model.dispose();
  optimizer.dispose();
});

deviceTest("generate() writes what Hugging Face's GPT-2 writes", async (device) => {
  const recorded = await io.loadSafetensors(
    new URL("../fixtures/gpt.safetensors", import.meta.url),
    { device, prefix: "float32." },
  );
  const model = later(models.gpt({ ...sizes, device }));
  model.loadStateDict(part(recorded, "final."));
  for (const x of model.parameters()) if (x.rank === 2) x.copyFrom(x.detach().mul(4));
  const rows = (name: string, width: number) => {
    const all = [...recorded[name]!.dataSync()];
    return [all.slice(0, width), all.slice(all.length / 2, all.length / 2 + width)];
  };
  const [first, second] = rows("tokens", 4) as [number[], number[]];
  for (const cache of [true, false]) {
    const options = { maxNewTokens: 8, greedy: true, cache };
    assertEquals(await generate(model, [first, second], options), rows("greedy", 8));
    const uneven = await generate(model, [first.slice(0, 2), second], options);
    assertEquals(uneven, rows("padded", 8));
    const beams = await generate(model, [first, second], {
      ...{ maxNewTokens: 8, beams: 3, lengthPenalty: 2, stopTokens: [2], cache },
    });
    const filled = beams.map((row) => [...row, 2, ...new Array(8).fill(9)].slice(0, 8));
    assertEquals(filled, rows("beams", 8));
  }
});

deviceTest(
  "models.gpt: GPT-2's count, start and names, of files without a prefix too",
  (device) => {
    manualSeed(1);
    const model = later(models.gpt({ vocabSize: 300, contextLength: 8, dModel: 64, device }));
    const count = (m: nn.Module) => m.parameters().reduce((sum, { size }) => sum + size, 0);
    assertEquals(count(model), 308 * 64 + 12 * (12 * 64 * 64 + 13 * 64) + 2 * 64);
    const { "c_attn.weight": wide, "c_proj.weight": back } = part(
      model.stateDict(),
      "transformer.h.3.attn.",
    );
    assertAlmostEquals(wide!.std().itemSync(), 0.02, 1e-3);
    assertAlmostEquals(back!.std().itemSync(), 0.02 / Math.sqrt(24), 3e-4);
    assertEquals(wide!.shape, [64, 192]);
    const tokens = tensor([[1, 2, 299]], { dtype: "int32", device });
    const bare = Object.fromEntries(
      Object.entries(model.stateDict()).map(([name, x]) => [name.replace("transformer.", ""), x]),
    );
    const mask = tensor([[1]], { device });
    bare["h.0.attn.bias"] = mask;
    bare["lm_head.weight"] = bare["wte.weight"]!;
    for (const tieWeights of [true, false]) {
      const sizes = { vocabSize: 300, contextLength: 8, dModel: 64, tieWeights, device };
      const other = later(models.gpt(sizes).eval());
      assertEquals(other.loadStateDict(bare), { missing: [], unexpected: [] });
      const [a, b] = [model.eval().forward(tokens), other.forward(tokens)];
      assertEquals(a.dataSync(), b.dataSync());
      // Products of other sizes add in another order.
      const apart = other.forward(tokens, { last: true }).sub(a.slice(1, -1)).abs().max();
      assert(apart.itemSync() < 1e-6, `${apart.itemSync()}`);
    }
    refuse(
      () => model.forward(tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9]], { dtype: "int32", device })),
      "shape",
      "[1, 9]",
      "8 positions",
    );
    refuse(() => models.gpt({ dModel: 65, heads: 2 }), "argument", "heads is 2");
  },
);

deviceTest("models.gpt learns under bfloat16 autocast as without", (device) => {
  manualSeed(2);
  const model = later(models.gpt({ ...sizes, device }));
  const tokens = tensor([[1, 2, 3, 1, 2, 3, 1, 2]], { dtype: "int32", device });
  const loss = () => {
    const scores = model.forward(tokens.slice(1, 0, -1));
    return crossEntropy(scores.flatten(0, 1), tokens.slice(1, 1).flatten());
  };
  const [plain, low] = [loss(), autocast("bfloat16", loss)];
  assertEquals(low.dtype, "float32");
  assertAlmostEquals(plain.itemSync(), low.itemSync(), 0.02);
  low.backward();
  assert(model.parameters().every(({ grad }) => grad?.dtype === "float32"));
});

deviceTest("a cache gives what all positions at once give, in parts of any length", (device) => {
  manualSeed(3);
  for (const dtype of ["float64", "float32"] as const) {
    const options = { batchFirst: true, kvHeads: 2, device, dtype };
    const attention = later(new nn.MultiHeadAttention(24, 6, options));
    const x = nn.init.normal(zeros([2, 130, 24], { device, dtype }));
    noGrad(() => {
      const whole = attention.forward(x, x, x, { causal: true }).dataSync();
      using cache = new nn.KVCache({ capacity: 2 });
      let at = 0;
      for (const length of [3, 1, 1, 60, 65]) {
        const one = x.slice(1, at, at + length);
        const y = attention.forward(one, one, one, { causal: true, cache });
        at += length;
        const found = y.dataSync(), width = length * 24;
        for (const [i, value] of found.entries()) {
          const row = Math.floor(i / width) * 130 * 24 + (at - length) * 24 + i % width;
          assertAlmostEquals(value, whole[row]!, dtype === "float64" ? 1e-12 : 2e-6);
        }
      }
      assertEquals(cache.length, 130);
    });
    using cache = new nn.KVCache();
    const one = x.slice(1, 0, 1);
    refuse(() => attention.forward(one, one, one, { cache }), "gradient", "noGrad");
  }
});

deviceTest("heads that share keys attend as if each had them", (device) => {
  manualSeed(4);
  const grouped = later(new nn.MultiHeadAttention(8, 4, { kvHeads: 2, device, dtype: "float64" }));
  const each = later(new nn.MultiHeadAttention(8, 4, { device, dtype: "float64" }));
  const repeated = (x: Tensor) => {
    const rest = x.shape.slice(1), kv = x.slice(0, 8).reshape([2, 2, 2, ...rest]);
    const all = kv.repeatInterleave(2, 1).reshape([16, ...rest]);
    return [x.slice(0, 0, 8), all];
  };
  const state = grouped.stateDict();
  assertEquals(state.in_proj_weight!.shape, [16, 8]);
  noGrad(() => {
    for (const name of ["in_proj_weight", "in_proj_bias"] as const) {
      const [q, kv] = repeated(state[name]!);
      each.stateDict()[name]!.slice(0, 0, 8).copyFrom(q!);
      each.stateDict()[name]!.slice(0, 8).copyFrom(kv!);
    }
  });
  each.out_proj.loadStateDict(grouped.out_proj.stateDict());
  const x = tensor(Array.from({ length: 40 }, (_, i) => Math.sin(i * i)), {
    ...{ shape: [5, 1, 8], device, dtype: "float64" },
  });
  const [a, b] = [grouped, each].map((m) => m.forward(x, x, x, { causal: true }).dataSync());
  a!.forEach((value, i) => assertAlmostEquals(value, b![i]!, 1e-12));
  const weighed = [grouped, each].map((m) => m.run(x, x, x, { causal: true }));
  for (const name of ["output", "weights"] as const) {
    const [a, b] = weighed.map((found) => found[name]!.dataSync());
    a!.forEach((value, i) => assertAlmostEquals(value, b![i]!, 1e-12));
  }
  const [dx, wanted] = [grouped, each].map((m) => {
    const own = x.clone();
    own.requiresGrad = true;
    const y = m.forward(own, own, own, { causal: true });
    return grad(y.mul(y).sum(), [own])[0]!.dataSync();
  });
  dx!.forEach((value, i) => assertAlmostEquals(value, wanted![i]!, 1e-12));
  // By a cache, in parts: the weights of the last ones, too.
  noGrad(() => {
    using cache = new nn.KVCache();
    const [head, tail] = [x.slice(0, 0, 2), x.slice(0, 2)];
    grouped.forward(head, head, head, { causal: true, cache });
    const { output, weights } = grouped.run(tail, tail, tail, { causal: true, cache });
    const all = weighed[1]!;
    for (
      const [found, whole] of [
        [output, all.output.slice(0, 2)],
        [weights!, all.weights!.slice(1, 2)],
      ] as const
    ) {
      assertEquals(found.shape, whole.shape);
      const right = whole.dataSync();
      found.dataSync().forEach((value, i) => assertAlmostEquals(value, right[i]!, 1e-12));
    }
  });
  refuse(() => new nn.MultiHeadAttention(8, 4, { kvHeads: 3 }), "argument", "kvHeads is 3");
});

deviceTest(
  "RotaryEmbedding turns pairs by the place's angle, in Llama's order and GPT-J's",
  (device) => {
    const x = tensor(Array.from({ length: 48 }, (_, i) => Math.cos(3 * i)), {
      ...{ shape: [2, 4, 6], device, dtype: "float64" },
    });
    for (const interleaved of [false, true]) {
      const rotary = new nn.RotaryEmbedding(6, { base: 100, interleaved });
      const found = rotary.forward(x, 2).dataSync(), given = x.dataSync();
      for (let row = 0; row < 8; row++) {
        for (let i = 0; i < 3; i++) {
          const at = row * 6 + (interleaved ? 2 * i : i), other = at + (interleaved ? 1 : 3);
          const angle = (2 + row % 4) * 100 ** (-i / 3);
          const [c, s] = [Math.cos(angle), Math.sin(angle)];
          assertAlmostEquals(found[at]!, given[at]! * c - given[other]! * s, 1e-12);
          assertAlmostEquals(found[other]!, given[at]! * s + given[other]! * c, 1e-12);
        }
      }
    }
    refuse(() => new nn.RotaryEmbedding(6).forward(x.slice(2, 1)), "shape", "[2, 4, 5]");
    refuse(() => new nn.RotaryEmbedding(5), "argument", "even");
  },
);

deviceTest("decoders stack, without biases and with an activation of one's own", (device) => {
  const options = { feedForward: 6, dropout: 0, bias: false, device };
  const layers = ["gelu" as const, (x: Tensor) => x.gelu()].map((activation) => {
    manualSeed(6);
    return new nn.TransformerDecoderLayer(4, 2, { ...options, activation });
  });
  const names = [...layers[0]!.namedParameters()].map(([name]) => name);
  assertEquals(names.filter((name) => name.endsWith("bias")), []);
  const stack = later(new nn.TransformerDecoder(layers, { norm: new nn.LayerNorm(4, { device }) }));
  assert("layers.1.multihead_attn.in_proj_weight" in stack.stateDict());
  const x = nn.init.normal(zeros([3, 2, 4], { device })), memory = x.slice(0, 1).mul(2);
  const [a, b] = layers.map((layer) => layer.forward(x, memory, { causal: true }).dataSync());
  a!.forEach((value, i) => assertAlmostEquals(value, b![i]!, 1e-5));
  assertEquals(stack.forward(x, memory).shape, [3, 2, 4]);
  const mixed = [later(new nn.TransformerEncoderLayer(4, 2, options))];
  refuse(
    () => new nn.TransformerDecoder(mixed as unknown as typeof layers),
    ...["argument", "decoder layers"] as const,
  );
});

deviceTest("SwiGLU is Llama's feed-forward part", (device) => {
  const layer = later(new nn.SwiGLU(3, 5, { device, dtype: "float64" }));
  assertEquals(Object.keys(layer.stateDict()), [
    ...["gate_proj.weight", "up_proj.weight", "down_proj.weight"],
  ]);
  const x = tensor([[0.5, -1, 2]], { device, dtype: "float64" });
  const { gate_proj, up_proj, down_proj } = layer;
  const gate = gate_proj.forward(x), up = up_proj.forward(x);
  const wanted = down_proj.forward(gate.mul(gate.sigmoid()).mul(up)).dataSync();
  layer.forward(x).dataSync().forEach((y, i) => assertAlmostEquals(y, wanted[i]!, 1e-12));
});
