// Graphs as files have them.
import { elements } from "../_elements.ts";
import { fieldOf, kinds } from "../_attributes.ts";
import type { Draft } from "../_schema.ts";
import { type StoredTensor, tensorProto } from "../_tensor_proto.ts";
import type { Attribute, Graph, GraphValue } from "../graph.ts";

const tensorDraft = (name: string, { type, shape, read }: StoredTensor) =>
  tensorProto(name, type, shape, read());

/** A graph with all that it has. */
export function graphDraft(graph: Graph): Draft<"Graph"> {
  return {
    name: graph.name || "graph",
    node: graph.nodes.map(({ op, domain, name, inputs, outputs, attributes }) => ({
      ...{ opType: op, domain, name, input: inputs, output: outputs },
      attribute: Array.from(attributes, ([name, attribute]) => attributeDraft(name, attribute)),
    })),
    initializer: Array.from(graph.initializers, ([name, stored]) => tensorDraft(name, stored)),
    input: [...graph.inputs, ...graph.defaults].map(valueDraft),
    output: graph.outputs.map(valueDraft),
  };
}

function attributeDraft(name: string, { kind, value }: Attribute): Draft<"Attribute"> {
  const [list, field] = fieldOf(kind), one = list ? kind.slice(0, -1) : kind;
  const write = {
    string: (text: string) => new TextEncoder().encode(text),
    tensor: (stored: StoredTensor) => tensorDraft("", stored),
    graph: graphDraft,
  }[one] ?? ((number: number) => number);
  const made = [value].flat().map(write as (item: unknown) => unknown);
  return { name, type: kinds.indexOf(kind) + 1, [field]: list ? made : made[0] };
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
