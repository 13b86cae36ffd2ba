// A call of the run, as rows of the table see it.
import { type Shape, sizeOf } from "../../core/shape.ts";
import { Tensor } from "../../tensor.ts";
import { elements, type ElementType } from "../_elements.ts";
import { type Attributes, type Known, typeOf } from "./nodes.ts";
import type { Trace } from "./trace.ts";

/** What a row makes: a name, of the type of the tensor's dtype, or more. */
export type Made = string | (Partial<Known> & { name: string });

/** What makes nodes of a call; undefined where it cannot. */
export type Row = (c: Call) => Made | readonly Made[] | undefined;

/** An argument of a native call, if it is a tensor. */
export const tensorOf = (arg: unknown): Tensor | undefined => {
  const x = (arg as { of?: unknown } | null | undefined)?.of ?? arg;
  return x instanceof Tensor ? x : undefined;
};

/** A node of a chain: an operator, and its second operand. */
export type Step = string | readonly [op: string, by: number | string];

/** The name of what a row made. */
export const nameOf = (made: Made): string => typeof made === "string" ? made : made.name;

/** How many tensors come before the operands of a kernel, where it is not one. */
export const outputCounts: Readonly<Record<string, number>> = {
  ...{ topk: 2, layer_norm: 3, rms_norm: 2, group_norm: 3, max_pool: 2, conv2d: 2 },
  ...{ conv2d_pooled: 2, matmul_fused: 3, variance: 2 },
};

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
  constant(
    dims: Shape,
    data: readonly number[],
    type: ElementType = typeOf(this.y.dtype),
  ): string {
    return this.trace.constant(type, dims, data);
  }

  /** A constant of one number. */
  filled(dims: Shape, value: number): string {
    return this.constant(dims, new Array<number>(sizeOf(dims)).fill(value));
  }

  /** A number, of the type of a tensor: argument 1. */
  scalar(value: number, like: Tensor = this.has(1) ? this.tensor(1) : this.y): string {
    this.trace.step([], [value]);
    return this.constant([], [value], typeOf(like.dtype));
  }

  /** A node for each, one after the other: `["Mul", 2]` multiplies by 2. */
  chain(x: string, ...steps: readonly Step[]): string {
    for (const step of steps) {
      const [op, by] = typeof step === "string" ? [step] : step;
      x = this.node(op, [x, typeof by === "number" ? this.scalar(by) : by]);
    }
    return x;
  }

  /** A result as the graph is to know it. */
  known(name: string, shape: Shape = this.y.shape): Known {
    const batch = this.trace.step(shape);
    return { name, type: typeOf(this.y.dtype), shape, batch, depends: true };
  }

  /** How many times the batch's the result's extents are, and a shape for Reshape. */
  reshaped(
    x: Known,
    name: string = x.name,
    shape: Shape = this.y.shape,
  ): { name: string; type: ElementType } {
    const batch = this.trace.step(shape);
    const same = (d: number) => batch[d]! > 0 && x.batch[d] === batch[d] && x.shape[d] === shape[d];
    const open = batch.flatMap((n, d) => n > 0 && !same(d) ? [d] : []);
    const dims = shape.map((n, d) => same(d) ? 0 : open.includes(d) ? -1 : n);
    const to = open.length > 1 ? this.trace.shape(shape, batch) : this.list(...dims);
    return { name: this.node("Reshape", [name, to]), type: x.type };
  }
}
