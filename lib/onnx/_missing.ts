// Which operators a graph lacks, and how that is said.
import { type Graph, type GraphNode, graphsOf, quote } from "./graph.ts";
import type { MissingOperator } from "./missing.ts";
import { operatorOf } from "./ops/registry.ts";

/** What a missing operator is called. */
export function labelOf({ op, domain, opset }: MissingOperator): string {
  return `${domain}${domain && ":"}${op} (opset ${opset})`;
}

/** Some of the nodes that need it. */
export function nodesOf({ nodes }: MissingOperator): string {
  const more = nodes.length > 3 ? `, … ${nodes.length} in all` : "";
  return nodes.slice(0, 3).map(quote).join(", ") + more;
}

/** The operators that are missing, in graphs of nodes too. */
export function missingOperators(graph: Graph): MissingOperator[] {
  const all = ({ nodes }: Graph): GraphNode[] =>
    nodes.flatMap((node) => [node, ...graphsOf(node.attributes).flatMap(all)]);
  const lacking = all(graph).filter(({ op, domain, opset }) => !operatorOf(domain, op, opset));
  return Array.from(
    Map.groupBy(lacking, ({ domain, op }) => `${domain}:${op}`).values(),
    (list) => {
      const { op, domain, opset } = list[0]!;
      return { op, domain, opset, nodes: list.map(({ name }) => name) };
    },
  );
}
