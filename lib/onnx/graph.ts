import { formatValue } from "../core/describe.ts";
import { DataError } from "../native/errors.ts";
import { type ElementType, elementType } from "./_elements.ts";
import type { Message } from "./_schema.ts";
import { type StoredTensor, storedTensor } from "./_tensor_proto.ts";
import { attributeOf } from "./_attributes.ts";
import { inlined } from "./_functions.ts";

/** An attribute of a node. */
export type Attribute =
  | { kind: "int" | "float"; value: number }
  | { kind: "string"; value: string }
  | { kind: "ints" | "floats"; value: readonly number[] }
  | { kind: "strings"; value: readonly string[] }
  | { kind: "tensor"; value: StoredTensor }
  | { kind: "tensors"; value: readonly StoredTensor[] }
  | { kind: "graph"; value: Graph }
  | { kind: "graphs"; value: readonly Graph[] };

/** A node of a graph: an operator with its attributes, and the names of what goes in and out. */
export interface GraphNode {
  /** The operator, as ONNX calls it. */
  readonly op: string;
  /** `""` for ONNX's own operators. */
  readonly domain: string;
  /** The opset of the domain, as the model imports it. */
  readonly opset: number;
  /** The node's name, or what it makes where it has none. */
  readonly name: string;
  /** Names of values; `""` for an optional one that is left out. */
  readonly inputs: readonly string[];
  /** Names of values; `""` for one that is not wanted. */
  readonly outputs: readonly string[];
  /** Attributes by name. */
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Names of the graph around that the node's own graphs use. */
  readonly captures: readonly string[];
}

/** An input or output of a graph. */
export interface GraphValue {
  /** What the file calls it. */
  readonly name: string;
  /** Undefined where the file does not say, as in bodies of loops. */
  readonly type: ElementType | undefined;
  /**
   * Each size, or the name of one that is known when the graph runs, `"?"` if it has no name.
   * Undefined where even the rank is not known.
   */
  readonly shape: readonly (number | string)[] | undefined;
}

/** A graph: nodes in an order in which each comes after those whose results it takes. */
export interface Graph {
  /** What the file calls it. */
  readonly name: string;
  /** In an order in which they can be computed. */
  readonly nodes: readonly GraphNode[];
  /** Constants by name. */
  readonly initializers: ReadonlyMap<string, StoredTensor>;
  /** What is to be given: without the initializers that a file lists here too. */
  readonly inputs: readonly GraphValue[];
  /** What it gives. */
  readonly outputs: readonly GraphValue[];
  /** Initializers that are inputs as well, and so may be given. */
  readonly defaults: readonly GraphValue[];
  /** Names of graphs around that it uses. */
  readonly captures: readonly string[];
}

/** A domain: `""` is ONNX's own, by either name. */
export function domainOf(name = ""): string {
  return name === "ai.onnx" ? "" : name;
}

/** What {@linkcode graphOf} needs to know of the model around a graph. */
export interface GraphContext {
  /** The file, for messages. */
  readonly file: string;
  readonly opsets: ReadonlyMap<string, number>;
  /** The model's functions by functionKey. */
  readonly functions?: ReadonlyMap<string, Message<"Function">>;
  /** How many calls of them were replaced. */
  readonly calls?: { count: number };
}

/**
 * A graph of a file.
 *
 * @throws {DataError} when names are made twice or by nobody, nodes need one another's results in a
 * circle, or a tensor or type is wrong.
 */
export function graphOf(
  proto: Message<"Graph">,
  context: GraphContext,
  outer: ReadonlySet<string> = new Set(),
): Graph {
  const { file } = context;
  const fault = (message: string) => new DataError(`${file}: ${message}`);
  if (proto.sparseInitializer.length > 0) throw fault("sparse initializers are not supported");

  const made = new Set<string>();
  const define = (name: string, by: string) => {
    if (made.has(name)) throw fault(`${by} makes ${quote(name)}, which is there already`);
    made.add(name);
  };
  const initializers = new Map<string, StoredTensor>();
  for (const item of proto.initializer) {
    const name = item.name ?? "";
    if (name === "") throw fault("an initializer has no name");
    define(name, "an initializer");
    initializers.set(name, storedTensor(item, `${file}: the initializer ${quote(name)}`));
  }
  const listed = proto.input.map((item) => valueOf(item, outer.size > 0, fault));
  const inputs = listed.filter(({ name }) => !initializers.has(name));
  for (const { name } of inputs) define(name, "an input");
  if (new Set(listed.map(({ name }) => name)).size < listed.length) {
    throw fault("two inputs have one name");
  }
  // Within the graph any node's results may be meant: those of later nodes are a matter of order.
  const plain = [...inlined(proto.node, context, [])];
  const all = new Set([...made, ...outer, ...plain.flatMap(([{ output }]) => output)]);
  const nodes = plain.map(([node, context], i) => nodeOf(node, i, context, all, fault));
  for (const { name, outputs } of nodes) {
    for (const output of outputs) if (output !== "") define(output, `node ${quote(name)}`);
  }
  for (const { name, inputs, captures } of nodes) {
    for (const input of [...inputs, ...captures]) {
      if (input !== "" && !all.has(input)) {
        throw fault(`node ${quote(name)} takes ${quote(input)}, which nothing makes`);
      }
    }
  }
  const outputs = proto.output.map((item) => valueOf(item, outer.size > 0, fault));
  for (const { name } of outputs) {
    if (!made.has(name) && !outer.has(name)) {
      throw fault(`the output ${quote(name)} is made by nothing`);
    }
  }
  const used = [
    ...nodes.flatMap(({ inputs, captures }) => [...inputs, ...captures]),
    ...outputs.map(({ name }) => name),
  ];
  return {
    name: proto.name ?? "",
    nodes: sorted(nodes, fault),
    initializers,
    inputs,
    outputs,
    defaults: listed.filter(({ name }) => initializers.has(name)),
    captures: [...new Set(used)].filter((name) => name !== "" && !made.has(name)),
  };
}

