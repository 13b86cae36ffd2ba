import { noGrad } from "../../core/autograd.ts";
import { checkOptions, isTensor, refuse } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { tensor } from "../../create.ts";
import { pathOf, replaceFile } from "../../io/_files.ts";
import { ArgumentError, CudenoError } from "../../native/errors.ts";
import { type AnyModule, Module } from "../../nn/module.ts";
import { indexSelect } from "../../ops/index/index_select.ts";
import { itemsOf, mapLeaves } from "../../_structure.ts";
import type { Tensor } from "../../tensor.ts";
import { elements, type ElementType } from "../_elements.ts";
import type { Draft } from "../_schema.ts";
import { tensorProto } from "../_tensor_proto.ts";
import { encodeMessage } from "../_wire.ts";
import type { Attribute, Graph, GraphNode, GraphValue } from "../graph.ts";
import { OnnxModel } from "../model.ts";
import { foldNorms } from "./fold.ts";
import { type Constant, type Given, type Known, Trace, type TracedNode } from "./trace.ts";

/** Options of {@linkcode save}. */
export interface OnnxSaveOptions {
  /** Where the file goes, which takes --allow-write. Default: the bytes alone are given. */
  path?: string | URL | undefined;
  /** Further arguments of the model's forward(), after the input; tensors are inputs too. */
  args?: readonly unknown[] | undefined;
  /** Names of the inputs and outputs, in order. Default `"input"`, `"output"`, or their keys. */
  names?: { inputs?: readonly string[] | undefined; outputs?: readonly string[] | undefined };
  /** What the batch's extent is called; null for a graph of this batch alone. Default `"N"`. */
  batch?: string | null | undefined;
  /** Which axis of the inputs is the batch's. Default 0. */
  batchAxis?: number | undefined;
  /**
   * Kept in the file, texts as they are and all else as JSON: `{ classes: ["cat", "dog"] }`.
   */
  metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Whether norms after convolutions become part of them. Default false. */
  foldBatchNorm?: boolean | undefined;
  /** Whether weights go to a file beside it, `path` + ".data". Default: from 2 GiB on. */
  externalData?: boolean | undefined;
}

const keys = [
  ...["path", "args", "names", "batch", "batchAxis", "metadata", "foldBatchNorm", "externalData"],
];

/** What a message of protocol buffers can hold. */
const most = 2 ** 31 - 2 ** 20;

/** A model uses operations that cannot be written: all are listed. */
export class OnnxExportError extends CudenoError {
  /** Each operation, and the layer that calls it. */
  readonly missing: readonly string[];

  /** For some operations. */
  constructor(missing: readonly string[]) {
    super(
      "operators",
      `onnx.save: there is nothing to write for ${
        missing.join("; ")
      }. Write the layer with other ` +
        "operations, or leave it out of the model that is saved",
    );
    this.missing = missing;
  }
}

/**
 * Writes a model as an ONNX file of opset 17: its forward() is run with the input in evaluation
 * mode, and what it computes is written, with the names of the parameters. The graph is for batches
 * of any size; all else is as it was for this input: what depends on other extents, or on values,
 * is fixed. The model is unchanged afterwards.
 *
 * A model that {@linkcode load} has read is written as it is, without an input.
 *
 * @returns the file's bytes.
 * @throws {OnnxExportError} where operations cannot be written: it lists all.
 * @throws {ArgumentError} where the model computes other things for another size of the batch.
 *
 * ```ts
 * import { nn, onnx, zeros } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3));
 * const bytes = await onnx.save(model, zeros([1, 4]), { metadata: { classes: ["a", "b", "c"] } });
 * using loaded = await onnx.load(bytes);
 * console.log(loaded.inputs, loaded.metadata.classes); // …, ["a","b","c"]
 * ```
 */
export function save(model: OnnxModel, input?: undefined, options?: OnnxSaveOptions): Promise<
  Uint8Array<ArrayBuffer>
>;
/** The same of a module; `input` is what its forward() takes. */
export function save<Input>(
  model: Pick<Module<Input, unknown>, "forward" | "namedModules">,
  input: Input,
  options?: OnnxSaveOptions,
): Promise<Uint8Array<ArrayBuffer>>;
export async function save(
  model: unknown,
  input?: unknown,
  options: OnnxSaveOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  checkOptions("onnx.save", options, keys);
  const metadata = { ...options.metadata };
  let draft: Draft<"Model">;
  if (model instanceof OnnxModel) {
    const { producer: _producer, ...texts } = model.metadata;
    Object.assign(metadata, { ...texts, ...metadata });
    draft = {
      opsetImport: Array.from(model.opset, ([domain, version]) => ({ domain, version })),
      graph: graphDraft(model.graph),
    };
  } else {
    if (!(model instanceof Module)) {
      refuse("onnx.save", "the model", model, "a module or what onnx.load() gives");
    }
    draft = {
      opsetImport: [{ domain: "", version: 17 }],
      graph: await traced(model, input, options),
    };
  }
  return await written({
    irVersion: 8,
    producerName: "cudeno",
    ...draft,
    metadataProps: Object.entries(metadata).map(([key, value]) => ({
      key,
      value: typeof value === "string" ? value : JSON.stringify(value),
    })),
  }, options);
}

