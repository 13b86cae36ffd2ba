// What a module looks like in print.
import { noGrad } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { tensorsIn } from "../_structure.ts";
import { zeros } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { addHook } from "./_hooks.ts";
import { frozen } from "./_names.ts";
import type { AnyModule, SummaryOptions } from "./module.ts";

/** A model as PyTorch prints it: a line a module, the inner ones indented. */
export function treeOf(module: AnyModule): string {
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
export function summaryOf(model: AnyModule, options: SummaryOptions): string {
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
function runsOf(model: AnyModule, options: SummaryOptions): Map<AnyModule, Run> | undefined {
  const { inputShape, input } = options;
  if (inputShape === undefined && input === undefined) return undefined;
  if (inputShape && input) throw new ArgumentError("summary: give inputShape or input, not both");
  if (input !== undefined) tensorsIn("summary", "input", input);
  const runs = new Map<AnyModule, Run>();
  const modules = Array.from(model.namedModules(), ([, module]) => module);
  const modes = modules.map(({ training }) => training);
  const [first] = model.parameters();
  using hooks = new DisposableStack();
  for (const module of modules) {
    hooks.use(addHook(module, "after", (_, x, y) => {
      const before = runs.get(module)?.multiplyAdds ?? 0;
      const made = x instanceof Tensor && y instanceof Tensor ? module.multiplyAdds(x, y) : 0;
      const outputs = tensorsIn(module.describe(), "the output", y);
      runs.set(module, {
        output: outputs.map(({ shape }) => formatShape(shape)).join(", "),
        multiplyAdds: before + made,
      });
    }));
  }
  try {
    model.eval();
    const place = first && { dtype: first.dtype, device: first.device };
    noGrad(() => scope(() => void model.forward((input ?? zeros(inputShape!, place)) as never)));
  } finally {
    modules.forEach((module, i) => module.training = modes[i]!);
  }
  return runs;
}
