// Functions of a model, which are written out where they are called.
import { DataError } from "../native/errors.ts";
import type { Message } from "./_schema.ts";
import { domainOf, type GraphContext, quote } from "./graph.ts";

/** What graphs of a model need to know of it. */
export function contextOf(proto: Message<"Model">, file: string): GraphContext {
  const opsets = proto.opsetImport.map(({ domain, version = 0 }) =>
    [domainOf(domain), version] as const
  );
  const functions = proto.functions.map((item) =>
    [functionKey(item.domain, item.name, item.overload), item] as const
  );
  return { file, opsets: new Map(opsets), functions: new Map(functions), calls: { count: 0 } };
}

// What names a function.
function functionKey(domain = "", name = "", overload = ""): string {
  return `${domain}:${name}:${overload}`;
}

// Functions that call each other can stand for more nodes than there is memory for.
const mostCalls = 100_000;

/** The nodes and of which opsets they are; those of functions in place of the nodes that call. */
export function* inlined(
  nodes: readonly Message<"Node">[],
  context: GraphContext,
  within: readonly string[],
): Generator<[Message<"Node">, GraphContext]> {
  for (const node of nodes) {
    const key = functionKey(node.domain, node.opType, node.overload);
    const body = context.functions?.get(key);
    if (!body) {
      yield [node, context];
      continue;
    }
    if (within.includes(key)) {
      throw new DataError(`${context.file}: the function ${quote(key)} calls itself`);
    }
    if (context.calls && ++context.calls.count > mostCalls) {
      throw new DataError(`${context.file}: functions are called more than ${mostCalls} times`);
    }
    const caller = node.output.find((name) => name !== "") ?? "";
    const names = new Map([["", ""]]);
    body.input.forEach((name, i) => names.set(name, node.input[i] ?? ""));
    body.output.forEach((name, i) => node.output[i] && names.set(name, node.output[i]!));
    // a call within may give the same result by the same name
    const by = within.length > 0 ? `${key} of ${caller}` : caller;
    const rename = (name = "") => names.get(name) ?? `${name} of ${by}`;
    const given = new Map([...body.attributeProto, ...node.attribute].map((a) => [a.name, a]));
    const opsets = new Map(
      body.opsetImport.map(({ domain = "", version = 0 }) => [domain, version]),
    );
    const inner = body.node.map((node) => renamed(node, rename, given));
    yield* inlined(inner, { ...context, opsets }, [...within, key]);
  }
}

// A function's node, with the caller's names of values and attributes.
function renamed(
  node: Message<"Node">,
  rename: (name?: string) => string,
  given: ReadonlyMap<string | undefined, Message<"Attribute">>,
): Message<"Node"> {
  const named = <T extends { name: string | undefined }>(list: readonly T[]) =>
    list.map((item) => ({ ...item, name: rename(item.name) }));
  const graph = (g: Message<"Graph">) => ({
    ...g,
    node: g.node.map((inner) => renamed(inner, rename, given)),
    initializer: named(g.initializer),
    input: named(g.input),
    output: named(g.output),
  });
  const attribute = node.attribute.flatMap((a) => {
    if (!a.refAttrName) return [{ ...a, g: a.g && graph(a.g), graphs: a.graphs.map(graph) }];
    const found = given.get(a.refAttrName);
    return found ? [{ ...found, name: a.name }] : [];
  });
  const [input, output] = [node.input.map(rename), node.output.map(rename)];
  return { ...node, name: rename(node.name), input, output, attribute };
}
