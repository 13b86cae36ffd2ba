import { checkChoice, checkOptions, refuse } from "../core/options.ts";
import { noGrad } from "../core/autograd.ts";
import { syncScope } from "../core/scope.ts";
import { sizeOf } from "../core/shape.ts";
import { backendFor, type DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import {
  ArgumentError,
  DataError,
  DisposedError,
  DTypeError,
  ShapeError,
} from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import { ne } from "../ops/elementwise/compare.ts";
import { Tensor } from "../tensor.ts";
import { contextOf } from "./_functions.ts";
import { type Graph, graphOf, type GraphValue, quote } from "./graph.ts";
import type { Message } from "./_schema.ts";
import { missingOperators } from "./_missing.ts";
import { MissingOperatorError } from "./missing.ts";
import { Program } from "./_program.ts";
import { Run } from "./_run.ts";
import { Place, Value } from "./value.ts";

/** Options of {@linkcode load}. */
export interface OnnxOptions {
  /** Where the weights are put and the model computes. Default: the device of init(). */
  device?: DeviceName | undefined;
  /** What float32 in the file is computed in, weights and inputs too. Default float32. */
  dtype?: DType | undefined;
}

/** The range of ONNX's opsets that are understood. */
export const opsets = [1, 23] as const;

/**
 * A network of an ONNX file, as {@linkcode load} gives it. Weights are on the device from their
 * first use until {@linkcode OnnxModel.dispose}.
 */
export class OnnxModel {
  /** What is to be given: names, element types, and sizes, or their names where they vary. */
  readonly inputs: readonly GraphValue[];
  /** What comes out. */
  readonly outputs: readonly GraphValue[];
  /** Texts in the file, and `producer`, the program that wrote it. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The opset of each domain that the file imports; `""` is ONNX's own. */
  readonly opset: ReadonlyMap<string, number>;
  /** The nodes as the file has them. */
  readonly graph: Graph;
  readonly #file: string;
  readonly #options: OnnxOptions;
  #program: Program | undefined;
  // for runs in which initializers are given
  #open: Program | undefined;
  #disposed = false;

  /**
   * Made by {@linkcode load}.
   *
   * @ignore
   */
  constructor(proto: Message<"Model">, file: string, options: OnnxOptions) {
    checkOptions("onnx.load", options, ["device", "dtype"]);
    const { device, dtype = "float32" } = options;
    backendFor(device);
    checkChoice("onnx.load", "dtype", dtype, { float32: 0, float64: 0, float16: 0, bfloat16: 0 });
    const fault = (message: string) => new DataError(`${file}: ${message}`);
    if (!proto.graph) throw fault("there is no graph in it, so it is no ONNX model");
    const context = contextOf(proto, file);
    this.opset = context.opsets;
    const [least, most] = opsets;
    const own = this.opset.get("");
    if (own !== undefined && !(own >= least && own <= most)) {
      throw fault(`it is of opset ${own}; understood are ${least} to ${most}`);
    }
    this.graph = graphOf(proto.graph, context);
    this.inputs = this.graph.inputs;
    this.outputs = this.graph.outputs;
    const producer = [proto.producerName, proto.producerVersion].filter(Boolean).join(" ");
    this.metadata = {
      ...(producer ? { producer } : {}),
      ...Object.fromEntries(proto.metadataProps.map(({ key = "", value = "" }) => [key, value])),
    };
    this.#file = file;
    this.#options = options;
    const missing = missingOperators(this.graph);
    if (missing.length > 0) throw new MissingOperatorError(file, missing);
    this.#program = this.#prepared();
  }

  #prepared(given?: ReadonlySet<string>): Program {
    const place = new Place(this.#options.device, this.#options.dtype ?? "float32");
    try {
      return syncScope(() => noGrad(() => new Program(this.graph, place, this.#file, given)));
    } catch (error) {
      place.dispose();
      throw error;
    }
  }

  /**
   * Computes the outputs, by name. Inputs are given by name, or in the order of
   * {@linkcode inputs}; an initializer that the file lists as an input may be given too. int64 is
   * int32 here, bool is uint8. No gradients are recorded.
   *
   * @throws {ArgumentError} for inputs that are missing or not known.
   * @throws {ShapeError} and {@linkcode DTypeError} for inputs that are not as the model wants
   * them, or what a node says of its own.
   *
   * ```ts
   * import { io, onnx, zeros } from "@cudeno/cudeno";
   * try {
   *   using model = await onnx.load("squeezenet1.1.onnx");
   *   const { output } = model.run({ input: zeros([1, 3, 224, 224]) });
   *   console.log(output!.argmax(1).dataSync());
   * } catch (error) {
   *   console.log((error as Error).message); // squeezenet1.1.onnx is missing
   * }
   * ```
   */
  run(inputs: Readonly<Record<string, Tensor>>): Record<string, Tensor>;
  /** The same, of inputs in their order. */
  run(...inputs: Tensor[]): Record<string, Tensor>;
  run(...args: [Readonly<Record<string, Tensor>>] | Tensor[]): Record<string, Tensor> {
    if (this.#disposed) throw new DisposedError("onnx: the model was disposed");
    const given = this.#given(args);
    const open = this.graph.defaults.some(({ name }) => given.has(name));
    const program = open
      ? this.#open ??= this.#prepared(new Set(this.graph.defaults.map(({ name }) => name)))
      : this.#program!;
    const { place } = program;
    return syncScope(() =>
      noGrad(() => {
        const bound = new Map<string, number>();
        const wanted = open ? [...this.inputs, ...this.graph.defaults] : this.inputs;
        const values = wanted.map((value) => {
          const x = given.get(value.name);
          if (x) return this.#checked(value, x, place, bound);
          const { type, shape, read } = this.graph.initializers.get(value.name)!;
          return Value.host(place, type, shape, read());
        });
        const results = new Run(program, this.#file).whole(this.graph, values);
        const taken = new Set<Tensor>([...given.values(), ...place.kept]);
        const named = this.outputs.map(({ name }, i) => {
          const found = results[i]!.tensor();
          const x = taken.has(found) || place.kept.has(found) ? found.alias() : found;
          taken.add(x);
          return [name, x] as const;
        });
        return Object.fromEntries(named);
      })
    );
  }

  #given(args: readonly unknown[]): Map<string, Tensor> {
    const [first] = args;
    const inOrder = args.length !== 1 || first instanceof Tensor;
    if (inOrder && args.length !== this.inputs.length) {
      throw new ArgumentError(`onnx: ${args.length} inputs were given; ${this.#wanted()}`);
    }
    if (!inOrder && (typeof first !== "object" || first === null)) {
      refuse("onnx", "the input", first, "a tensor, or an object of tensors by name");
    }
    const named = inOrder
      ? args.map((x, i) => [this.inputs[i]!.name, x] as const)
      : Object.entries(first as Record<string, unknown>);
    const known = new Set([...this.inputs, ...this.graph.defaults].map(({ name }) => name));
    const given = new Map<string, Tensor>();
    for (const [name, x] of named) {
      if (!known.has(name)) {
        throw new ArgumentError(`onnx: there is no input ${quote(name)}; ${this.#wanted()}`);
      }
      if (!(x instanceof Tensor)) refuse("onnx", `the input ${quote(name)}`, x, "a tensor");
      given.set(name, x);
    }
    for (const { name } of this.inputs) {
      if (given.has(name)) continue;
      throw new ArgumentError(`onnx: the input ${quote(name)} is missing; ${this.#wanted()}`);
    }
    return given;
  }

  #wanted(): string {
    return `wanted are ${this.inputs.map(described).join(", ") || "none"}`;
  }

  #checked(value: GraphValue, x: Tensor, place: Place, bound: Map<string, number>): Value {
    const { name, shape } = value;
    const type = value.type ?? place.typeOf(x.dtype);
    const dtype = place.dtype(type);
    const wrong = (what: string) =>
      `onnx: the input ${quote(name)} ${what}; wanted is ${described(value)}`;
    const fits = x.dtype === dtype || (type === "float32" && x.dtype === "float32");
    if (!fits) throw new DTypeError(wrong(`is ${x.dtype}, not ${dtype}`));
    const same = !shape || (shape.length === x.rank && shape.every((extent, d) => {
      if (typeof extent === "number" || extent === "?") {
        return extent === "?" || extent === x.shape[d];
      }
      if (!bound.has(extent)) bound.set(extent, x.shape[d]!);
      return bound.get(extent) === x.shape[d];
    }));
    if (!same) {
      const sizes = [...bound].map(([name, n]) => `${name} = ${n}`).join(", ");
      throw new ShapeError(
        wrong(`has the shape [${x.shape.join(", ")}]`) + (sizes && `, ${sizes}`),
      );
    }
    return Value.device(place, type, type === "bool" ? ne(x, 0) : x.to({ dtype }));
  }

  /**
   * The initializers as tensors, by their names and those that Identity gives them, as exporters
   * write equal ones once: for {@linkcode nn.Module.loadStateDict}. They are the caller's.
   */
  stateDict(): StateDict {
    const place = new Place(this.#options.device, this.#options.dtype ?? "float32");
    const stored = new Map(this.graph.initializers);
    for (const { op, inputs, outputs } of this.graph.nodes) {
      const same = op === "Identity" ? stored.get(inputs[0]!) : undefined;
      if (same) stored.set(outputs[0]!, same);
    }
    return Object.fromEntries(
      Array.from(stored, ([name, { type, shape, read }]) => {
        return [name, Value.host(place, type, shape, read()).tensor()];
      }),
    );
  }

  /** What the model takes, gives, and is made of. */
  summary(): string {
    const count = (what: readonly string[]) =>
      [...Map.groupBy(what, (name) => name)].map(([name, { length }]) => `${length} ${name}`);
    const weights = [...this.graph.initializers.values()].reduce(
      (n, { shape }) => n + sizeOf(shape),
      0,
    );
    const ops = count(this.graph.nodes.map(({ op }) => op))
      .sort((a, b) => parseInt(b) - parseInt(a));
    return [
      `${this.#file}: opset ${[...this.opset].map(([d, v]) => `${d}${d && " "}${v}`).join(", ")}`,
      `inputs: ${this.inputs.map(described).join(", ")}`,
      `outputs: ${this.outputs.map(described).join(", ")}`,
      `weights: ${weights} in ${this.graph.initializers.size} tensors`,
      `nodes: ${this.graph.nodes.length} (${ops.join(", ")})`,
    ].join("\n");
  }

  /** As {@linkcode summary}. */
  toString(): string {
    return this.summary();
  }

  /** Frees the weights. */
  dispose(): void {
    this.#disposed = true;
    this.#program?.place.dispose();
    this.#open?.place.dispose();
    this.#program = this.#open = undefined;
  }

  /** As {@linkcode dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function described({ name, type, shape }: GraphValue): string {
  return `${quote(name)}: ${type ?? "any type"}${shape ? ` [${shape.join(", ")}]` : ""}`;
}
