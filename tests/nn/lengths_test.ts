// Recurrent layers on padded sequences: as each sequence alone, and as PyTorch's packed ones.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  concat,
  data,
  devices,
  DTypeError,
  nn,
  randn,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  where,
} from "../../mod.ts";
import { assertNear, readCases, restored, type Stored } from "../_recorded.ts";
import { cleanTest as test, later } from "../_helpers.ts";

interface Padded {
  kind: "LSTM" | "GRU" | "RNN";
  options: nn.RNNBaseOptions;
  lengths: number[];
  parameters: Record<string, Stored>;
  inputs: Stored[];
  outputs: Stored[];
  gradients: Record<string, Stored>;
  inputGradients: Stored[];
}

type Layer = nn.LSTM | nn.GRU | nn.RNN;

function run(layer: Layer, x: Tensor, states: Tensor[], options: nn.SequenceOptions): Tensor[] {
  if (!(layer instanceof nn.LSTM)) {
    const { output, state } = layer.run(x, states[0], options);
    return [output, state];
  }
  const [h, c] = states;
  const { output, state } = layer.run(x, h && c && { h, c }, options);
  return [output, state.h, state.c];
}

// Products of other sizes add in another order.
function near(found: Tensor, wanted: Tensor) {
  assertEquals(found.shape, wanted.shape);
  const all = wanted.to("float64").dataSync();
  found.to("float64").dataSync().forEach((v, i) => assertAlmostEquals(v, all[i]!, 1e-6));
}

const weighed = (list: Tensor[]) =>
  list.map((y) => {
    const { shape, dtype, device } = y;
    const ramp = Float64Array.from({ length: y.size }, (_, i) => (i + 1) / 8);
    return y.mul(tensor(ramp, { shape, dtype, device })).sum();
  }).reduce((a, b) => a.add(b));

for (const padded of await readCases<Padded>("padded_sequences.jsonl")) {
  for (const { device } of devices()) {
    for (const dtype of ["float32", "float64"] as const) {
      Deno.test(`torch: ${padded.kind} of padded sequences in ${dtype} on ${device}`, () =>
        scope(() => {
          const place = { dtype, device };
          const layer = new nn[padded.kind](2, 3, { ...padded.options, ...place });
          const start = Object.entries(padded.parameters);
          layer.loadStateDict(
            Object.fromEntries(start.map(([key, x]) => [key, restored(x, dtype, device)])),
          );
          const own = padded.inputs.map((x) => restored(x, dtype, device, true));
          const [x, ...states] = own as [Tensor, ...Tensor[]];
          const lengths = tensor(Int32Array.from(padded.lengths), { device });
          const outputs = run(layer, x, states, { lengths });
          outputs.forEach((y, i) => assertNear(y, padded.outputs[i]!, dtype, `output ${i}`));
          weighed(outputs).backward();
          own.forEach((x, i) => assertNear(x.grad!, padded.inputGradients[i]!, dtype, `d ${i}`));
          const state = layer.stateDict();
          for (const [key, wanted] of Object.entries(padded.gradients)) {
            assertNear(state[key]!.grad!, wanted, dtype, `d ${key}`);
          }
          layer.dispose();
        }));
    }
  }
}

test("lengths: each sequence is as it is alone, whatever the padding is", () => {
  const lengths = [3, 6, 1, 5];
  const options = { numLayers: 2, bidirectional: true, dtype: "float64" } as const;
  for (const kind of ["LSTM", "GRU", "RNN"] as const) {
    for (const batchFirst of [true, false]) {
      const layer: Layer = later(new nn[kind](2, 3, { ...options, batchFirst }));
      const alone = lengths.map((n) => randn([n, 2], { dtype: "float64" }));
      for (const paddingValue of [NaN, -Infinity]) {
        const x = data.padSequence(alone, { batchFirst, paddingValue }).detach();
        x.requiresGrad = true;
        const [output, ...last] = run(layer, x, [], { lengths }) as [Tensor, ...Tensor[]];
        assertEquals(
          layer.forward(x, { lengths: Int32Array.from(lengths) }).dataSync(),
          output.dataSync(),
        );
        const each = alone.map((x) => run(layer, x, [], {}));
        const outputs = data.padSequence(each.map(([y]) => y!), { batchFirst });
        near(output, outputs);
        last.forEach((state, k) => {
          const states = each.map((list) => list[k + 1]!.unsqueeze(1));
          near(state, concat(states, 1));
        });
        weighed([output, ...last]).backward();
        const valid = x.detach().abs().lt(100);
        const zero = where(valid, 0, x.grad!);
        assert(zero.dataSync().every((v) => Object.is(v, 0)), "padding has gradients");
        assert(layer.parameters().every((p) => p.grad!.dataSync().every(Number.isFinite)));
        layer.zeroGrad();
      }
    }
  }
});

test("lengths: one sequence, none, and what is refused", () => {
  const layer = later(new nn.GRU(2, 3)), x = randn([4, 2]);
  const { output, state } = layer.run(x, undefined, { lengths: [2] });
  near(output.slice(0, 0, 2), layer.forward(x.slice(0, 0, 2)));
  assertEquals(state.dataSync(), output.slice(0, 1, 2).dataSync());
  const h = randn([1, 1, 3]).reshape([1, 3]);
  assertEquals(layer.run(x, h, { lengths: [0] }).state.dataSync(), h.dataSync());
  assertEquals(layer.forward(randn([4, 0, 2]), { lengths: [] }).shape, [4, 0, 3]);
  const batch = randn([4, 2, 2]);
  for (const lengths of [[5, 1], [1, -1], [1.5, 1], [1], 3 as never]) {
    assertThrows(() => layer.forward(batch, { lengths }), ArgumentError, "2 whole numbers");
  }
  assertThrows(() => layer.forward(batch, { lengths: randn([2]) }), DTypeError, "lengths");
  const three = tensor([1, 2, 3], { dtype: "int32" });
  assertThrows(() => layer.forward(batch, { lengths: three }), ShapeError, "must be [2]");
  assertThrows(() => layer.forward(batch, { length: [1, 1] } as never), ArgumentError, "lengths");
});
