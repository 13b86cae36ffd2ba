import { CudenoError } from "../native/errors.ts";
import { type Graph, type GraphNode, graphsOf, quote } from "./graph.ts";
import { operatorOf } from "./ops/registry.ts";

/** An operator that a model needs and that is not there. */
export interface MissingOperator {
  /** What ONNX calls it. */
  readonly op: string;
  /** `""` for ONNX's own. */
  readonly domain: string;
  /** Of the domain. */
  readonly opset: number;
  /** The names of the nodes that need it. */
  readonly nodes: readonly string[];
}

/** A model needs operators that are not there: all are listed. */
export class MissingOperatorError extends CudenoError {
  /** Which, and where they are needed. */
  readonly missing: readonly MissingOperator[];

  /** For a file. */
  constructor(file: string, missing: readonly MissingOperator[]) {
    const lines = missing.map((each) => `${labelOf(each)} in ${nodesOf(each)}`);
    super("operators", `${file} needs operators that are not there: ${lines.join("; ")}`);
    this.missing = missing;
  }
}

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
