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
import { writeExternal } from "../_external.ts";
import type { Draft } from "../_schema.ts";
import { encodeMessage } from "../_wire.ts";
import type { Graph } from "../graph.ts";
import { OnnxModel } from "../model.ts";
import { graphDraft } from "./drafts.ts";
import { foldNorms } from "./fold.ts";
import { type Known, nodeOf, type TracedNode } from "./nodes.ts";
import { Trace } from "./trace.ts";

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
  let graph: Graph, opset: ReadonlyMap<string, number> = new Map([["", 17]]);
  if (model instanceof OnnxModel) {
    const { producer: _producer, ...texts } = model.metadata;
    Object.assign(metadata, { ...texts, ...metadata });
    ({ graph, opset } = model);
  } else {
    if (!(model instanceof Module)) {
      refuse("onnx.save", "the model", model, "a module or what onnx.load() gives");
    }
    graph = traced(model, input, options);
  }
  return await written({
    irVersion: 8,
    producerName: "cudeno",
    opsetImport: Array.from(opset, ([domain, version]) => ({ domain, version })),
    graph: graphDraft(graph),
    metadataProps: Object.entries(metadata).map(([key, value]) => ({
      key,
      value: typeof value === "string" ? value : JSON.stringify(value),
    })),
  }, options);
}

async function written(draft: Draft<"Model">, options: OnnxSaveOptions) {
  const list = draft.graph!.initializer as Draft<"Tensor">[];
  const size = list.reduce((sum, { rawData }) => sum + rawData!.length, 0);
  if (options.externalData ?? size > most) {
    if (options.path === undefined) {
      throw new ArgumentError(
        `onnx.save: weights of ${size} bytes go to a file of their own; give a path`,
      );
    }
    await writeExternal(list, pathOf(options.path));
  }
  const bytes = encodeMessage("Model", draft);
  if (options.path !== undefined) await replaceFile(options.path, bytes);
  return bytes;
}

interface Run {
  readonly trace: Trace;
  readonly outputs: [key: string, value: Known][];
}

// The graph of a module.
function traced(model: AnyModule, input: unknown, options: OnnxSaveOptions): Graph {
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

function graphOf({ trace, outputs }: Run, options: OnnxSaveOptions): Graph {
  let nodes = needed(trace.nodes, outputs.map(([, { name }]) => name));
  const missing = nodes.flatMap(({ missing }) => missing ?? []);
  if (missing.length > 0) throw new OnnxExportError([...new Set(missing)]);
  if (options.foldBatchNorm) {
    nodes = foldNorms(nodes, trace.constants, new Set(outputs.map(([, { name }]) => name)));
  }
  // Outputs have names of their own: those of the nodes that make them change.
  const renamed = new Map<string, string>();
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const named = outputs.map(([key, value], i): Known => {
    const several = /^\d*$/.test(key) ? `output${i ? `_${i}` : ""}` : key;
    const name = trace.unique(options.names?.outputs?.[i] ?? several);
    if (made.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, name);
    else nodes.push(nodeOf("Identity", name, [value.name], [name]));
    return { ...value, name };
  });
  const rename = (list: readonly string[]) => list.map((name) => renamed.get(name) ?? name);
  const used = new Set(nodes.flatMap(({ inputs }) => inputs));
  const valueOf = ({ name, type, shape, batch }: Known) => ({
    ...{ name, type },
    shape: shape.map((n, d) => batch[d] === 0 ? n : batch[d] === 1 ? options.batch ?? "N" : "?"),
  });
  return {
    name: "model",
    nodes: nodes.map((node) => ({
      ...node,
      ...{ inputs: rename(node.inputs), outputs: rename(node.outputs) },
    })),
    initializers: new Map([...trace.constants].filter(([name]) => used.has(name))),
    inputs: trace.inputs.map(valueOf),
    outputs: named.map(valueOf),
    ...{ defaults: [], captures: [] },
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
