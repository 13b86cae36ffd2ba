// Attention layers against PyTorch's, recorded by tests/fixtures/make_attention_runs.py.
import { assert, assertEquals } from "@std/assert";
import {
  devices,
  type DType,
  io,
  mseLoss,
  nn,
  optim,
  scope,
  type StateDict,
  type Tensor,
} from "../../mod.ts";

const found = devices();
const folder = new URL("../fixtures/", import.meta.url);

type Place = { device: nn.LinearOptions["device"]; dtype: DType };

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
};

// The numbers are of order 1. float32 rounds to 6e-8, and errors grow through layers and steps.
const tolerances: Partial<Record<DType, number>> = { float32: 4e-6, float64: 1e-12 };

function assertNear(found: Tensor, wanted: Tensor, what: string) {
  assertEquals([found.dtype, found.shape], [wanted.dtype, wanted.shape], what);
  const [a, b] = [found.dataSync(), wanted.dataSync()];
  for (let i = 0; i < a.length; i++) {
    const near = Math.abs(a[i]! - b[i]!) <= tolerances[found.dtype]!;
    assert(near, `${what}[${i}] is ${a[i]}, PyTorch's is ${b[i]}`);
  }
}

/** The recorded tensors whose names begin with a prefix, by the rest of their names. */
function part(all: StateDict, prefix: string): StateDict {
  return Object.fromEntries(
    Object.entries(all).filter(([name]) => name.startsWith(prefix))
      .map(([name, x]) => [name.slice(prefix.length), x]),
  );
}

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

for (const { device } of found) {
  for (const [name, run] of Object.entries(runs)) {
    for (const dtype of ["float32", "float64"] as const) {
      Deno.test(`torch: ${name} in ${dtype} on ${device} trains as in PyTorch`, async () => {
        const file = new URL(`${name}.safetensors`, folder);
        const recorded = await io.loadSafetensors(file, { device });
        scope(() => replay(run, part(recorded, `${dtype}.`), { device, dtype }));
        for (const x of Object.values(recorded)) {
          x.grad?.dispose();
          x.dispose();
        }
      });
    }
  }
}
