// Damaged files end in typed errors, soon, and without large memory. CUDENO_ONNX_MUTATIONS says how
// many are tried.
import { assert } from "@std/assert";
import { CudenoError, models, nn, onnx, scope, type Tensor, zeros } from "../../mod.ts";
import { hostRandom } from "../../lib/core/random.ts";
import { cleanTest as test, later } from "../_helpers.ts";

const place = { device: "cpu" } as const;
const count = Number(Deno.env.get("CUDENO_ONNX_MUTATIONS") ?? (Deno.env.get("CI") ? 300 : 3000));

class Small extends nn.Module {
  lstm = new nn.LSTM(2, 3, { ...place, batchFirst: true });
  override forward(x: Tensor): Tensor {
    return this.lstm.forward(x).reshape([-1, 3]).softmax(1);
  }
}

test("onnx: damaged files end in typed errors", async () => {
  const random = hostRandom(7n, 0n);
  const below = (n: number) => Math.floor(random() * n);
  const conv = later(
    new nn.Sequential(
      new nn.Conv2d(1, 2, 3, place),
      new nn.BatchNorm2d(2, place),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(8, 2, place),
    ),
  );
  const gpt = later(models.gpt({
    vocabSize: 5,
    contextLength: 4,
    dModel: 4,
    layers: 1,
    heads: 2,
    ...place,
  }));
  using tokens = zeros([1, 3], { dtype: "int32", ...place });
  using image = zeros([1, 1, 6, 6], place);
  using steps = zeros([1, 3, 2], place);
  const files = [
    await onnx.save(conv, image),
    await onnx.save(gpt, tokens),
    await onnx.save(later(new Small()), steps),
  ];
  const mutated = (bytes: Uint8Array): Uint8Array => {
    const other = files[below(files.length)]!, at = below(bytes.length);
    const copy = bytes.slice();
    switch (below(5)) {
      case 0: // bits
        for (let i = below(8); i >= 0; i--) copy[below(copy.length)]! ^= 1 << below(8);
        return copy;
      case 1:
        return copy.subarray(0, at);
      case 2: // a varint, which may be a length, becomes a large one
        copy.set([0xff, 0xff, 0xff, 0xff, 0x7f].slice(0, copy.length - at), at);
        return copy;
      case 3: { // a part of another file
        const part = other.subarray(below(other.length)).subarray(0, below(200));
        copy.set(part.subarray(0, copy.length - at), at);
        return copy;
      }
      default: // something is taken out or put in
        return Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + below(30) - 15)]);
    }
  };
  let loaded = 0, checked = 0;
  for (let i = 0; i < count; i++) {
    const bytes = mutated(files[i % files.length]!);
    if ((await onnx.check(bytes)).length > 0) checked++;
    try {
      using model = await onnx.load(bytes, place);
      loaded++;
      scope(() => {
        const given = [[1, 1, 6, 6], [1, 3], [1, 3, 2]][i % files.length]!;
        model.run(zeros(given, { dtype: i % 3 === 1 ? "int32" : "float32", ...place }));
        return [];
      });
    } catch (error) {
      if (!(error instanceof CudenoError)) throw new Error(`mutation ${i}`, { cause: error });
    }
  }
  assert(checked > count / 4, `${checked} of ${count} were found wrong`);
  assert(loaded > 0 && loaded < count, `${loaded} of ${count} could be loaded`);
});
