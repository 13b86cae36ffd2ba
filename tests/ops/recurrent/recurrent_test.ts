// Recurrent layers beyond the table of cases and the recorded runs: PyTorch's shapes, names and
// modes, allocations, bad input.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  autocast,
  DTypeError,
  gru,
  lstm,
  memory,
  nn,
  noGrad,
  ones,
  rand,
  rnn,
  scope,
  ShapeError,
  type Tensor,
} from "../../../mod.ts";
import { cleanTest, later } from "../../_helpers.ts";

const random = (...shape: number[]) => rand(shape, { low: -1 });

function assertClose(found: Tensor, wanted: Tensor, what = "") {
  assertEquals(found.shape, wanted.shape, what);
  const [a, b] = [found.dataSync(), wanted.dataSync()];
  a.forEach((value, i) => assertAlmostEquals(value, b[i]!, 1e-6, what));
}

const layers = { LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN };
const cells = { LSTM: nn.LSTMCell, GRU: nn.GRUCell, RNN: nn.RNNCell };

for (const [name, Layer] of Object.entries(layers)) {
  const make = (options: nn.RNNBaseOptions = {}) => later(new Layer(3, 4, options));
  const gates = { LSTM: 4, GRU: 3, RNN: 1 }[name]!;
  const parts = (state: Tensor | nn.LSTMState) => "h" in state ? [state.h, state.c] : [state];

  cleanTest(`${name}: parameters by PyTorch's names, in its order and ±1/sqrt(hidden)`, () => {
    const layer = make({ numLayers: 2, bidirectional: true });
    const width = 4 * gates;
    const shapes = (suffix: string, features: number) => [
      [`weight_ih_${suffix}`, [width, features]],
      [`weight_hh_${suffix}`, [width, 4]],
      [`bias_ih_${suffix}`, [width]],
      [`bias_hh_${suffix}`, [width]],
    ];
    const found = Array.from(layer.namedParameters(), ([key, x]) => [key, [...x.shape]]);
    assertEquals(found, [
      ...shapes("l0", 3),
      ...shapes("l0_reverse", 3),
      ...shapes("l1", 8),
      ...shapes("l1_reverse", 8),
    ]);
    for (const p of layer.parameters()) {
      assert(p.dataSync().every((value) => Math.abs(value) <= 0.5));
    }
    const plain = make({ bias: false });
    assertEquals(Object.keys(plain.stateDict()), ["weight_ih_l0", "weight_hh_l0"]);
    assertEquals(plain.describe(), `${name}(3, 4, { bias: false })`);
    assertEquals(layer.describe(), `${name}(3, 4, { numLayers: 2, bidirectional: true })`);
  });

  cleanTest(`${name}: shapes, with batchFirst and without a batch`, () => {
    const options = { numLayers: 2, bidirectional: true } as const;
    const [layer, first] = [make(options), make({ ...options, batchFirst: true })];
    first.loadStateDict(layer.stateDict());
    const x = random(5, 2, 3);
    const { output, state } = layer.run(x);
    assertEquals(output.shape, [5, 2, 8]);
    for (const part of parts(state)) assertEquals(part.shape, [4, 2, 4]);
    assertClose(first.run(x.transpose(0, 1)).output, output.transpose(0, 1));
    assertClose(layer.forward(x), output);

    const alone = layer.run(x.permute([1, 0, 2]).view(0, [5, 3]));
    assertEquals(alone.output.shape, [5, 8]);
    assertClose(alone.output, output.permute([1, 0, 2]).view(0, [5, 8]));
    for (const part of parts(alone.state)) assertEquals(part.shape, [4, 4]);
    const again = alone.state as nn.LSTMState & Tensor;
    assertEquals(layer.run(random(5, 3), again).output.shape, [5, 8]);
    assertEquals(layer.run(random(5, 0, 3)).output.shape, [5, 0, 8]);
  });

  cleanTest(`${name}: a sequence in two halves is the sequence`, () => {
    const layer = make({ numLayers: 2 });
    const x = random(6, 2, 3);
    const whole = layer.run(x);
    const half = layer.run(x.view(0, [4, 2, 3]));
    const rest = layer.run(x.view(24, [2, 2, 3]), half.state as nn.LSTMState & Tensor);
    assertClose(half.output, whole.output.view(0, [4, 2, 4]));
    assertClose(rest.output, whole.output.view(32, [2, 2, 4]));
    parts(rest.state).forEach((part, i) => assertClose(part, parts(whole.state)[i]!));
  });

  cleanTest(`${name}: the cell does the same step by step`, () => {
    const layer = make();
    const cell = later(new cells[name as "LSTM"](3, 4));
    const state = Object.entries(layer.stateDict()).map(([key, x]) => [key.replace("_l0", ""), x]);
    cell.loadStateDict(Object.fromEntries(state));
    const x = random(3, 2, 3);
    const { output } = layer.run(x);
    let now: nn.LSTMState | undefined;
    for (let t = 0; t < 3; t++) {
      now = cell.run(x.view(t * 6, [2, 3]), now);
      assertClose(parts(now)[0]!, output.view(t * 8, [2, 4]), `step ${t}`);
    }
    assertClose(cell.forward(x.view(0, [3])), output.view(0, [4]), "without a batch");
    assertEquals(cell.describe(), `${name}Cell(3, 4)`);
    assertThrows(() => cell.forward(random(2, 4)), ShapeError, "[n, 3] or [3]");
    assertThrows(() => cell.run(random(1, 3), now), ShapeError, "state");
  });

  cleanTest(`${name}: dropout between layers, in training only`, () => {
    const layer = make({ numLayers: 2, dropout: 0.5 });
    const x = random(4, 3, 3);
    const [a, b] = [layer.forward(x), layer.forward(x)];
    assert(a.sub(b).abs().max().itemSync() > 1e-4);
    layer.eval();
    assertClose(layer.forward(x), layer.forward(x));
    const all = make({ numLayers: 2, dropout: 1 });
    assertEquals(all.forward(x).shape, [4, 3, 4]);
  });

  cleanTest(`${name}: as many allocations for many steps as for few, all given back`, () => {
    const layer = make({ bidirectional: true });
    const count = (steps: number) => {
      const x = random(steps, 2, 3);
      scope(() => layer.forward(x).sum().backward());
      layer.zeroGrad();
      const before = memory().allocations;
      scope(() => layer.forward(x).sum().backward());
      const taken = memory().allocations - before;
      layer.zeroGrad();
      const live = memory().tensors;
      noGrad(() => layer.forward(x)).dispose();
      return { taken, left: memory().tensors - live };
    };
    const [few, many] = [count(3), count(40)];
    assertEquals(many.taken, few.taken);
    assert(many.left === few.left && few.left <= 12, `${few.left} and ${many.left} are left`);
  });

  cleanTest(`${name}: bad input`, () => {
    const layer = make({ batchFirst: true });
    assertThrows(() => layer.forward(random(2, 5, 4)), ShapeError, "[n, steps, 3]");
    assertThrows(() => layer.forward(random(3)), ShapeError, name);
    assertThrows(() => layer.forward(random(2, 0, 3)), ShapeError, "at least one step");
    assertThrows(() => layer.forward(random(2, 5, 3).to("int32")), DTypeError);
    assertThrows(() => layer.forward(random(2, 5, 3).to("float64")), DTypeError, "float64");
    const wrong = random(1, 3, 4);
    const state = { h: wrong, c: wrong };
    assertThrows(
      () => layer.run(random(2, 5, 3), (name === "LSTM" ? state : wrong) as typeof state & Tensor),
      ShapeError,
      "state h is [1, 3, 4]; it must be [1, 2, 4]",
    );
    assertThrows(() => new Layer(0, 4), ArgumentError, "inputSize");
    assertThrows(() => new Layer(3, 1.5), ArgumentError, "hiddenSize");
    assertThrows(() => new Layer(3, 4, { numLayers: 0 }), ArgumentError, "numLayers");
    assertThrows(() => new Layer(3, 4, { dropout: 1.5 }), ArgumentError);
    const misspelt = { bidirectionel: true } as nn.RNNBaseOptions;
    assertThrows(() => new Layer(3, 4, misspelt), ArgumentError, "did you mean bidirectional?");
  });
}

