// What a few nodes give.
import { assertEquals } from "@std/assert";
import { onnx, scope } from "../../mod.ts";
import type { Draft } from "../../lib/onnx/_schema.ts";
import type { ElementType } from "../../lib/onnx/_elements.ts";
import { tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { Place, Value } from "../../lib/onnx/value.ts";
import { modelBytes, valueInfo } from "./_models.ts";

/** An input: its type, sizes and elements. */
export type Given = readonly [ElementType, readonly number[], readonly number[]];

/** A result: its sizes and elements. */
export type Found = readonly [readonly number[], readonly number[]];

/** Runs nodes with inputs as tensors, thrice, and as constants; all must agree. */
export async function evaluated(
  nodes: readonly Draft<"Node">[],
  inputs: Readonly<Record<string, Given>>,
  outputs: readonly string[],
  version = 18,
  more: Draft<"Model"> = {},
): Promise<Found[]> {
  const entries = Object.entries(inputs);
  const output = outputs.map((name) => valueInfo(name, "float32"));
  const input = entries.map(([name, [type]]) => valueInfo(name, type));
  const initializer = entries.map(([name, given]) => tensorProto(name, ...given));
  using model = await onnx.load(modelBytes({ node: nodes, input, output }, version, more), {
    device: "cpu",
  });
  const place = new Place("cpu", "float32");
  const run = (model: onnx.OnnxModel, given: typeof entries) =>
    scope(() => {
      const tensors = given.map(([name, [type, shape, data]]) => {
        return [name, Value.host(place, type, shape, Float64Array.from(data)).tensor()] as const;
      });
      const found = model.run(Object.fromEntries(tensors));
      return outputs.map((name): Found => [found[name]!.shape, [...found[name]!.dataSync()]]);
    });
  const found = run(model, entries);
  for (let i = 0; i < 2; i++) assertEquals(run(model, entries), found);
  const bytes = modelBytes({ node: nodes, initializer, output }, version, more);
  const errors = (await onnx.check(bytes)).filter(({ level }) => level === "error");
  assertEquals(errors, [], "what loads has no errors");
  using folded = await onnx.load(bytes, { device: "cpu" });
  assertEquals(run(folded, []), found);
  return found;
}
