// What a module looks like in print.
import { noGrad } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { bytesOf, countsOf } from "../core/counts.ts";
import { dtypeInfo } from "../core/dtype.ts";
import type { Memory } from "../core/elements.ts";
import { randomPlace, withRandomFrom } from "../core/random.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { mapTensors, tensorsIn } from "../_structure.ts";
import { zeros } from "../create.ts";
import { listening, tell } from "../native/arguments.ts";
import { ArgumentError, DTypeError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";
import { addHook } from "./_hooks.ts";
import { frozen } from "./_names.ts";
import type { AnyModule, SummaryOptions } from "./module.ts";

/** A model as PyTorch prints it: a line a module, the inner ones indented. */
export function treeOf(module: AnyModule): string {
  const described = module.describe();
  const [, name = described, args = ""] = /^([^(]*)\(([\s\S]*)\)$/.exec(described) ?? [];
  const lines = linesOf([...module.namedChildren()], name === "ModuleList");
  return block(name, args, lines);
}

function block(name: string, args: string, lines: string[]): string {
  if (lines.length === 0) return `${name}(${args})`;
  if (args) lines.unshift(args);
  return `${name}(\n${lines.join("\n").replace(/^/gm, "  ")}\n)`;
}

// Modules in a property's array or object, `layers.0` and so on, stand together as in PyTorch's
// containers; equal ones in a row of a list share a line.
function linesOf(children: [string, AnyModule][], list: boolean): string[] {
  const found: { first: string; last: string; count: number; text: string }[] = [];
  for (const [key, own] of Map.groupBy(children, ([name]) => name.split(".", 1)[0]!)) {
    const inner = own.map(([name, one]): [string, AnyModule] => [name.slice(key.length + 1), one]);
    const numbers = inner.every(([name]) => /^\d/.test(name));
    const text = inner[0]![0] === ""
      ? treeOf(inner[0]![1])
      : block(numbers ? "ModuleList" : "ModuleDict", "", linesOf(inner, numbers));
    const before = found.at(-1);
    if (list && before?.text === text) [before.last, before.count] = [key, before.count + 1];
    else found.push({ first: key, last: key, count: 1, text });
  }
  return found.map(({ first, last, count, text }) =>
    count === 1 ? `(${first}): ${text}` : `(${first}-${last}): ${count} x ${text}`
  );
}

/**
 * A table of the modules with the shapes, counts and bytes of their parameters and, from an input,
 * of their outputs, with operations.
 */
export function summaryOf(model: AnyModule, options: SummaryOptions | Tensor): string {
  if (options instanceof Tensor) options = { input: options };
  checkOptions("summary", options, ["inputShape", "input"]);
  const runs = runsOf(model, options);
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0);
  const sizeOf = (tensors: Tensor[]) => sum(tensors.map((x) => x.size));
  const count = (n: number) => n ? n.toLocaleString("en") : "";
  const titles = ["module", "parameters", "bytes", "FLOPs", "output", "output bytes", "shapes"];
  const rows: string[][] = [titles];
  const seen = new Set<Tensor>();
  const isParameter = (x: Tensor) => x.requiresGrad || frozen.has(x);
  for (const [name, module] of model.namedModules()) {
    const own = Object.entries(module)
      .flatMap(([key, x]: [string, unknown]) => x instanceof Tensor ? [[key, x] as const] : []);
    const fresh = own.map(([, x]) => x).filter((x) => !seen.has(x));
    const shapes = own.map(([key, x]) =>
      `${key} ${formatShape(x.shape)}${seen.has(x) ? " (shared)" : ""}`
    );
    for (const x of fresh) seen.add(x);
    const run = runs?.get(module);
    rows.push([
      `${name ? `${name}: ` : ""}${module.describe()}`,
      count(sizeOf(fresh.filter(isParameter))),
      count(sum(fresh.map(bytesOf))),
      count(run?.flops ?? 0),
      (run?.output ?? "") + (run && run.calls > 1 ? ` (${run.calls} calls)` : ""),
      count(run?.bytes ?? 0),
      shapes.join(", "),
    ]);
  }
  const made = [...runs?.values() ?? []], learned = [...seen].filter(isParameter);
  const still = sizeOf(learned.filter((x) => !x.requiresGrad));
  rows.push([
    ...["total", sizeOf(learned).toLocaleString("en"), count(sum(Array.from(seen, bytesOf)))],
    ...[count(sum(made.map(({ flops }) => flops))), ""],
    ...[count(sum(made.map(({ bytes }) => bytes))), ""],
  ]);
  if (still > 0) rows.push(["frozen", count(still), "", "", "", "", ""]);
  const columns = titles.map((_, i) => i).filter((i) => runs || i < 3 || i === 6);
  const widths = columns.map((i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    columns.map((i, at) =>
      [0, 4, 6].includes(i) ? row[i]!.padEnd(widths[at]!) : row[i]!.padStart(widths[at]!)
    ).join("  ").trimEnd()
  ).join("\n");
}

interface Run {
  /** The shapes of what the module gave last. */
  output: string;
  calls: number;
  /** Of products in its own forward() but not in those of modules inside, in all calls. */
  flops: number;
  /** Of what all calls gave, where no modules are inside. */
  bytes: number;
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
  const first = modules.flatMap((module) => Object.values(module) as unknown[])
    .find((x) => x instanceof Tensor && dtypeInfo(x.dtype).float) as Tensor | undefined;
  const running: Run[] = [];
  using undo = new DisposableStack();
  for (const module of modules) {
    const run: Run = { output: "", calls: 0, flops: 0, bytes: 0 };
    const leaf = module.namedChildren().next().done;
    undo.use(addHook(module, "before", () => void running.push(run)));
    undo.use(addHook(module, "after", (_, _x, y) => {
      const outputs: Tensor[] = [];
      mapTensors(y, (x) => x instanceof Tensor && outputs.push(x) ? x : x);
      running.pop();
      runs.set(module, run);
      run.calls++;
      run.output = outputs.map(({ shape }) => formatShape(shape)).join(", ");
      if (leaf) { for (const x of outputs) run.bytes += bytesOf(x); }
    }));
  }
  const before = listening();
  undo.defer(() => {
    tell(before);
    modules.forEach((module, i) => module.training = modes[i]!);
  });
  tell((name, passed) => {
    const run = running.at(-1);
    if (!run || !/^cdn_(matmul|conv2d|attention$)/.test(name)) return;
    const args = passed.map((x) => (x as Memory | null)?.of ?? x);
    run.flops += countsOf(name.slice("cdn_".length), args).flops ?? 0; // unknown with lengths
  });
  model.eval();
  const place = { dtype: first?.dtype ?? "float32", device: first?.device } as const;
  const forward = () => void model.forward((input ?? zeros(inputShape!, place)) as never);
  try {
    withRandomFrom(randomPlace(), () => noGrad(() => scope(forward)));
  } catch (error) {
    if (inputShape && error instanceof DTypeError) {
      error.message += `; inputShape gives zeros of ${place.dtype}: give an input instead`;
    }
    throw error;
  }
  return runs;
}