cleanTest("RNN: relu, and no other nonlinearity", () => {
  const layer = later(new nn.RNN(3, 4, { nonlinearity: "relu" }));
  assert(layer.forward(random(5, 2, 3)).dataSync().every((value) => value >= 0));
  const sinus = { nonlinearity: "sin" as "relu" };
  assertThrows(() => new nn.RNN(3, 4, sinus), ArgumentError, "sin");
  assertThrows(() => new nn.RNNCell(3, 4, sinus), ArgumentError, "sin");
});

cleanTest("lstm(), gru(), rnn(): operands that do not fit", () => {
  const x = ones([2, 3, 4]);
  const weights = (gates: number, hidden = 5) => ({
    weightIh: ones([gates * hidden, 4]),
    weightHh: ones([gates * hidden, hidden]),
  });
  assertThrows(() => lstm(x, weights(3)), ShapeError, "weightHh is [15, 5]; it must be [20, 5]");
  assertThrows(() => gru(x, { ...weights(3), weightIh: ones([15, 3]) }), ShapeError, "[15, 4]");
  assertThrows(() => rnn(x, { ...weights(1), biasIh: ones([5]) }), ArgumentError, "both");
  const biases = { biasIh: ones([5]), biasHh: ones([4]) };
  assertThrows(() => rnn(x, { ...weights(1), ...biases }), ShapeError, "biasHh is [4]");
  assertThrows(() => gru(x, weights(3), { h0: ones([3, 5]) }), ShapeError, "h0 is [3, 5]");
  assertThrows(() => lstm(ones([3, 4]), weights(4)), ShapeError, "[steps, n, in]");
  assertThrows(() => gru(x, weights(3), { h0: ones([1, 3, 5]).to("float64") }), DTypeError);
  assertThrows(
    () => lstm(x, {} as ReturnType<typeof weights>),
    ArgumentError,
    "lstm: weights is {}",
  );
  assertThrows(() => rnn(x, weights(1), { backwards: true } as object), ArgumentError, "reverse");
});

cleanTest("recurrent layers follow autocast()", () => {
  for (const Layer of Object.values(layers)) {
    const layer = later(new Layer(3, 4, { numLayers: 2, bidirectional: true }));
    const x = random(3, 2, 3);
    const wide = layer.forward(x);
    const lower = autocast("bfloat16", () => layer.forward(x));
    assertEquals(lower.dtype, "bfloat16");
    assert(lower.to("float32").sub(wide).abs().max().itemSync() < 0.05);
    lower.to("float32").sum().backward();
    for (const p of layer.parameters()) assertEquals(p.grad!.dtype, "float32");
    layer.zeroGrad();
  }
});
