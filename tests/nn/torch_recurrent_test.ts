// Training runs of recurrent layers against PyTorch's, recorded by
// tests/fixtures/make_recurrent_runs.py.
import { assertEquals } from "@std/assert";
import { mseLoss, nn, optim, scope, type Tensor } from "../../mod.ts";
import { part, type Place, testRuns, within } from "../_runs.ts";

type Layer = nn.LSTM | nn.GRU | nn.RNN;

const runs: Record<string, (place: Place) => Layer> = {
  recurrent_lstm: (place) => new nn.LSTM(2, 3, { numLayers: 2, batchFirst: true, ...place }),
  recurrent_gru: (place) => new nn.GRU(2, 3, { bidirectional: true, ...place }),
  recurrent_rnn: (place) =>
    new nn.RNN(2, 3, {
      ...{ nonlinearity: "relu", numLayers: 2, bidirectional: true, bias: false },
      ...place,
    }),
};

class Model extends nn.Module {
  rnn: Layer;
  head: nn.Linear;
  constructor(layer: Layer, features: number, place: Place) {
    super();
    this.rnn = layer;
    this.head = new nn.Linear(features, 2, place);
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.rnn.forward(x));
  }
  run(x: Tensor, h0: Tensor, c0?: Tensor): { output: Tensor; last: Tensor[] } {
    if (!(this.rnn instanceof nn.LSTM)) {
      const { output, state } = this.rnn.run(x, h0);
      return { output, last: [state] };
    }
    const { output, state } = this.rnn.run(x, { h: h0, c: c0! });
    return { output, last: [state.h, state.c] };
  }
}

// Numbers of order 1, rounded to 6e-8 and 1e-16 in hundreds of places.
const assertNear = within({ float32: 2e-6, float64: 1e-13 });

function replay(make: (place: Place) => Layer, recorded: nn.StateDict, place: Place) {
  const initial = part(recorded, "initial.");
  const model = new Model(make(place), initial["head.weight"]!.shape[1]!, place);
  assertEquals(model.loadStateDict(initial), { missing: [], unexpected: [] });
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.5 });
  const leaves = part(recorded, "");
  const inputs = [leaves.x!, leaves.h0!, ...(leaves.c0 ? [leaves.c0] : [])];
  for (const leaf of inputs) leaf.requiresGrad = true;
  const [x, h0, c0] = inputs as [Tensor, Tensor, Tensor?];
  for (let step = 0; step < recorded.losses!.size; step++) {
    scope(() => {
      const { output, last } = model.run(x, h0, c0);
      if (step === 0) {
        assertNear(output, recorded.output!, "output");
        assertNear(last[0]!, recorded.h_n!, "h_n");
        if (last[1]) assertNear(last[1], recorded.c_n!, "c_n");
      }
      const loss = last.map((state) => state.mul(state).mean())
        .reduce((a, b) => a.add(b), mseLoss(model.head.forward(output), recorded.target!));
      assertNear(loss, recorded.losses!.view(step, []), `loss of step ${step}`);
      optimizer.zeroGrad();
      loss.backward();
    });
    const own = { ...Object.fromEntries(model.namedParameters()), x, h0, ...(c0 && { c0 }) };
    const wanted = part(recorded, `grad${step}.`);
    assertEquals(Object.keys(own).sort(), Object.keys(wanted).sort());
    for (const [name, leaf] of Object.entries(own)) {
      assertNear(leaf.grad!, wanted[name]!, `gradient of ${name} at step ${step}`);
    }
    for (const leaf of inputs) {
      leaf.grad!.dispose();
      leaf.grad = null;
    }
    optimizer.step();
  }
  for (const [name, p] of model.namedParameters()) {
    assertNear(p, recorded[`final.${name}`]!, `final ${name}`);
  }
  model.dispose();
  optimizer.dispose();
}

testRuns(runs, replay);