async function written(draft: Draft<"Model">, options: OnnxSaveOptions) {
  const list = draft.graph!.initializer as Draft<"Tensor">[];
  const size = list.reduce((sum, { rawData }) => sum + rawData!.length, 0);
  const apart = options.externalData ?? size > most;
  if (apart && options.path === undefined) {
    throw new ArgumentError(
      `onnx.save: weights of ${size} bytes go to a file of their own; give a path`,
    );
  }
  if (apart) {
    const path = pathOf(options.path!), parts: Uint8Array[] = [];
    const location = `${path.replace(/^.*[/\\]/, "")}.data`;
    let at = 0;
    for (const item of list) {
      const data = item.rawData!;
      delete item.rawData;
      const place = { location, offset: at, length: data.length };
      item.dataLocation = 1;
      item.externalData = Object.entries(place).map(([key, value]) => ({ key, value: `${value}` }));
      const gap = (64 - data.length % 64) % 64; // so that data may be mapped
      parts.push(data, new Uint8Array(gap));
      at += data.length + gap;
    }
    await replaceFile(`${path}.data`, iterated(parts));
  }
  const bytes = encodeMessage("Model", draft);
  if (options.path !== undefined) await replaceFile(options.path, bytes);
  return bytes;
}

async function* iterated(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

interface Run {
  readonly trace: Trace;
  readonly outputs: [key: string, value: Known][];
}

// The graph of a module.
function traced(
  model: AnyModule,
  input: unknown,
  options: OnnxSaveOptions,
): Promise<Draft<"Graph">> {
  const { args = [], names = {}, batch: name = "N", batchAxis: axis = 0 } = options;
  const given = [input, ...args];
  const parameters = Object.entries(model.stateDict());
  const run = (count: number | undefined, by?: Trace): Run => {
    const trace = new Trace(parameters, axis, count ?? 1, by);
    let outputs: Run["outputs"] = [];
    scope(() => {
      const leaves: [string, Tensor][] = [];
      const operands = given.map((structure, i) =>
        mapLeaves(structure, isTensor, (leaf, place) => {
          if (!isTensor(leaf)) return leaf;
          const x = count === undefined
            ? (leaf as Tensor).alias()
            : noGrad(() => repeated(leaf as Tensor, axis, count));
          leaves.push([place.replace(/^\W+|\W+$/g, "").replace(/\W+/g, "_") || `${i || ""}`, x]);
          return x;
        })
      );
      if (leaves.length === 0) refuse("onnx.save", "the input", input, "tensors in any structure");
      leaves.forEach(([place, x], i) => {
        const free = /^\d*$/.test(place) ? `input${i === 0 ? "" : `_${i}`}` : place;
        trace.input(x, names.inputs?.[i] ?? free);
      });
      const forward = model.forward as (...args: unknown[]) => unknown;
      outputs = trace.run(model, () => leavesOf(forward.apply(model, operands)))
        .map(([key, x]) => [key, trace.known(x)]);
      return [];
    });
    return { trace, outputs };
  };
  const fixed = name === null;
  const other = fixed ? undefined : run(3).trace;
  return graphOf(run(fixed ? undefined : 2, other), options);
}

function leavesOf(value: unknown, key = ""): [string, Tensor][] {
  if (isTensor(value)) return [[key, value as Tensor]];
  return (itemsOf(value) ?? []).flatMap(([own, item]) =>
    leavesOf(item, key ? `${key}_${own}` : own)
  );
}

// As many entries of a batch as wanted.
function repeated(x: Tensor, axis: number, count: number): Tensor {
  const extent = x.shape[axis];
  if (!extent) {
    throw new ArgumentError(
      `onnx.save: an input of shape [${x.shape.join(", ")}] has no entry along the batch's axis ` +
        `${axis}; give one, or batch: null`,
    );
  }
  const places = Int32Array.from({ length: count }, (_, i) => i % extent);
  return indexSelect(x, axis, tensor(places, { device: x.device }));
}

async function graphOf({ trace, outputs }: Run, options: OnnxSaveOptions): Promise<Draft<"Graph">> {
  let nodes = needed(trace.nodes, outputs.map(([, { name }]) => name));
  const missing = nodes.flatMap(({ missing }) => missing ?? []);
  if (missing.length > 0) throw new OnnxExportError([...new Set(missing)]);
  if (options.foldBatchNorm) {
    nodes = foldNorms(nodes, trace.constants, new Set(outputs.map(([, { name }]) => name)));
  }
  // Outputs have names of their own: those of the nodes that make them change.
  const renamed = new Map<string, string>();
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const named = outputs.map(([key, value], i) => {
    const several = /^\d*$/.test(key) ? `output${i ? `_${i}` : ""}` : key;
    const name = trace.unique(options.names?.outputs?.[i] ?? several);
    if (made.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, name);
    else {nodes.push({
        op: "Identity",
        name,
        inputs: [value.name],
        outputs: [name],
        attributes: {},
      });}
    return { ...value, name };
  });
  const rename = (list: readonly string[]) => list.map((name) => renamed.get(name) ?? name);
  const used = new Set(nodes.flatMap(({ inputs }) => inputs));
  const initializer: Draft<"Tensor">[] = [];
  for (const [name, constant] of trace.constants) {
    if (used.has(name)) initializer.push(await initializerOf(name, constant));
  }
  const info = ({ name, type, shape, batch }: Known) => ({
    name,
    type: {
      tensorType: {
        elemType: elements[type].code,
        shape: {
          dim: shape.map((dimValue, d) =>
            batch[d] === 0 ? { dimValue } : batch[d] === 1 ? { dimParam: options.batch ?? "N" } : {}
          ),
        },
      },
    },
  });
  return {
    name: "model",
    node: nodes.map(({ op, name, inputs, outputs, attributes }) => ({
      ...{ opType: op, name, input: rename(inputs), output: rename(outputs) },
      attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
    })),
    initializer,
    input: trace.inputs.map(info),
    output: named.map(info),
  };
}

// The nodes that the outputs depend on.
function needed(nodes: readonly TracedNode[], outputs: readonly string[]): TracedNode[] {
  const wanted = new Set(outputs);
  return nodes.toReversed().filter(({ inputs, outputs }) => {
    if (!outputs.some((name) => wanted.has(name))) return false;
    for (const name of inputs) wanted.add(name);
    return true;
  }).reverse();
}

async function initializerOf(name: string, { type, dims, data }: Constant) {
  return tensorProto(name, type, dims, isTensor(data) ? await (data as Tensor).data() : data as []);
}

const text = (s: string) => new TextEncoder().encode(s);

function attributeOf(name: string, value: Given): Draft<"Attribute"> {
  if (typeof value === "string") return { name, type: 3, s: text(value) };
  if (typeof value === "number") return { name, type: 2, i: value };
  if ("float" in value) return { name, type: 1, f: value.float };
  if ("texts" in value) return { name, type: 8, strings: value.texts.map(text) };
  return { name, type: 7, ints: value };
}

// A graph that was read, as it was.
function graphDraft(graph: Graph): Draft<"Graph"> {
  return {
    name: graph.name || "graph",
    node: graph.nodes.map(nodeDraft),
    initializer: Array.from(graph.initializers, ([name, { type, shape, read }]) => {
      return tensorProto(name, type, shape, read());
    }),
    input: [...graph.inputs, ...graph.defaults].map(valueDraft),
    output: graph.outputs.map(valueDraft),
  };
}

function nodeDraft({ op, domain, name, inputs, outputs, attributes }: GraphNode): Draft<"Node"> {
  return {
    ...{ opType: op, domain, name, input: inputs, output: outputs },
    attribute: Array.from(attributes, ([name, attribute]) => readAttribute(name, attribute)),
  };
}

function readAttribute(name: string, attribute: Attribute): Draft<"Attribute"> {
  const stored = (
    { type, shape, read }: {
      type: ElementType;
      shape: readonly number[];
      read(): ArrayLike<number>;
    },
  ) => tensorProto("", type, shape, read());
  const { kind, value } = attribute;
  switch (kind) {
    case "float":
      return { name, type: 1, f: value };
    case "int":
      return { name, type: 2, i: value };
    case "string":
      return { name, type: 3, s: text(value) };
    case "tensor":
      return { name, type: 4, t: stored(value) };
    case "graph":
      return { name, type: 5, g: graphDraft(value) };
    case "floats":
      return { name, type: 6, floats: value };
    case "ints":
      return { name, type: 7, ints: value };
    case "strings":
      return { name, type: 8, strings: value.map(text) };
    case "tensors":
      return { name, type: 9, tensors: value.map(stored) };
    case "graphs":
      return { name, type: 10, graphs: value.map(graphDraft) };
  }
}

function valueDraft({ name, type, shape }: GraphValue): Draft<"ValueInfo"> {
  if (!type) return { name };
  const dim = shape?.map((n) =>
    typeof n === "number" ? { dimValue: n } : n === "?" ? {} : { dimParam: n }
  );
  return {
    name,
    type: { tensorType: { elemType: elements[type].code, ...(dim && { shape: { dim } }) } },
  };
}
