// Models of one node, and tables of what they compute.
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { cleanTest } from "../_helpers.ts";
import { evaluated, type Given as Input } from "./_evaluated.ts";
import { node } from "./_models.ts";

type Given = [shape: number[], data: number[], dtype?: "float32" | "int32" | "uint8"] | null;

/** A node, and what it makes of its inputs. */
export interface NodeCase {
  name: string;
  /** With its domain, if that is another than ONNX's. */
  op: string;
  version?: number;
  inputs: Given[];
  /** As node() takes them. */
  attributes?: Record<string, unknown>;
  /** Shapes and elements. */
  outputs: [shape: number[], data: number[]][];
}

/** A test of a node. */
export function testNode({ name, op, version = 17, inputs, attributes, outputs }: NodeCase) {
  cleanTest(`${op}: ${name}`, async () => {
    const [opType = "", domain = ""] = op.split(":").reverse();
    const made = outputs.map((_, i) => `y${i}`);
    const one = node(opType, inputs.map((input, i) => input ? `x${i}` : ""), made, attributes);
    const types = { float32: "float32", int32: "int32", uint8: "bool" } as const;
    const given = Object.fromEntries(inputs.flatMap((input, i): [string, Input][] => {
      if (!input) return [];
      const [shape, data, dtype = "float32"] = input;
      return [[`x${i}`, [types[dtype], shape, data]]];
    }));
    const found = await evaluated([{ ...one, domain }], given, made, version, {
      opsetImport: [{ domain: "", version }, { domain: "com.microsoft", version: 1 }],
    });
    outputs.forEach(([shape, data], i) => {
      assertEquals(found[i]![0], shape);
      found[i]![1].forEach((y, k) => {
        if (y !== data[k]) assertAlmostEquals(y, data[k]!, 1e-5);
      });
    });
  });
}