function nodeOf(
  proto: Message<"Node">,
  index: number,
  context: GraphContext,
  names: ReadonlySet<string>,
  fault: (message: string) => DataError,
): GraphNode {
  const op = proto.opType ?? "";
  const domain = domainOf(proto.domain);
  const name = proto.name || proto.output.find((name) => name !== "") || `${op} ${index}`;
  const where = `node ${quote(name)} (${op})`;
  const opset = context.opsets.get(domain);
  if (opset === undefined) throw fault(`${where}: no opset of ${quote(domain)} is imported`);
  const attributes = new Map<string, Attribute>();
  const within = { ...context, file: `${context.file}: ${where}` };
  for (const item of proto.attribute) {
    const key = item.name ?? "";
    if (attributes.has(key)) throw fault(`${where}: the attribute ${quote(key)} is there twice`);
    attributes.set(key, attributeOf(item, within, names));
  }
  const captures = [...new Set(graphsOf(attributes).flatMap(({ captures }) => captures))];
  const { input: inputs, output: outputs } = proto;
  return { op, domain, opset, name, inputs, outputs, attributes, captures };
}

/** The graphs that are attributes of a node. */
export function graphsOf(attributes: GraphNode["attributes"]): Graph[] {
  return [...attributes.values()].flatMap(({ kind, value }) =>
    kind === "graph" ? [value] : kind === "graphs" ? value : []
  );
}

function valueOf(
  proto: Message<"ValueInfo">,
  within: boolean,
  fault: (message: string) => DataError,
): GraphValue {
  const name = proto.name ?? "";
  const { type } = proto;
  if (name === "") throw fault("an input or output has no name");
  const kind = (["sequence", "map", "sparseTensor", "optional"] as const)
    .find((kind) => type?.[`${kind}Type`]);
  if (kind && !within) {
    throw fault(`${quote(name)} is of a ${kind} type; only tensors are supported`);
  }
  if (!type?.tensorType) return { name, type: undefined, shape: undefined };
  const { elemType, shape } = type.tensorType;
  const known = elementType(elemType);
  if (elemType && !known) throw fault(`${quote(name)}: the element type ${elemType} is not known`);
  return {
    name,
    type: known,
    shape: shape?.dim.map(({ dimValue, dimParam }) => {
      if (dimValue === undefined || dimValue < 0) return dimParam || "?"; // -1 of some exporters
      if (!Number.isSafeInteger(dimValue)) throw fault(`${quote(name)} has the size ${dimValue}`);
      return dimValue;
    }),
  };
}

// Each node after those that it depends on: in the file's order where that is so already.
function sorted(nodes: readonly GraphNode[], fault: (message: string) => DataError) {
  const maker = new Map(nodes.flatMap((node, i) => node.outputs.map((name) => [name, i] as const)));
  maker.delete("");
  const needs = nodes.map((
    { inputs, captures },
  ) => [...new Set([...inputs, ...captures].flatMap((name) => maker.get(name) ?? []))]);
  if (needs.every((list, i) => list.every((need) => need < i))) return nodes;
  const users = nodes.map((): number[] => []);
  needs.forEach((list, i) => list.forEach((need) => users[need]!.push(i)));
  const left = needs.map(({ length }) => length);
  const order = left.flatMap((n, i) => n === 0 ? [i] : []);
  for (const i of order) {
    for (const user of users[i]!) if (--left[user]! === 0) order.push(user);
  }
  if (order.length === nodes.length) return order.map((i) => nodes[i]!);
  const stuck = nodes.filter((_, i) => left[i]! > 0).slice(0, 4);
  throw fault(
    `nodes need one another's results: ${stuck.map(({ name }) => quote(name)).join(", ")}`,
  );
}

/** A name for a message. */
export function quote(name: string): string {
  return formatValue(name);
}
