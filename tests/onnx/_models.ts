// Small models, written by our own writer.
import type { Draft } from "../../lib/onnx/_schema.ts";
import { elements, type ElementType } from "../../lib/onnx/_elements.ts";
import { encodeMessage } from "../../lib/onnx/_wire.ts";

/** An input or output. */
export function valueInfo(
  name: string,
  type: ElementType,
  shape?: readonly (number | string)[],
): Draft<"ValueInfo"> {
  const dim = shape?.map((n) => typeof n === "number" ? { dimValue: n } : { dimParam: n });
  const tensorType = { elemType: elements[type].code, ...(dim ? { shape: { dim } } : {}) };
  return { name, type: { tensorType } };
}

/**
 * An attribute, whose kind follows from the value; whole numbers are ints, `{ f }` is a float and
 * `{ floats }` a list of them.
 */
function attribute(name: string, value: unknown): Draft<"Attribute"> {
  const { f, floats } = value as { f?: number; floats?: number[] };
  if (f !== undefined) return { name, type: 1, f };
  if (floats) return { name, type: 6, floats };
  const list = Array.isArray(value) ? value : undefined;
  if (typeof list?.[0] === "string") {
    return { name, type: 8, strings: list.map((text) => new TextEncoder().encode(text)) };
  }
  if (list) return { name, type: 7, ints: list };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  if (typeof value === "number") {
    return Number.isInteger(value) ? { name, type: 2, i: value } : { name, type: 1, f: value };
  }
  const graph = "node" in (value as object);
  return graph
    ? { name, type: 5, g: value as Draft<"Graph"> }
    : { name, type: 4, t: value as Draft<"Tensor"> };
}

/** A node: `"Add"`, the names of its inputs and outputs, its attributes. */
export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Record<string, unknown> = {},
): Draft<"Node"> {
  const list = Object.entries(attributes).map(([name, value]) => attribute(name, value));
  return { opType, input, output, attribute: list };
}

/** A model's file. */
export function modelBytes(
  graph: Draft<"Graph">,
  version = 17,
  more: Draft<"Model"> = {},
): Uint8Array<ArrayBuffer> {
  return encodeMessage("Model", {
    irVersion: 8,
    opsetImport: [{ domain: "", version }],
    graph: { name: "test", ...graph },
    ...more,
  });
}
