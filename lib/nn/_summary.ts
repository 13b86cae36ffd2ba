// What a module looks like in print.
import { noGrad } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { zeros } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { Tensor } from "../tensor.ts";
import type { Module, SummaryOptions } from "./module.ts";

/** A model as PyTorch prints it: a line a module, the inner ones indented. */
export function treeOf(module: Module): string {
  const children = [...module.namedChildren()];
  const described = module.describe();
  const [, name = described, args = ""] = /^([^(]*)\(([\s\S]*)\)$/.exec(described) ?? [];
  if (children.length === 0) return `${name}(${args})`;
  const lines = children.map(([key, child]) => `(${key}): ${treeOf(child)}`);
  if (args) lines.unshift(args);
  return `${name}(\n${lines.join("\n").replace(/^/gm, "  ")}\n)`;
}

/**
 * A table of the modules with the shapes and counts of their parameters, and, from an input, of
 * their outputs.
 */
export function summaryOf(model: Module, options: SummaryOptions): string {
  checkOptions("summary", options, ["inputShape", "input"]);
  const outputs = outputsOf(model, options);
  const rows: string[][] = [["module", "parameters", "output", "shapes"]];
  const total = model.parameters().reduce((n, tensor) => n + tensor.size, 0);
  for (const [name, module] of model.namedModules()) {
    const own = Object.entries(module).filter(([, value]) => value instanceof Tensor) as [
      string,
      Tensor,
    ][];
    const count = own.reduce((n, [, tensor]) => n + (tensor.requiresGrad ? tensor.size : 0), 0);
    rows.push([
      `${name ? `${name}: ` : ""}${module.describe()}`,
      count ? count.toLocaleString("en") : "",
      outputs?.get(module) ?? "",
      own.map(([key, tensor]) => `${key} ${formatShape(tensor.shape)}`).join(", "),
    ]);
  }
  rows.push(["total", total.toLocaleString("en"), "", ""]);
  if (!outputs) { for (const row of rows) row.splice(2, 1); }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) =>
      column === 1 ? cell.padStart(widths[1]!) : cell.padEnd(widths[column]!)
    )
      .join("  ").trimEnd()
  ).join("\n");
}

// The shape that each module gave last, as the model ran once in evaluation mode.
function outputsOf(model: Module, options: SummaryOptions): Map<Module, string> | undefined {
  const { inputShape, input } = options;
  if (inputShape === undefined && input === undefined) return undefined;
  if (inputShape && input) throw new ArgumentError("summary: give inputShape or input, not both");
  if (input !== undefined) checkTensor("summary: input", input);
  const outputs = new Map<Module, string>();
  const modules = Array.from(model.namedModules(), ([, module]) => module);
  const modes = modules.map(({ training }) => training);
  const [first] = model.parameters();
  try {
    for (const module of modules) {
      const forward = module.forward;
      // An own property hides the class's method, and keeps Sequential from fusing layers.
      module.forward = (...inputs) => {
        const y = forward.apply(module, inputs);
        outputs.set(module, formatShape(y.shape));
        return y;
      };
    }
    model.eval();
    const place = first && { dtype: first.dtype, device: first.device };
    noGrad(() => scope(() => void model.forward(input ?? zeros(inputShape!, place))));
  } finally {
    modules.forEach((module, i) => {
      module.training = modes[i]!;
      delete (module as Partial<Module>).forward;
    });
  }
  return outputs;
}
