// What is written: nodes and constants with their names, and how sizes follow the batch's.
import type { DType } from "../../core/dtype.ts";
import type { Shape } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { ElementType } from "../_elements.ts";
import type { StoredTensor } from "../_tensor_proto.ts";
import type { Attribute, GraphNode } from "../graph.ts";

/** A tensor of the run, as the graph knows it. */
export interface Known {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: Shape;
  /** For each extent how many times the batch's it is; 0 for one that is fixed. */
  readonly batch: readonly number[];
  /** Whether it depends on the inputs, and not on weights alone. */
  readonly depends: boolean;
  /** What it is a cast of. */
  readonly castOf?: Known | undefined;
  /** The same without the axis 2 of extent 1, by which lines count as images. */
  readonly line?: Known | undefined;
}

/** An attribute, or short for it: a text, a whole number or a list of them. */
export type Given = string | number | readonly number[] | Attribute;
export type Attributes = Readonly<Record<string, Given | undefined>>;

function attributeOf(value: Given): Attribute {
  if (typeof value === "string") return { kind: "string", value };
  if (typeof value === "number") return { kind: "int", value };
  return "kind" in value ? value : { kind: "ints", value };
}

/** A node of ONNX's own. */
export function nodeOf(
  op: string,
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Attributes = {},
): TracedNode {
  const given = Object.entries(attributes)
    .flatMap(([key, value]) => value === undefined ? [] : [[key, attributeOf(value)] as const]);
  const own = { domain: "", opset: 17, captures: [] };
  return { ...own, op, name, inputs, outputs, attributes: new Map(given) };
}

/** Numbers as a constant. */
export function stored(type: ElementType, shape: Shape, data: readonly number[]): StoredTensor {
  return { type, shape, read: () => Float64Array.from(data) };
}

/** A node to be written. */
export interface TracedNode extends GraphNode {
  /** An operation without a row, and where it was called. */
  readonly missing?: string | undefined;
}

/** ONNX's type of tensors of a dtype: its name is the same. */
export const typeOf = (dtype: DType): ElementType => dtype;

/** What a run made, to be compared with what another one makes. */
interface Step {
  readonly shape: Shape;
  readonly data?: ArrayLike<number> | undefined;
}

/** Nodes and constants of a run, which is of a batch, and beside another run of another size. */
export class Nodes {
  readonly nodes: TracedNode[] = [];
  /** Constants, of which parameters are read at the end. */
  readonly constants: Map<string, StoredTensor> = new Map();
  /** Inputs in their order. */
  readonly inputs: Known[] = [];
  /** Names that are taken. */
  readonly names: Set<string> = new Set();
  /** The layers that run, innermost last. */
  readonly layers: string[] = [];
  readonly #axis: number;
  readonly #batch: number;
  readonly #other: Nodes | undefined;
  readonly #steps: Step[] = [];
  readonly #shapes = new Map<string, string>();

  /** `axis` is the batch's in the first input. */
  constructor(axis: number, batch: number, other?: Nodes) {
    [this.#axis, this.#batch, this.#other] = [axis, batch, other];
  }

  /** Notes an extent or number; gives how many times the batch's the extents are. */
  step(shape: Shape, data?: ArrayLike<number>): number[] {
    const at = this.#steps.push({ shape, data }) - 1;
    if (!this.#other) return shape.map(() => 0);
    const other = this.#other.#steps[at];
    const fail = () => {
      throw new ArgumentError(
        `onnx.save: ${this.where()} computes other things for another size of the batch; save ` +
          "with batch: null for this size alone",
      );
    };
    if (!other || other.shape.length !== shape.length) return fail();
    const { data: before } = other;
    if (data && before?.length === data.length) {
      for (let i = 0; i < data.length; i++) if (!Object.is(data[i], before[i])) return fail();
    }
    return shape.map((n, d) => {
      if (n === other.shape[d]) return 0;
      const share = n / this.#batch;
      return share === other.shape[d]! / this.#other!.#batch ? share : fail();
    });
  }

  where(): string {
    return this.layers.at(-1) || "the model";
  }

  path(op: string): string {
    return [...this.where().split("."), op].join("/").replace("the model/", "/").replace(
      /^(?!\/)/,
      "/",
    );
  }

  /** A name that is not taken. */
  unique(name: string): string {
    let free = name;
    for (let i = 1; this.names.has(free); i++) free = `${name}_${i}`;
    this.names.add(free);
    return free;
  }

  /** Adds a node; gives the names of its outputs. */
  node(
    op: string,
    inputs: readonly (string | undefined)[],
    attributes: Attributes = {},
    outputs: number | string[] = 1,
    missing?: string,
  ): string[] {
    const name = this.unique(this.path(op));
    const made = Array.isArray(outputs)
      ? outputs
      : Array.from({ length: outputs }, (_, i) => `${name}_output_${i}`);
    const given = inputs.map((input) => input ?? "");
    while (given.at(-1) === "") given.pop();
    this.nodes.push({ ...nodeOf(op, name, given, made, attributes), missing });
    return made;
  }

  /** A constant. */
  constant(type: ElementType, shape: Shape, data: readonly number[]): string {
    const name = this.unique(this.path("constant"));
    this.constants.set(name, stored(type, shape, data));
    return name;
  }

  /** A shape as a value: of the batch's size where extents depend on it. */
  shape(shape: Shape, batch: readonly number[]): string {
    const list = (values: readonly number[]) => this.constant("int64", [values.length], values);
    if (batch.every((n) => n === 0)) return list(shape);
    const key = JSON.stringify([shape.map((n, d) => batch[d] ? 0 : n), batch]);
    const before = this.#shapes.get(key);
    if (before) return before;
    const bounds = { start: this.#axis, end: this.#axis + 1 };
    const [size] = this.node("Shape", [this.inputs[0]!.name], bounds);
    const parts = shape.map((n, d) =>
      batch[d] === 0
        ? list([n])
        : batch[d] === 1
        ? size!
        : this.node("Mul", [size, list([batch[d]!])])[0]!
    );
    const made = parts.length === 1 ? parts[0]! : this.node("Concat", parts, { axis: 0 })[0]!;
    this.#shapes.set(key, made);
    return made;
  }
}
