// A run of a graph: its nodes one after the other, and who holds which tensor.
import { syncScope } from "../core/scope.ts";
import { CudenoError, DataError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { foldLimit, Frame, type Notes, type Plan, type Step } from "./_plan.ts";
import type { Program } from "./_program.ts";
import { type Graph, quote } from "./graph.ts";
import { Context } from "./ops/_operator.ts";
import { changing } from "./ops/registry.ts";
import { Value } from "./value.ts";

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
    } catch (thrown) {
      // of the host's arrays
      const error = thrown instanceof RangeError
        ? new ShapeError(`too much for memory: ${thrown.message}`)
        : thrown;
      const where = `${this.#file}: node ${quote(node.name)} (${node.op})`;
      if (error instanceof CudenoError && !error.message.startsWith(where)) {
        error.message = `${where}: ${error.message}`;
      }
      throw error;
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
