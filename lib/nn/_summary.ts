// What a module looks like in print.
import { noGrad } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { zeros } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { Tensor } from "../tensor.ts";
import { frozen } from "./_names.ts";
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
 * their outputs, with multiply-adds.
 */
export function summaryOf(model: Module, options: SummaryOptions): string {
  checkOptions("summary", options, ["inputShape", "input"]);
  const runs = runsOf(model, options);
  const sizeOf = (tensors: Iterable<Tensor>) => [...tensors].reduce((n, x) => n + x.size, 0);
  const count = (n: number) => n ? n.toLocaleString("en") : "";
  const rows: string[][] = [["module", "parameters", "multiply-adds", "output", "shapes"]];
  const counted = { total: new Set<Tensor>(), frozen: new Set<Tensor>() };
  for (const [name, module] of model.namedModules()) {
    const own = Object.entries(module).filter(([, value]) => value instanceof Tensor) as [
      string,
      Tensor,
    ][];
    const run = runs?.get(module);
    const parameters = own.map(([, x]) => x).filter((x) => x.requiresGrad || frozen.has(x));
    for (const x of parameters) {
      counted.total.add(x);
      if (!x.requiresGrad) counted.frozen.add(x);
    }
    rows.push([
      `${name ? `${name}: ` : ""}${module.describe()}`,
      count(sizeOf(parameters)),
      count(run?.multiplyAdds ?? 0),
      run?.output ?? "",
      own.map(([key, tensor]) => `${key} ${formatShape(tensor.shape)}`).join(", "),
    ]);
  }
  const products = [...runs?.values() ?? []].reduce((n, run) => n + run.multiplyAdds, 0);
  rows.push(["total", sizeOf(counted.total).toLocaleString("en"), count(products), "", ""]);
  if (counted.frozen.size > 0) rows.push(["frozen", count(sizeOf(counted.frozen)), "", "", ""]);
  if (!runs || products === 0) { for (const row of rows) row.splice(2, runs ? 1 : 2); }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const numbers = rows[0]!.map((title) => title === "parameters" || title === "multiply-adds");
  return rows.map((row) =>
    row.map((cell, i) => numbers[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
      .join("  ").trimEnd()
  ).join("\n");
}

interface Run {
  /** The shape of what the module gave last. */
  output: string;
  /** Of all its calls. */
  multiplyAdds: number;
}

// What each module did as the model ran once in evaluation mode.
function runsOf(model: Module, options: SummaryOptions): Map<Module, Run> | undefined {
  const { inputShape, input } = options;
  if (inputShape === undefined && input === undefined) return undefined;
  if (inputShape && input) throw new ArgumentError("summary: give inputShape or input, not both");
  if (input !== undefined) checkTensor("summary: input", input);
  const runs = new Map<Module, Run>();
  const modules = Array.from(model.namedModules(), ([, module]) => module);
  const modes = modules.map(({ training }) => training);
  const own = modules.map((module) => Object.getOwnPropertyDescriptor(module, "forward"));
  const [first] = model.parameters();
  try {
    for (const module of modules) {
      const forward = module.forward;
      // An own property hides the class's method, and keeps Sequential from fusing layers.
      module.forward = (...inputs) => {
        const y = forward.apply(module, inputs);
        const before = runs.get(module)?.multiplyAdds ?? 0;
        const multiplyAdds = before + module.multiplyAdds(inputs[0], y);
        runs.set(module, { output: formatShape(y.shape), multiplyAdds });
        return y;
      };
    }
    model.eval();
    const place = first && { dtype: first.dtype, device: first.device };
    noGrad(() => scope(() => void model.forward(input ?? zeros(inputShape!, place))));
  } finally {
    modules.forEach((module, i) => {
      module.training = modes[i]!;
      if (own[i]) Object.defineProperty(module, "forward", own[i]);
      else delete (module as Partial<Module>).forward;
    });
  }
  return runs;
}
