// Attention layers against PyTorch's, recorded by tests/fixtures/make_attention_runs.py.
import { assertEquals } from "@std/assert";
import { mseLoss, nn, optim, scope, type StateDict, type Tensor } from "../../mod.ts";
import { part, type Place, testRuns, within } from "../_runs.ts";

interface Run<M extends nn.Module = nn.Module> {
  module: (place: Place) => M;
  call: (module: M, x: StateDict) => Tensor;
}

const run = <M extends nn.Module>(of: Run<M>) => of as unknown as Run;

const [features, heads] = [8, 2];
const layerOptions = { feedForward: 12, dropout: 0 };
const preNorm = { activation: "gelu", batchFirst: true, normFirst: true } as const;

const runs: Record<string, Run> = {
  encoder_layer_post_norm: run({
    module: (place) =>
      new nn.TransformerEncoderLayer(features, heads, { ...layerOptions, ...place }),
    call: (module, x) => module.forward(x.query!),
  }),
  encoder_pre_norm_masked: run({
    module: (place) => {
      const layer = () =>
        new nn.TransformerEncoderLayer(features, heads, { ...layerOptions, ...preNorm, ...place });
      return new nn.TransformerEncoder([layer(), layer()], {
        norm: new nn.LayerNorm(features, place),
      });
    },
    call: (module, x) =>
      module.forward(x.query!, {
        mask: x.mask!.to("uint8"),
        keyPaddingMask: x.padding!.to("uint8"),
      }),
  }),
  attention_cross: run({
    module: (place) => new nn.MultiHeadAttention(features, heads, place),
    call: (module, x) => module.forward(x.query!, x.key!, x.value!, { mask: x.mask! }),
  }),
  attention_other_features: run({
    module: (place) =>
      new nn.MultiHeadAttention(features, heads, {
        ...{ kdim: 3, vdim: 5, batchFirst: true },
        ...place,
      }),
    call: (module, x) => {
      const { output, weights } = module.run(x.query!, x.key!, x.value!);
      if (module.training) assertNear(weights, x.weights!, "weights");
      module.eval(); // the other steps' are not recorded
      const plain = module.forward(x.query!, x.key!, x.value!);
      assertNear(plain, output, "forward()");
      return output;
    },
  }),
  decoder_masked: run({
    module: (place) =>
      new nn.TransformerDecoderLayer(features, heads, {
        ...layerOptions,
        ...{ activation: "gelu", batchFirst: true },
        ...place,
      }),
    call: (module, x) =>
      module.forward(x.query!, x.key!, {
        causal: true,
        memoryKeyPaddingMask: x.padding!.to("uint8"),
      }),
  }),
};

// The numbers are of order 1. float32 rounds to 6e-8, and errors grow through layers and steps.
const assertNear = within({ float32: 4e-6, float64: 1e-12 });

function replay({ module: make, call }: Run, recorded: StateDict, place: Place) {
  const module = make(place);
  assertEquals(module.loadStateDict(part(recorded, "initial.")), { missing: [], unexpected: [] });
  const optimizer = new optim.SGD(module.parameters(), { lr: 0.1 });
  const given = (["query", "key", "value"] as const).filter((name) => recorded[name]);
  for (const name of given) recorded[name]!.requiresGrad = true;
  const steps = recorded.losses!.size;
  for (let step = 0; step < steps; step++) {
    for (const name of given) {
      recorded[name]!.grad?.dispose();
      recorded[name]!.grad = null;
    }
    scope(() => {
      const output = call(module, recorded);
      if (step === 0) assertNear(output, recorded.output!, "output");
      const loss = mseLoss(output, recorded.target!);
      assertNear(loss, recorded.losses!.view(step, []), `loss of step ${step}`);
      optimizer.zeroGrad();
      loss.backward();
    });
    const when = step === 0 ? "first" : step === steps - 1 ? "last" : undefined;
    if (when) {
      const named = [...module.namedParameters(), ...given.map((n) => [n, recorded[n]!] as const)];
      for (const [name, x] of named) {
        assertNear(x.grad!, recorded[`${when}.${name}`]!, `${when} gradient of ${name}`);
      }
    }
    optimizer.step();
  }
  for (const [name, p] of module.namedParameters()) {
    assertNear(p, recorded[`final.${name}`]!, `final ${name}`);
  }
  module.dispose();
  optimizer.dispose();
}

testRuns(runs, replay);
