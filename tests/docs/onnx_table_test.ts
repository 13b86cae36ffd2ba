// The table of operators in docs/onnx.md is what the registry has. CUDENO_UPDATE_DOCS=1 writes it.
import { assert, assertEquals } from "@std/assert";
import { elements, type ElementType } from "../../lib/onnx/_elements.ts";
import { operatorNames, operatorOf } from "../../lib/onnx/ops/registry.ts";
import { tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { MissingOperatorError } from "../../lib/onnx/missing.ts";
import { onnx, scope, tensor } from "../../mod.ts";
import { modelBytes, node, valueInfo } from "../onnx/_models.ts";
import { root } from "../_helpers.ts";

// What is tried, of each type, to say which types an operator takes: operands of 1 and sizes.
const types: ElementType[] = [
  "float32",
  "float16",
  "float64",
  "int32",
  "int64",
  "uint8",
  "int8",
  "bool",
];

/** The types that an operator of one to three equal operands takes; undefined for others. */
async function typesOf(op: string, domain: string): Promise<string[] | undefined> {
  let found: string[] | undefined;
  for (const type of types) {
    for (const count of [1, 2, 3]) {
      const names = ["x", "y", "z"].slice(0, count);
      const bytes = modelBytes(
        {
          node: [{ ...node(op, names, ["r"]), domain }],
          initializer: names.slice(1).map((name) => tensorProto(name, type, [2, 2], [1, 1, 1, 1])),
          input: [valueInfo("x", type)],
          output: [{ name: "r" }],
        },
        17,
        { opsetImport: [{ domain: "", version: 17 }, { domain, version: 17 }] },
      );
      try {
        using model = await onnx.load(bytes, { device: "cpu" });
        scope(() => {
          const { dtype } = elements[type];
          model.run(tensor([1, 1, 1, 1], { shape: [2, 2], dtype, device: "cpu" }));
        });
        (found ??= []).push(type);
        break;
      } catch (error) {
        if (error instanceof MissingOperatorError) throw error;
      }
    }
  }
  return found;
}

async function table(): Promise<string> {
  const rows: string[][] = [["operator", "opsets", "types of equal operands"]];
  for (const name of operatorNames()) {
    const [domain, op] = name.includes(":") ? name.split(":") as [string, string] : ["", name];
    const since: number[] = [];
    for (let opset = 1, before; opset <= 23; opset++) {
      const now = operatorOf(domain, op, opset);
      if (now && now !== before) since.push(opset);
      before = now;
    }
    const listed = await typesOf(op, domain);
    rows.push([name, since.join(", "), listed?.join(" ").replace(types.join(" "), "all") ?? "–"]);
  }
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => row[i]!.length)));
  const lines = rows.map((row) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  );
  lines.splice(1, 0, `| ${widths.map((n) => "-".repeat(n)).join(" | ")} |`);
  return lines.join("\n");
}

Deno.test("docs/onnx.md lists the operators that are there", async () => {
  const page = new URL("docs/onnx.md", root), text = await Deno.readTextFile(page);
  const [before, rest] = text.split("<!-- operators -->\n\n");
  const [shown, after] = (rest ?? "").split("\n\n<!-- /operators -->");
  assert(before !== undefined && after !== undefined, "the page lacks the table's marks");
  const wanted = await table();
  if (Deno.env.get("CUDENO_UPDATE_DOCS") === "1") {
    const all = [before, "<!-- operators -->\n\n", wanted, "\n\n<!-- /operators -->", after];
    await Deno.writeTextFile(page, all.join(""));
  } else {
    assertEquals(shown, wanted, "stale: run the command on the page");
  }
});
