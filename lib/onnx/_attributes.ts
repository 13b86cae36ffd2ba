// Attributes of nodes, as files have them.
import { DataError } from "../native/errors.ts";
import type { Message } from "./_schema.ts";
import { storedTensor } from "./_tensor_proto.ts";
import { type Attribute, type GraphContext, graphOf, quote } from "./graph.ts";

type Kind = Attribute["kind"];

/** The kinds in the order of AttributeProto's numbers, from 1 on. */
export const kinds: readonly Kind[] = [
  ...["float", "int", "string", "tensor", "graph"] as const,
  ...["floats", "ints", "strings", "tensors", "graphs"] as const,
];

/** Whether a kind is a list, and the field that has its value. */
export function fieldOf(kind: Kind): [boolean, keyof Message<"Attribute">] {
  const list = kind.endsWith("s");
  return [list, (list ? kind : kind[0]) as "ints"];
}

/** An attribute of a file; old ones leave the type out. */
export function attributeOf(
  proto: Message<"Attribute">,
  context: GraphContext,
  names: ReadonlySet<string>,
): Attribute {
  const title = `${context.file}: the attribute ${quote(proto.name ?? "")}`;
  const fault = (message: string) => new DataError(`${title} ${message}`);
  if (proto.refAttrName) throw fault("refers to a function's, and there is none around it");
  const itemsOf = (kind: Kind) => [proto[fieldOf(kind)[1]] ?? []].flat() as never[];
  const kind = proto.type ? kinds[proto.type - 1] : kinds.find((kind) => itemsOf(kind).length > 0);
  if (!kind) throw fault(`is of the type ${proto.type ?? 0}, which is not supported`);
  const [list] = fieldOf(kind), one = list ? kind.slice(0, -1) : kind;
  const none = { float: 0, int: 0, string: "" }[one];
  const read = {
    string: (bytes: Uint8Array) => new TextDecoder().decode(bytes),
    tensor: (tensor: Message<"Tensor">) => storedTensor(tensor, title),
    graph: (graph: Message<"Graph">) => graphOf(graph, context, names),
  }[one] ?? ((value: number) => value);
  const found = itemsOf(kind).map(read as (item: never) => unknown);
  const value = list ? found : found[0] ?? none;
  if (value === undefined) throw fault("has no value");
  return { kind, value } as Attribute;
}
