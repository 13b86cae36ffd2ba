// ONNX's own tests of single operators, which a developer has from elsewhere (Debian's package
// libonnx-testdata has them in data/node): CUDENO_ONNX_NODE_TESTS names the folder. With
// CUDENO_ONNX_REPORT=1 it says what was skipped, and why.
import { assertEquals } from "@std/assert";
import { onnx, scope, type Tensor } from "../../mod.ts";
import type { Message } from "../../lib/onnx/_schema.ts";
import { decodeMessage, encodeMessage } from "../../lib/onnx/_wire.ts";
import { storedTensor } from "../../lib/onnx/_tensor_proto.ts";
import { Place, Value } from "../../lib/onnx/value.ts";

const folder = Deno.env.get("CUDENO_ONNX_NODE_TESTS");
const report = Deno.env.get("CUDENO_ONNX_REPORT") === "1";

// What cannot agree, and why.
const skipped: readonly [RegExp, string][] = [
  [/^test_(training_dropout.*|bernoulli.*)$/, "random"],
  [/^test_resize_downsample_scales_.*_align_corners/, "of sizes with fractions"],
  [/^test_castlike_.*BFLOAT16/, "data of another shape than the model says"],
];

// Of several operators, or with results or constants of four digits: as ONNX's own runner compares.
const loose = /_expanded$|window|roialign/;

const reasonOf = (error: unknown): string | undefined => {
  if (error instanceof onnx.MissingOperatorError) {
    return `missing ${error.missing.map(({ op }) => op).join(", ")}`;
  }
  const { message } = error as Error;
  const refused = /3 axes to go along|theta is|it must be \[n, channels/;
  const other = /opset \d+; understood|strings? |only tensors are supported|sequence|optional/;
  return (refused.exec(message) ?? other.exec(message))?.[0];
};

async function tensorIn(path: string): Promise<{ proto: Message<"Tensor">; value: Value }> {
  const proto = decodeMessage("Tensor", await Deno.readFile(path), path);
  // the package writes bfloat16 as the uint16 of its bits
  if (/bfloat16/i.test(path) && proto.dataType === 4) proto.dataType = 16;
  const { type, shape, read } = storedTensor(proto, path);
  const place = new Place("cpu", "float32");
  return { proto, value: Value.host(place, type, shape, read()) };
}

async function run(path: string): Promise<string | undefined> {
  const file = await Deno.readFile(`${path}/model.onnx`);
  using model = await onnx.load(file, { device: "cpu" });
  for await (const { name } of Deno.readDir(path)) {
    if (!name.startsWith("test_data_set")) continue;
    const list = async (kind: string) => {
      const found = [];
      for (let i = 0;; i++) {
        const file = `${path}/${name}/${kind}_${i}.pb`;
        if (await Deno.stat(file).then(() => false, () => true)) return found;
        found.push(await tensorIn(file));
      }
    };
    const [inputs, outputs] = [await list("input"), await list("output")];
    scope(() => {
      const given = Object.fromEntries(
        inputs.map(({ value }, i): [string, Tensor] => [model.inputs[i]!.name, value.tensor()]),
      );
      const found = model.run(given);
      outputs.forEach(({ value }, i) =>
        compare(found[model.outputs[i]!.name]!, value, loose.test(path))
      );
    });
    // The same with the inputs as constants, which are folded: small ones on the host.
    const proto = decodeMessage("Model", file);
    const given = inputs.map(({ proto }, i) => ({ ...proto, name: model.inputs[i]!.name }));
    proto.graph!.initializer = [...proto.graph!.initializer, ...given];
    using folded = await onnx.load(encodeMessage("Model", proto), { device: "cpu" });
    scope(() => {
      const found = folded.run({});
      outputs.forEach(({ value }, i) =>
        compare(found[model.outputs[i]!.name]!, value, loose.test(path))
      );
    });
  }
  return undefined;
}

function compare(found: Tensor, wanted: Value, few: boolean) {
  assertEquals(found.shape, [...wanted.shape]);
  const [a, b] = [found.dataSync(), wanted.numbers()];
  const close = few ? 1e-3 : wanted.type === "float16" || wanted.type === "bfloat16" ? 1e-2 : 1e-4;
  for (let i = 0; i < b.length; i++) {
    if (Object.is(a[i], b[i]) || Math.abs(a[i]! - b[i]!) <= close * (1 + Math.abs(b[i]!)) / 2) {
      continue;
    }
    if (a[i] === b[i]) continue;
    throw new Error(`element ${i} is ${a[i]}, expected ${b[i]}`);
  }
}

Deno.test({ name: "onnx's node tests", ignore: folder === undefined }, async () => {
  const names = [...Deno.readDirSync(folder!)].map(({ name }) => name).sort();
  const reasons = new Map<string, string[]>();
  const failed: string[] = [];
  let passed = 0;
  for (const name of names) {
    let reason = skipped.find(([pattern]) => pattern.test(name))?.[1];
    if (!reason) {
      try {
        await run(`${folder}/${name}`);
        passed++;
      } catch (error) {
        reason = reasonOf(error);
        if (!reason) failed.push(`${name}: ${(error as Error).message}`);
      }
    }
    if (reason) reasons.set(reason, [...reasons.get(reason) ?? [], name]);
  }
  const skips = [...reasons].map(([reason, names]) => `${names.length} ${reason}`).sort();
  if (report) console.log(skips.join("\n"));
  console.log(`${passed} of ${names.length} passed, ${failed.length} failed`);
  assertEquals(failed, []);
});
