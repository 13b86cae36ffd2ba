// How a module becomes a graph: its forward() runs, and two listeners that are there anyway hear
// what it does: that of native calls, which have all attributes among their arguments, and the
// tape's observer, which knows operations as users call them, with their tensors. The table
// (rows.ts) says for either what nodes that is. Who comes later is right: an operation's row
// replaces what those of its kernels said, and nodes that nothing needs are left out.
//
// Which extents are the batch's is learnt by running twice, with two sizes of batch.
import { type Made as Recorded, noGrad, type Observer, observing } from "../../core/autograd.ts";
import { type DType, dtypeInfo } from "../../core/dtype.ts";
import { randomPlace, withRandomFrom } from "../../core/random.ts";
import { sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { tell } from "../../native/arguments.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { AnyModule } from "../../nn/module.ts";
import { Tensor } from "../../tensor.ts";
import { elements, type ElementType } from "../_elements.ts";
import type { StoredTensor } from "../_tensor_proto.ts";
import type { Attribute, GraphNode } from "../graph.ts";
import { ignored, kernels, operations, outputCounts, random } from "./rows.ts";

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

/** What a row makes: a name, of the type of the tensor's dtype, or more. */
export type Made = string | (Partial<Known> & { name: string });

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

const tensorOf = (arg: unknown): Tensor | undefined => {
  const x = (arg as { of?: unknown } | null | undefined)?.of ?? arg;
  return x instanceof Tensor ? x : undefined;
};

/** What a run made, to be compared with what another one makes. */
interface Step {
  readonly shape: Shape;
  readonly data?: ArrayLike<number> | undefined;
}

// A tensor in the memory of another one, from a byte on.
interface View {
  readonly within: Tensor;
  readonly at: number;
}

/** A run of a model: nodes and constants. */
export class Trace {
  readonly nodes: TracedNode[] = [];
  /** Constants, of which parameters are read at the end. */
  readonly constants: Map<string, StoredTensor> = new Map();
  /** Inputs in their order. */
  readonly inputs: Known[] = [];
  /** Where the batch is in the first input. */
  readonly batchAxis: number;
  readonly #batch: number;
  readonly #other: Trace | undefined;
  readonly #steps: Step[] = [];
  readonly #known = new Map<Tensor, Known>();
  readonly #names = new Set<string>();
  readonly #views = new Map<number, View>();
  readonly #calls = new Map<Tensor, Call>();
  readonly #fills = new Map<Tensor, number>();
  readonly #layers: string[] = [];
  readonly #shapes = new Map<string, string>();
  #view: { out: Uint32Array; source: Tensor; offset: number } | undefined;
  #busy = false;

  /** Of a batch, and beside another run of another size of batch. */
  constructor(
    parameters: Iterable<[string, Tensor]>,
    batchAxis: number,
    batch: number,
    by?: Trace,
  ) {
    [this.batchAxis, this.#batch, this.#other] = [batchAxis, batch, by];
    for (const [name, x] of parameters) {
      if (this.#known.has(x)) continue;
      const type = typeOf(x.dtype);
      this.#names.add(name);
      this.#known.set(x, {
        ...{ name, type, shape: x.shape, batch: x.shape.map(() => 0), depends: false },
      });
      this.constants.set(name, { type, shape: x.shape, read: () => x.dataSync() });
    }
  }

  /** Names an input. */
  input(x: Tensor, name: string): void {
    if (this.#names.has(name)) throw new ArgumentError(`onnx.save: two things are named ${name}`);
    this.#names.add(name);
    this.inputs.push(this.#define(x, { name, depends: true }));
  }

  /** Runs `fn`, which calls the model. */
  run<T>(model: AnyModule, fn: () => T): T {
    using undo = new DisposableStack();
    for (const [name, module] of model.namedModules()) {
      undo.use(module.registerForwardPreHook(() => void this.#layers.push(name)));
      undo.use(module.registerForwardHook(() => void this.#layers.pop()));
      const { training } = module;
      undo.defer(() => module.training = training);
      module.training = false;
    }
    const observer: Observer = {
      made: (out, name, made) => this.#aside(() => this.#recorded(out as Tensor, name, made)),
      gradients: () => {},
    };
    undo.defer(() => tell(undefined));
    tell((name, args) => this.#aside(() => this.#called(name.slice("cdn_".length), args)));
    return withRandomFrom(randomPlace(), () => noGrad(() => observing(observer, fn)));
  }

  #aside(look: () => void): void {
    if (this.#busy) return;
    this.#busy = true;
    try {
      look();
    } finally {
      this.#busy = false;
    }
  }

  /** What the graph knows a tensor as; a constant if it has not heard of it. */
  known(x: Tensor): Known {
    const part = this.#find(this.sourceOf(x))?.depends; // of what the graph knows
    return this.#find(x) ?? (part ? this.#missing(x, "view") : this.#capture(x));
  }

  #find(x: Tensor): Known | undefined {
    const found = this.#known.get(x);
    if (found) return found;
    const view = this.#viewOf(x);
    const source = view && this.#known.get(view.within);
    if (!source || view.within.size !== x.size) return undefined;
    if (sameShape(source.shape, x.shape)) return source;
    const call = new Call(this, "view", [x, view.within], x);
    return this.#define(x, { ...call.reshaped(source), depends: source.depends });
  }

  // A tensor that was made outside, or of nothing that the graph knows. What depends on the size of
  // the batch must be the same for each of its entries.
  #capture(x: Tensor): Known {
    const data = x.dataSync();
    const type = typeOf(x.dtype);
    const name = this.unique(this.#path("constant"));
    const known = this.#define(x, { name, depends: false }, data);
    const varies = known.batch.findIndex((n) => n > 0);
    if (varies < 0) {
      this.constants.set(name, { type, shape: x.shape, read: () => data });
      return known;
    }
    const inner = sizeOf(x.shape.slice(varies + 1)), extent = x.shape[varies]!;
    const at = (i: number) => i - Math.floor(i / inner) % extent * inner;
    if (known.batch.filter((n) => n > 0).length > 1 || data.some((v, i) => v !== data[at(i)])) {
      throw new ArgumentError(
        `onnx.save: ${this.#where()} uses numbers that depend on the size of the batch; compute ` +
          "them from the input, or save with batch: null",
      );
    }
    const dims = x.shape.with(varies, 1);
    const one = this.constant(type, dims, Array.from(data).filter((_, i) => at(i) === i));
    this.node("Expand", [one, this.shape(x.shape, known.batch)], {}, [name]);
    return known;
  }

  #define(x: Tensor, made: Partial<Known> & { name: string }, data?: ArrayLike<number>): Known {
    const batch = this.step(x.shape, data);
    const known = { depends: true, type: typeOf(x.dtype), ...made, shape: x.shape, batch };
    this.#known.set(x, known);
    return known;
  }

  /** Notes an extent or number; gives how many times the batch's the extents are. */
  step(shape: Shape, data?: ArrayLike<number>): number[] {
    const at = this.#steps.push({ shape, data }) - 1;
    if (!this.#other) return shape.map(() => 0);
    const other = this.#other.#steps[at];
    const fail = () => {
      throw new ArgumentError(
        `onnx.save: ${this.#where()} computes other things for another size of the batch; save ` +
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

  #where(): string {
    return this.#layers.at(-1) || "the model";
  }

  #path(op: string): string {
    return [...this.#where().split("."), op].join("/").replace("the model/", "/").replace(
      /^(?!\/)/,
      "/",
    );
  }

  /** A name that is not taken. */
  unique(name: string): string {
    let free = name;
    for (let i = 1; this.#names.has(free); i++) free = `${name}_${i}`;
    this.#names.add(free);
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
    const name = this.unique(this.#path(op));
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
    const name = this.unique(this.#path("constant"));
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
    const axis = this.batchAxis;
    const [size] = this.node("Shape", [this.inputs[0]!.name], { start: axis, end: axis + 1 });
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

  /** What a tensor was filled with last. */
  fillOf(x: Tensor): number {
    return this.#fills.get(x) ?? 0;
  }

  /** The last native call that was given a tensor first. */
  callOf(x: Tensor): Call | undefined {
    return this.#calls.get(x);
  }

  #viewOf(x: Tensor): View | undefined {
    return x.disposed ? undefined : this.#views.get(x.stored(x.format).handle);
  }

  /** Where in another tensor a view begins, in elements. */
  offsetOf(x: Tensor): number | undefined {
    const view = this.#viewOf(x);
    return view && view.at / dtypeInfo(x.dtype).bytes;
  }

  /** The tensor that a view is of. */
  sourceOf(x: Tensor): Tensor {
    return this.#viewOf(x)?.within ?? x;
  }

  // A result that no row makes; the error comes at the end, if something needs it.
  #missing(x: Tensor, op: string, inputs: readonly Tensor[] = []): Known {
    const used = inputs.flatMap((input) => this.#known.get(input)?.name ?? []);
    const [name] = this.node("?", used, {}, 1, `${op} in ${this.#where()}`);
    return this.#define(x, { name: name! });
  }

  // Noted before it happens: what it makes is not there yet.
  #called(name: string, passed: readonly unknown[]): void {
    this.#settle();
    const args = passed.map((x) => x instanceof BigInt64Array ? Array.from(x, Number) : x);
    const tensors = args.map(tensorOf);
    if (name === "view") {
      const [out, source] = [args[0] as Uint32Array, tensors[1]!];
      this.#view = { out, source, offset: args[2] as number };
      return;
    }
    const y = tensors.find((x) => x !== undefined);
    if (!y || /^(free|freeze|read|read_begin|list_.*)$/.test(name)) return;
    const call = new Call(this, name, args, y);
    this.#calls.set(y, call);
    if (/^(fill|write|write_begin|stage)$/.test(name)) {
      this.#known.delete(y);
      if (name === "fill") this.#fills.set(y, args[2] as number);
      return;
    }
    const own = outputCounts[name] ?? 1;
    const given = tensors.slice(own).filter((x) => x !== undefined);
    if (random.has(name)) {
      this.#missing(y, name);
      return;
    }
    if (name === "transpose" && y.format !== given[0]!.format) { // of the same in another format
      const x = this.#find(given[0]!);
      if (x) this.#known.set(y, x);
      return;
    }
    if (ignored.has(name)) return;
    this.#apply(call, kernels[name], given, y);
    if (!kernels[name]) { // results before the first operand
      const first = tensors.findIndex((x) => x && x !== y && this.#find(x)?.depends);
      for (const x of tensors.slice(0, Math.max(first, 0))) {
        if (x && x !== y && !this.#find(x)) this.#missing(x, name, given);
      }
    }
  }

  #recorded(out: Tensor, name: string, { inputs, outputs, about }: Recorded): void {
    this.#settle();
    if (out !== outputs[0]) return; // those of several come with the first
    const given = inputs as readonly Tensor[];
    const row = operations[name];
    if (!row && this.#known.has(out)) return;
    const call = new Call(this, name, [out, ...given], out, outputs as readonly Tensor[], about);
    this.#apply(call, row, given, out);
  }

  #apply(call: Call, row: Row | undefined, given: readonly Tensor[], y: Tensor): void {
    const found = given.flatMap((x) => this.#find(x) ?? this.#find(this.sourceOf(x)) ?? []);
    const depends = found.some((x) => x.depends);
    if (found.length === 0 || (!row && !depends)) return void this.#known.delete(y);
    const made = row?.(call);
    if (made === undefined) {
      if (depends) this.#missing(y, call.name, given);
      return;
    }
    const list = Array.isArray(made) ? made as readonly Made[] : [made as Made];
    list.forEach((item, i) => {
      const x = call.outputs[i]!;
      this.#define(x, { ...(typeof item === "string" ? { name: item } : item), depends });
    });
    for (const x of call.outputs.slice(list.length)) {
      if (depends) this.#missing(x, call.name, given);
    }
  }

  #settle(): void {
    if (!this.#view) return;
    const { out, source, offset } = this.#view;
    this.#view = undefined;
    this.#views.set(out[0]!, { within: source, at: offset });
  }
}

/** What makes nodes of a call; undefined where it cannot. */
export type Row = (c: Call) => Made | readonly Made[] | undefined;

/** A native call, or an operation: then the arguments are its output and inputs. */
export class Call {
  readonly name: string;
  readonly args: readonly unknown[];
  /** The result. */
  readonly y: Tensor;
  /** All results. */
  readonly outputs: readonly Tensor[];
  readonly about: Readonly<Record<string, unknown>>;
  readonly trace: Trace;

  constructor(
    trace: Trace,
    name: string,
    args: readonly unknown[],
    y: Tensor,
    outputs?: readonly Tensor[],
    about: Readonly<Record<string, unknown>> = {},
  ) {
    [this.trace, this.name, this.args, this.y, this.about] = [trace, name, args, y, about];
    this.outputs = outputs ??
      args.slice(0, outputCounts[name] ?? 1).flatMap((arg) => tensorOf(arg) ?? []);
  }

  /** The native call that made the result of an operation. */
  get kernel(): Call | undefined {
    return this.trace.callOf(this.y);
  }

  /** A number among the arguments. */
  number(i: number): number {
    return Number(this.args[i]);
  }

  /** Numbers from an argument on, or those of an array. */
  numbers(i: number, count?: number): number[] {
    return count === undefined
      ? [...this.args[i] as number[]]
      : this.args.slice(i, i + count).map(Number);
  }

  /** Whether there is a tensor. */
  has(i: number): boolean {
    return tensorOf(this.args[i]) !== undefined;
  }

  tensor(i: number): Tensor {
    return tensorOf(this.args[i])!;
  }

  /** An argument as the graph knows it. */
  raw(i: number): Known {
    return this.trace.known(this.tensor(i));
  }

  /** The name of an argument, of its dtype's type; undefined where there is none. */
  v(i: number): string {
    if (!this.has(i)) return "";
    const x = this.raw(i), type = typeOf(this.tensor(i).dtype);
    return x.type === type ? x.name : this.cast(x.name, type);
  }

  /** The name of an argument as bool. */
  bool(i: number): string {
    const x = this.raw(i);
    return x.type === "bool" ? x.name : this.cast(x.name, "bool");
  }

  cast(name: string, type: ElementType): string {
    const to = elements[type].code;
    return this.node("Cast", [name], { to });
  }

  node(
    op: string,
    inputs: readonly (string | undefined)[],
    attributes: Attributes = {},
  ): string {
    return this.trace.node(op, inputs, attributes)[0]!;
  }

  /** A list of whole numbers. */
  list(...values: number[]): string {
    return this.trace.constant("int64", [values.length], values);
  }

  /** A constant of the result's type. */
  constant(dims: Shape, data: readonly number[], type = typeOf(this.y.dtype)): string {
    return this.trace.constant(type, dims, data);
  }

  /** A number, of the type of argument 1. */
  scalar(value: number): string {
    this.trace.step([], [value]);
    return this.constant([], [value], this.has(1) ? typeOf(this.tensor(1).dtype) : undefined);
  }

  /** A node for each, one after the other: `["Mul", 2]` multiplies by 2. */
  chain(x: string, ...steps: readonly (readonly [op: string, by?: number | string])[]): string {
    for (const [op, by] of steps) {
      x = this.node(
        op,
        by === undefined ? [x] : [x, typeof by === "number" ? this.scalar(by) : by],
      );
    }
    return x;
  }

  /** How many times the batch's the result's extents are, and a shape for Reshape. */
  reshaped(x: Known, name = x.name, shape = this.y.shape): { name: string; type: ElementType } {
    const batch = this.trace.step(shape);
    const same = (d: number) => batch[d]! > 0 && x.batch[d] === batch[d] && x.shape[d] === shape[d];
    const open = batch.flatMap((n, d) => n > 0 && !same(d) ? [d] : []);
    const dims = shape.map((n, d) => same(d) ? 0 : open.includes(d) ? -1 : n);
    const to = open.length > 1 ? this.trace.shape(shape, batch) : this.list(...dims);
    return { name: this.node("Reshape", [name, to]), type: x.type };
  }
}
