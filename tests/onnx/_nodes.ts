// Models of one node, and tables of what they compute.
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { type DType, onnx, scope, tensor } from "../../mod.ts";
import type { Draft } from "../../lib/onnx/_schema.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";

type Given = [shape: number[], data: number[], dtype?: DType] | null;

/** A node, and what it makes of its inputs. */
export interface NodeCase {
  name: string;
  /** With its domain, if that is another than ONNX's. */
  op: string;
  version?: number;
  inputs: Given[];
  /** Numbers that are whole are ints; `{ f }` is a float, `{ floats }` a list of them. */
  attributes?: Record<string, unknown>;
  /** Shapes and elements. */
  outputs: [shape: number[], data: number[]][];
}

/** A test of a node: its inputs as inputs, and those after the first as constants. */
export function testNode({ name, op, version = 17, inputs, attributes, outputs }: NodeCase) {
  Deno.test(`${op}: ${name}`, async () => {
    const [domain, opType] = op.includes(":") ? op.split(":") as [string, string] : ["", op];
    const given = inputs.map((input, i) => (input ? `x${i}` : ""));
    const made = outputs.map((_, i) => `y${i}`);
    const types = { float32: "float32", int32: "int32", uint8: "bool" } as const;
    const typeOf = (dtype: DType = "float32") => types[dtype as keyof typeof types];
    const drawn = node(opType, given, made);
    const attribute = Object.entries(attributes ?? {}).map(([name, value]): Draft<"Attribute"> => {
      const { f, floats } = value as { f?: number; floats?: number[] };
      if (f !== undefined) return { name, type: 1, f };
      if (floats) return { name, type: 6, floats };
      return node("", [], [], { [name]: value }).attribute![0]!;
    });
    for (const constants of [0, 1]) {
      const open = inputs.map((input, i) => [input, i] as const).filter(([, i]) => {
        return !constants || i === 0;
      });
      const initializer = inputs.flatMap((input, i): Draft<"Tensor">[] => {
        if (!input || !constants || i === 0) return [];
        const [dims, data, dtype] = input;
        if (dtype === undefined) return [{ name: `x${i}`, dims, dataType: 1, floatData: data }];
        return [{ name: `x${i}`, dims, dataType: dtype === "uint8" ? 9 : 6, int32Data: data }];
      });
      const bytes = modelBytes(
        {
          node: [{ ...drawn, domain, attribute }],
          input: open.flatMap(([input, i]) => input ? [valueInfo(`x${i}`, typeOf(input[2]))] : []),
          initializer,
          output: made.map((name) => ({ name })),
        },
        version,
        {
          opsetImport: [{ domain: "", version }, { domain: "com.microsoft", version: 1 }],
        },
      );
      using model = await onnx.load(bytes, { device: "cpu" });
      scope(() => {
        const tensors = Object.fromEntries(open.flatMap(([input, i]) => {
          if (!input) return [];
          const [shape, data, dtype = "float32"] = input;
          return [[`x${i}`, tensor(data, { shape, dtype, device: "cpu" })]];
        }));
        const results = Object.values(model.run(tensors));
        outputs.forEach(([shape, data], i) => {
          assertEquals(results[i]!.shape, shape);
          Array.from(results[i]!.dataSync()).forEach((found, k) => {
            if (found !== data[k]) assertAlmostEquals(found, data[k]!, 1e-5);
          });
        });
      });
    }
  });
}
