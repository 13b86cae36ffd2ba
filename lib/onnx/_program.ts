// A graph made ready for a place.
import { CudenoError } from "../native/errors.ts";
import { type Graph, type GraphNode, graphsOf } from "./graph.ts";
import { changing, operatorOf } from "./ops/registry.ts";
import { foldLimit, Frame, type Notes, type Plan, type Step } from "./_plan.ts";
import { Run } from "./_run.ts";
import { hostLimit, type Place, Value } from "./value.ts";

// Whether it runs a loop, of which nobody knows how long it takes.
function loops({ op, attributes }: GraphNode): boolean {
  return op === "Loop" || graphsOf(attributes).some(({ nodes }) => nodes.some(loops));
}

// Of how many shapes of inputs a program keeps what depends on them alone.
const shapesKept = 8;

// Backwards: who needs a node's results last frees them, and a node without use is left out.
function needed(steps: readonly Step[], outputs: readonly string[]): [Step[], Set<string>] {
  const used = new Set(outputs);
  const list: Step[] = [];
  for (const { node, operator } of steps.toReversed()) {
    const { inputs, outputs, captures } = node;
    if (!outputs.some((name) => used.has(name))) continue;
    const frees = outputs.filter((name) => name !== "" && !used.has(name));
    for (const name of new Set([...inputs, ...captures])) {
      if (name === "" || used.has(name)) continue;
      used.add(name);
      frees.push(name);
    }
    list.push({ node, operator, frees });
  }
  return [list.reverse(), used];
}

/** A graph and those of its nodes, made ready to run at a place. */
export class Program {
  readonly place: Place;
  readonly #file: string;
  readonly #plans = new Map<Graph, Plan>();
  readonly #shapes = new Map<string, Plan | Notes>();

  /** `given`: the initializers that count as inputs, as they may change from run to run. */
  constructor(graph: Graph, place: Place, file: string, given: ReadonlySet<string> = new Set()) {
    [this.place, this.#file] = [place, file];
    this.#prepare(graph, given);
    const used = new Set(
      [...this.#plans.values()].flatMap(({ constants }) =>
        Array.from(constants.values()).flatMap(({ tensors }) => tensors)
      ),
    );
    for (const x of place.kept) {
      if (used.has(x)) continue;
      place.kept.delete(x);
      x.dispose();
    }
  }

  /** What is ready of a graph. */
  plan(graph: Graph): Plan {
    return this.#plans.get(graph)!;
  }

  /**
   * The plan of the whole graph for inputs of such shapes: without what depends on shapes alone,
   * once that was computed twice.
   */
  planFor(graph: Graph, shapes: string): Plan | undefined {
    const found = this.#shapes.get(shapes);
    if (!found) return undefined;
    this.#shapes.delete(shapes); // to the end, as used last
    const plan = found instanceof Map ? this.#without(this.plan(graph), found) : found;
    this.#shapes.set(shapes, plan);
    return plan;
  }

  /** Notes what depended on the shapes of inputs alone in a run. */
  note(shapes: string, notes: Notes): void {
    this.#shapes.set(shapes, notes);
    if (this.#shapes.size <= shapesKept) return;
    const [[oldest, plan]] = this.#shapes as unknown as [[string, Plan | Notes]];
    this.#shapes.delete(oldest);
    if (plan instanceof Map) return;
    for (const x of plan.own?.flatMap(({ tensors }) => tensors) ?? []) {
      this.place.kept.delete(x);
      x.dispose();
    }
  }

  #without(plan: Plan, notes: Notes): Plan {
    if (notes.size === 0) return plan;
    const constants = new Map(plan.constants);
    const own: Value[] = [];
    for (const [{ node }, results] of notes) {
      node.outputs.forEach((name, i) => {
        const value = results[i];
        if (name === "" || !value) return;
        if (!value.constant) own.push(value.persist());
        constants.set(name, value);
      });
    }
    const steps = plan.steps.filter((step) => !notes.has(step));
    return { ...plan, constants, own, steps: needed(steps, plan.outputs)[0] };
  }

  #prepare(graph: Graph, given: ReadonlySet<string>, outer?: Frame): void {
    const constants = new Map<string, Value>();
    for (const [name, { type, shape, read }] of graph.initializers) {
      if (!given.has(name)) constants.set(name, Value.constant(this.place, type, shape, read));
    }
    const names = (values: readonly { name: string }[]) => values.map(({ name }) => name);
    const plan = {
      inputs: [...names(graph.inputs), ...given],
      outputs: names(graph.outputs),
      constants,
      steps: [] as Step[],
    };
    this.#plans.set(graph, plan);
    const frame = new Frame(plan, outer);
    const steps: Step[] = [];
    // Inputs of which only the shape is there.
    const shapes = graph.inputs.flatMap(({ name, type = "float32", shape }) => {
      if (!shape?.every((n) => typeof n === "number")) return [];
      return [[name, Value.constant(this.place, type, shape, () => new Uint8Array())] as const];
    });
    for (const node of graph.nodes) {
      for (const inner of graphsOf(node.attributes)) this.#prepare(inner, new Set(), frame);
      const operator = operatorOf(node.domain, node.op, node.opset)!;
      const step = { node, operator, frees: [] };
      if (node.op === "Shape" || node.op === "Size") {
        for (const [name, value] of shapes) frame.values.set(name, value);
      }
      if (!this.#folds(step, frame)) steps.push(step);
      frame.values.clear();
    }
    const [wanted, used] = needed(steps, plan.outputs);
    plan.steps.push(...wanted);
    for (const name of constants.keys()) if (!used.has(name)) constants.delete(name);
  }

  // Computes a node now if all that it needs is constant.
  #folds(step: Step, frame: Frame): boolean {
    const { op, inputs, outputs, captures } = step.node;
    const needs = [...inputs, ...captures].filter((name) => name !== "");
    if (changing.has(op) || loops(step.node)) return false;
    if (!needs.every((name) => frame.find(name))) return false;
    let results: (Value | undefined)[];
    try {
      results = new Run(this, this.#file).perform(step, frame);
    } catch (error) {
      if (error instanceof CudenoError) return false; // perhaps nobody comes here; else it says so
      throw error;
    }
    const size = (values: readonly (Value | undefined)[]) =>
      values.reduce((sum, value) => sum + (value?.size ?? 0), 0);
    const given = Array.from(new Set(needs), (name) => frame.find(name));
    const large = size(results) > Math.max(foldLimit, size(given));
    if (large || results.some((value) => value?.items)) {
      for (const x of results.flatMap((value) => value?.tensors ?? [])) {
        if (!this.place.kept.has(x)) x.dispose();
      }
      return false;
    }
    outputs.forEach((name, i) => {
      const value = results[i];
      if (name === "" || !value) return;
      if (value.size <= hostLimit) value.numbers();
      frame.plan.constants.set(name, value.persist());
    });
    return true;
  }
}
