// What an operator is given, and what it gives.
import { normalizeAxis, type Shape } from "../../core/shape.ts";
import { ArgumentError, DTypeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { elements, type ElementType, type HostData } from "../_elements.ts";
import type { Attribute, Graph, GraphNode } from "../graph.ts";
import type { StoredTensor } from "../_tensor_proto.ts";
import { type Place, Value } from "../value.ts";

/** What an operator makes: one result, or all in the order of the node's outputs. */
export type Result = Tensor | Value | readonly (Tensor | Value | undefined)[];

/** An operator: computes a node's results. */
export type Operator = (c: Context) => Result;

/** Operators by the opset since which they hold; the largest that is not above the model's does. */
export type Versions = Readonly<Record<number, Operator>>;

/** Operators by name; those of other domains than ONNX's as `"com.microsoft:FusedMatMul"`. */
export type Family = Readonly<Record<string, Operator | Versions>>;

type ValueOf<K, A = Attribute> = A extends { kind: infer Kinds; value: infer V }
  ? K extends Kinds ? V : never
  : never;

/** How a run lets operators run their node's graphs. */
export interface GraphRunner {
  /** Runs a graph of the node; see {@linkcode Context.run}. */
  run(graph: Graph, inputs: readonly Value[]): Value[];
  /** See {@linkcode Context.free}. */
  free(values: readonly Value[], except: readonly Value[]): void;
}

/**
 * A node that is being computed: its inputs and attributes. Tensors that an operator makes and does
 * not return are freed after it.
 */
export class Context {
  readonly node: GraphNode;
  readonly inputs: readonly (Value | undefined)[];
  readonly place: Place;
  readonly #runner: GraphRunner;

  /** Made by the run. */
  constructor(
    node: GraphNode,
    inputs: readonly (Value | undefined)[],
    place: Place,
    runner: GraphRunner,
  ) {
    [this.node, this.inputs, this.place, this.#runner] = [node, inputs, place, runner];
  }

  /** The opset of the node's domain. */
  get opset(): number {
    return this.node.opset;
  }

  /** The first input as a tensor. */
  get x(): Tensor {
    return this.tensor(0);
  }

  /** The first input's ONNX element type. */
  get type(): ElementType {
    return this.value(0).type;
  }

  /** Whether an optional input is there. */
  has(i: number): boolean {
    return this.inputs[i] !== undefined;
  }

  /** Whether somebody may use an output. */
  wants(i: number): boolean {
    return (this.node.outputs[i] ?? "") !== "";
  }

  /** An input that must be there. */
  value(i: number): Value {
    return this.inputs[i] ?? this.fail(`input ${i} is missing`);
  }

  /** An input that must be there, as a tensor. */
  tensor(i: number): Tensor {
    return this.value(i).tensor();
  }

  /** An optional input, as a tensor. */
  maybe(i: number): Tensor | undefined {
    return this.inputs[i]?.tensor();
  }

  /** An input on the host: shapes, axes, sizes. */
  numbers(i: number): number[] {
    return Array.from(this.value(i).numbers());
  }

  /** An input of one element, on the host. */
  number(i: number, or?: number): number {
    if (or !== undefined && !this.has(i)) return or;
    const list = this.numbers(i);
    return list.length === 1
      ? list[0]!
      : this.fail(`input ${i} has ${list.length} elements, not 1`);
  }

  /** What is an attribute in old opsets and an input in new ones; undefined where it is neither. */
  numbersOr(attribute: string, i: number): readonly number[] | undefined {
    return this.has(i) ? this.numbers(i) : this.#attribute("ints", attribute);
  }

  /** A whole number; without a default it must be there. So too of those below. */
  int(name: string, or?: number): number {
    return this.#given("int", name, or);
  }
  /** A number. */
  float(name: string, or?: number): number {
    return this.#given("float", name, or);
  }
  /** A text. */
  string(name: string, or?: string): string {
    return this.#given("string", name, or);
  }
  /** Whole numbers. */
  ints(name: string, or?: readonly number[]): readonly number[] {
    return this.#given("ints", name, or);
  }
  /** Numbers. */
  floats(name: string, or?: readonly number[]): readonly number[] {
    return this.#given("floats", name, or);
  }
  /** Texts. */
  strings(name: string, or?: readonly string[]): readonly string[] {
    return this.#given("strings", name, or);
  }
  /** A graph, for {@linkcode run}. */
  graph(name: string): Graph {
    return this.#given("graph", name);
  }
  /** A tensor that is an attribute. */
  constant(name: string): Value | undefined {
    const stored: StoredTensor | undefined = this.#attribute("tensor", name);
    return stored && this.host(stored.type, stored.shape, stored.read());
  }

  /** The axis that an attribute names, from 0 up to `rank` - 1. */
  axis(name: string, or: number | undefined, rank: number): number {
    return normalizeAxis(this.node.op, this.int(name, or), rank);
  }

  #attribute<K extends Attribute["kind"]>(kind: K, name: string): ValueOf<K> | undefined {
    const found = this.node.attributes.get(name);
    if (!found || found.kind === kind) return found?.value as ValueOf<K> | undefined;
    return this.fail(`the attribute ${name} is of the kind ${found.kind}, expected ${kind}`);
  }

  #given<K extends Attribute["kind"]>(kind: K, name: string, or?: ValueOf<K>): ValueOf<K> {
    return this.#attribute(kind, name) ?? or ?? this.fail(`the attribute ${name} is missing`);
  }

  /** A result on the host. `data` are as the type has them: see {@linkcode fit}. */
  host(type: ElementType, shape: Shape, data: HostData | readonly number[]): Value {
    return Value.host(
      this.place,
      type,
      shape,
      Array.isArray(data) ? Float64Array.from(data) : data as HostData,
    );
  }

  /** A tensor of another ONNX type than the first input's: comparisons give `"bool"`. */
  as(type: ElementType, x: Tensor): Value {
    const dtype = this.place.dtype(type);
    if (x.dtype === dtype) return Value.device(this.place, type, x);
    throw new DTypeError(`the result is ${x.dtype}, expected ${dtype} for ${type}`);
  }

  /**
   * Runs a graph of the node's, which sees the values around it. The tensors of the results are
   * freed after the operator unless it returns them.
   */
  run(graph: Graph, inputs: readonly Value[] = []): Value[] {
    return this.#runner.run(graph, inputs);
  }

  /** Frees results of {@linkcode run} that are no longer needed, unless somebody else has them. */
  free(values: readonly Value[], except: readonly Value[] = []): void {
    this.#runner.free(values, except);
  }

  /** An index from the front: a negative one counts from the end. */
  within(at: number, extent: number): number {
    if (!(at >= -extent && at < extent)) this.fail(`index ${at} is outside of ${extent}`);
    return at < 0 ? at + extent : at;
  }

  /** What `fn` makes of tensors, integers by way of float64, in the first input's dtype. */
  wide(fn: (...x: Tensor[]) => Tensor, ...x: Tensor[]): Tensor {
    const operands = x.length > 0 ? x : [this.x];
    if (elements[this.type].float) return fn(...operands);
    return fn(...operands.map((x) => x.to({ dtype: "float64" }))).to({ dtype: this.x.dtype });
  }

  /** Ends with an error that names the node. */
  fail(message: string): never {
    throw new ArgumentError(message); // the run says which node
  }

  /** The operator's results as values. */
  results(result: Result): (Value | undefined)[] {
    const list = Array.isArray(result)
      ? result as (Tensor | Value | undefined)[]
      : [result as Tensor];
    return list.map((item): Value | undefined => {
      if (!item || item instanceof Value) return item as Value | undefined;
      const like = this.inputs[0]?.type;
      const same = like !== undefined && elements[like].dtype !== undefined &&
        this.place.dtype(like) === item.dtype;
      return Value.device(this.place, same ? like : this.place.typeOf(item.dtype), item);
    });
  }
}
