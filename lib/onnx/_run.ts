// A graph made ready for a place, and its runs.
import { syncScope } from "../core/scope.ts";
import { CudenoError, DataError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { type Graph, type GraphNode, quote } from "./graph.ts";
import { MissingOperatorError } from "./missing.ts";
import { Context, located, type Operator } from "./ops/_operator.ts";
import { changing, operatorOf } from "./ops/registry.ts";
import { hostLimit, type Place, Value } from "./value.ts";

/** Throws a MissingOperatorError if operators are missing, in graphs of nodes too. */
export function checkOperators(graph: Graph, file: string): void {
  const missing = new Map<string, { op: string; domain: string; opset: number; nodes: string[] }>();
  const visit = ({ nodes }: Graph) => {
    for (const node of nodes) {
      const { op, domain, opset, name } = node;
      if (!operatorOf(domain, op, opset)) {
        const key = `${domain}:${op}`;
        const entry = missing.get(key) ?? { op, domain, opset, nodes: [] };
        missing.set(key, entry);
        entry.nodes.push(name);
      }
      graphsOf(node).forEach(visit);
    }
  };
  visit(graph);
  if (missing.size > 0) throw new MissingOperatorError(file, [...missing.values()]);
}

function graphsOf({ attributes }: GraphNode): Graph[] {
  return [...attributes.values()].flatMap(({ kind, value }) =>
    kind === "graph" ? [value] : kind === "graphs" ? value : []
  );
}

// Whether it runs a loop, of which nobody knows how long it takes.
function loops(node: GraphNode): boolean {
  return node.op === "Loop" || graphsOf(node).some(({ nodes }) => nodes.some(loops));
}

/** What nodes gave on the host, by step. */
type Notes = Map<Step, readonly (Value | undefined)[]>;

interface Step {
  readonly node: GraphNode;
  readonly operator: Operator;
  /** Names that nothing uses from here on. */
  readonly frees: string[];
}

/** A graph without what depends on constants alone, which is computed, and what nobody uses. */
interface Plan {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly constants: Map<string, Value>;
  readonly steps: readonly Step[];
  /** The constants that this plan alone has. */
  readonly own?: readonly Value[];
}

// The values by name while a graph runs, and those of the graphs around.
class Frame {
  readonly values: Map<string, Value> = new Map();
  /** The tensors that a name holds, which are those that there were when it was bound. */
  readonly held: Map<string, readonly Tensor[]> = new Map();
  readonly plan: Plan;
  readonly outer: Frame | undefined;

  constructor(plan: Plan, outer: Frame | undefined) {
    [this.plan, this.outer] = [plan, outer];
  }

  find(name: string): Value | undefined {
    return this.values.get(name) ?? this.plan.constants.get(name) ?? this.outer?.find(name);
  }
}

// Folded results above this many elements stay computed by each run, unless they shrink what
// they are made of.
const foldLimit = 2 ** 22;

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
      for (const inner of graphsOf(node)) this.#prepare(inner, new Set(), frame);
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

/** One run of a program. */
export class Run {
  readonly #program: Program;
  readonly #file: string;
  // How many names in running graphs stand for a tensor.
  readonly #holds = new Map<Tensor, number>();
  // While it is noted what depends on the shapes of inputs alone: the values of which the shape
  // does, those of which the elements do as well or do not, and whether a node read the latter.
  #notes: Notes | undefined;
  readonly #shaped = new Set<Value>();
  readonly #known = new Set<Value>();
  readonly #unknown = new Set<Value>();
  #read = false;

  /** Of a program. */
  constructor(program: Program, file: string) {
    [this.#program, this.#file] = [program, file];
  }

  /** Runs the whole graph. Tensors of its inputs are not freed, nor are those of its results. */
  whole(graph: Graph, inputs: readonly Value[]): Value[] {
    const shapes = inputs.map(({ shape }) => shape.join()).join(";");
    const plan = this.#program.planFor(graph, shapes);
    if (plan) return this.graph(graph, inputs, undefined, plan);
    const notes = this.#notes = new Map();
    for (const value of inputs) this.#shaped.add(value);
    const before = Value.reading;
    // What an operator made on the host itself comes from what it has read.
    Value.reading = (value) => {
      if (value.constant || this.#known.has(value)) return;
      this.#read ||= !value.onHost || this.#unknown.has(value);
    };
    try {
      const results = this.graph(graph, inputs);
      this.#program.note(shapes, notes);
      return results;
    } finally {
      Value.reading = before;
    }
  }

  /** Runs a graph, as {@linkcode whole}. */
  graph(
    graph: Graph,
    inputs: readonly Value[],
    outer?: Frame,
    plan: Plan = this.#program.plan(graph),
  ): Value[] {
    const frame = new Frame(plan, outer);
    const held = inputs.map((value) => this.#hold(value));
    plan.inputs.forEach((name, i) => {
      const value = inputs[i];
      if (!value) {
        throw new DataError(`the graph ${quote(graph.name)} lacks its input ${quote(name)}`);
      }
      this.#bind(frame, name, value);
    });
    for (const step of plan.steps) {
      const results = this.#notes ? this.#noted(step, frame) : this.perform(step, frame);
      step.node.outputs.forEach((name, i) => {
        if (name !== "" && results[i]) this.#bind(frame, name, results[i]);
      });
      for (const name of step.frees) this.#release(frame, name);
    }
    const outputs = plan.outputs.map((name) => {
      return frame.find(name) ?? this.#lacking(name);
    });
    held.push(...outputs.map((value) => this.#hold(value)));
    for (const name of [...frame.values.keys()]) this.#release(frame, name);
    for (const tensors of held) this.#drop(tensors, false);
    return outputs;
  }

  // A node that read no elements but those that shapes decide makes results whose shapes they
  // decide too, and on the host their elements.
  #noted(step: Step, frame: Frame): (Value | undefined)[] {
    const { inputs, captures, op } = step.node;
    const before = this.#read;
    this.#read = false;
    const given = [...inputs, ...captures].flatMap((name) => frame.find(name) ?? []);
    const results = this.perform(step, frame);
    const settled = !this.#read && !changing.has(op) &&
      given.every((value) => value.constant || this.#shaped.has(value));
    this.#read ||= before;
    if (!settled) return results;
    const known = given.every((value) => value.constant || this.#known.has(value));
    const made = results.filter((value) => value !== undefined);
    for (const value of made) {
      this.#shaped.add(value);
      const host = value.tensors.length === 0 && !value.items && !given.includes(value);
      if (host || known) this.#known.add(value);
    }
    const small = (value: Value) =>
      value.tensors.length === 0 && !value.items && value.size <= foldLimit;
    if (!frame.outer && made.every((value) => this.#known.has(value) && small(value))) {
      this.#notes!.set(step, results);
    }
    return results;
  }

  #lacking(name: string): never {
    throw new DataError(`${this.#file}: nothing has made ${quote(name)}`);
  }

  /** Computes a node. */
  perform({ node, operator }: Step, frame: Frame): (Value | undefined)[] {
    const inputs = node.inputs.map((name) =>
      name === "" ? undefined : frame.find(name) ?? this.#lacking(name)
    );
    const runner = {
      run: (graph: Graph, values: readonly Value[]) => this.graph(graph, values, frame),
      free: (values: readonly Value[], except: readonly Value[]) => this.#free(values, except),
    };
    const context = new Context(node, inputs, this.#program.place, runner);
    let results: (Value | undefined)[] = [];
    try {
      syncScope(() => {
        results = context.results(operator(context));
        return results.map((value, i) => context.wants(i) ? value?.tensors : undefined);
      });
    } catch (error) {
      throw located(error, `${this.#file}: node ${quote(node.name)} (${node.op})`);
    }
    return results;
  }

  #free(values: readonly Value[], except: readonly Value[]): void {
    const stays = new Set(except.flatMap(({ tensors }) => tensors));
    for (const x of values.flatMap(({ tensors }) => tensors)) {
      if (!stays.has(x) && !this.#holds.has(x) && !this.#program.place.kept.has(x)) {
        x.dispose();
      }
    }
  }

  #bind(frame: Frame, name: string, value: Value): void {
    frame.values.set(name, value);
    frame.held.set(name, this.#hold(value));
    if (this.#notes && !value.constant && !this.#known.has(value)) this.#unknown.add(value);
  }

  #hold({ tensors }: Value): readonly Tensor[] {
    for (const x of tensors) {
      if (!this.#program.place.kept.has(x)) this.#holds.set(x, (this.#holds.get(x) ?? 0) + 1);
    }
    return tensors;
  }

  #drop(tensors: readonly Tensor[], last: boolean): void {
    for (const x of tensors) {
      const held = this.#holds.get(x);
      if (!held) continue;
      if (held > 1) this.#holds.set(x, held - 1);
      else this.#holds.delete(x);
      if (held === 1 && last) x.dispose();
    }
  }

  #release(frame: Frame, name: string): void {
    frame.values.delete(name);
    this.#drop(frame.held.get(name) ?? [], true);
    frame.held.delete(name);
  }
}
