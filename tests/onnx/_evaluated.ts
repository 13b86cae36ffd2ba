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

/**
 * Runs nodes with inputs as tensors, thrice, then with all but the first as constants, and with all
 * as constants; all must agree.
 */
export async function evaluated(
  nodes: readonly Draft<"Node">[],
  inputs: Readonly<Record<string, Given>>,
  outputs: readonly string[],
  version = 18,
  more: Draft<"Model"> = {},
): Promise<Found[]> {
  const entries = Object.entries(inputs);
  const output = outputs.map((name) => valueInfo(name, "float32"));
  const place = new Place("cpu", "float32");
  // With as many inputs as tensors.
  const runs = async (open: number, times: number): Promise<Found[][]> => {
    const given = entries.slice(0, open);
    const input = given.map(([name, [type]]) => valueInfo(name, type));
    const initializer = entries.slice(open).map(([name, given]) => tensorProto(name, ...given));
    const bytes = modelBytes({ node: nodes, input, initializer, output }, version, more);
    using model = await onnx.load(bytes, { device: "cpu" });
    const errors = (await onnx.check(bytes)).filter(({ level }) => level === "error");
    assertEquals(errors, [], "what loads has no errors");
    return Array.from({ length: times }, () =>
      scope(() => {
        const tensors = given.map(([name, [type, shape, data]]) => {
          return [name, Value.host(place, type, shape, Float64Array.from(data)).tensor()] as const;
        });
        const found = model.run(Object.fromEntries(tensors));
        return outputs.map((name): Found => [found[name]!.shape, [...found[name]!.dataSync()]]);
      }));
  };
  const [found, ...again] = await runs(entries.length, 3);
  for (const open of new Set([Math.min(1, entries.length), 0])) again.push(...await runs(open, 1));
  for (const other of again) assertEquals(other, found);
  return found!;
}
