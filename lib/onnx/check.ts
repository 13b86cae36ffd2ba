import { CudenoError } from "../native/errors.ts";
import { type Source, sourceOf } from "../io/_source.ts";
import { elementType } from "./_elements.ts";
import { contextOf } from "./_functions.ts";
import { domainOf, type Graph, graphOf, quote } from "./graph.ts";
import { readExternal, tensorsOf } from "./_external.ts";
import { labelOf, missingOperators, nodesOf } from "./_missing.ts";
import { opsets } from "./model.ts";
import type { Message } from "./_schema.ts";
import { storedTensor } from "./_tensor_proto.ts";
import { decodeMessage } from "./_wire.ts";

/** Something that {@linkcode check} has found. */
export interface OnnxFinding {
  /** An error keeps the file from being loaded, or others from reading it; a warning does not. */
  readonly level: "error" | "warning";
  /** The file, node or tensor. */
  readonly where: string;
  /** What is wrong. */
  readonly found: string;
  /** What to do about it. */
  readonly advice: string;
}

/**
 * Says what is wrong with an ONNX file, given as {@linkcode load} takes it: damage, names that are
 * made twice or by nobody, circles, operators and opsets that are not known here, data of other
 * files that are missing, types and shapes that disagree. All is looked at, nothing computed. An
 * empty list says that load() will do.
 *
 * ```ts
 * import { onnx } from "@cudeno/cudeno";
 * for (const { level, where, found, advice } of await onnx.check(new Uint8Array([1, 2, 3]))) {
 *   console.log(`${level}: ${where}: ${found}; ${advice}`);
 * }
 * ```
 */
export async function check(source: Source): Promise<OnnxFinding[]> {
  const findings: OnnxFinding[] = [];
  const add: Add = (level, where, found, advice = again) => {
    if (findings.length < 1000) findings.push({ level, where, found, advice });
  };
  const attempt = async <T>(where: string, advice: string, fn: () => T | Promise<T>) => {
    try {
      return await fn();
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
      add("error", where, error.message, advice);
      return undefined;
    }
  };
  const read = await attempt(
    "file",
    "give a path that can be read, or bytes",
    () => sourceOf("onnx.check", source),
  );
  if (!read) return findings;
  const { name, bytes } = read;
  const proto = await attempt("file", again, () => decodeMessage("Model", bytes, name));
  if (!proto) return findings;
  if (!proto.graph) {
    add("error", "file", "there is no graph in it", "give an ONNX model");
    return findings;
  }
  const path = typeof source === "string" || source instanceof URL ? name : undefined;
  for (const tensor of tensorsOf(proto.graph)) {
    await attempt(
      `tensor ${quote(tensor.name ?? "")}`,
      "put the file with the weights beside the model, and load it by its path",
      () => readExternal([tensor], path, name),
    );
  }
  const context = contextOf(proto, name);
  const domains = proto.opsetImport.map(({ domain }) => domainOf(domain));
  for (const domain of domains.filter((domain, i) => domains.indexOf(domain) < i)) {
    add("warning", "file", `opset of ${quote(domain)} twice`, "keep one");
  }
  const own = context.opsets.get("");
  if (own === undefined) add("warning", "file", "no opset of ONNX is imported", "export again");
  else if (!(own >= opsets[0] && own <= opsets[1])) {
    const range = `${opsets[0]} to ${opsets[1]}`;
    add("error", "file", `opset ${own}; understood are ${range}`, `export with opset ${range}`);
  }
  if (!proto.irVersion) add("warning", "file", "no IR version", "others refuse it: export again");
  names(proto.graph, new Set(), add, "");
  // What was not looked for above, in the words of load().
  const broken = findings.some(({ level, where }) => level === "error" && where !== "file");
  const graph = await attempt("graph", again, () => graphOf(proto.graph!, context));
  if (broken && !graph) findings.pop();
  if (graph) {
    for (const each of missingOperators(graph)) {
      const found = `${labelOf(each)} is not there`;
      add("error", `nodes ${nodesOf(each)}`, found, "export without it");
    }
    shapes(graph, proto.graph, add);
  }
  return findings;
}

const again = "export or download the file again";

type Add = (level: OnnxFinding["level"], where: string, found: string, advice?: string) => void;

// Who makes and who takes which names, in graphs of nodes too.
function names(graph: Message<"Graph">, outer: ReadonlySet<string>, add: Add, within: string) {
  const made = new Set<string>();
  const initial = new Set(graph.initializer.map(({ name = "" }) => name));
  const make = (name: string, where: string) => {
    if (name === "") return;
    if (made.has(name)) {
      add("error", where, `makes ${quote(name)}, which is made already`, "rename one");
    }
    made.add(name);
  };
  for (const tensor of graph.initializer) {
    const where = `${within}initializer ${quote(tensor.name ?? "")}`;
    make(tensor.name ?? "", where);
    if (tensor.dataLocation === 1) continue; // found missing before
    try {
      storedTensor(tensor, where);
    } catch (error) {
      add("error", where, (error as Error).message);
    }
  }
  for (const { name = "" } of graph.input) if (!initial.has(name)) make(name, `${within}input`);
  const where = (i: number) => {
    const { name, opType, output } = graph.node[i]!;
    return `${within}node ${quote(name || output[0] || String(i))} (${opType ?? ""})`;
  };
  graph.node.forEach(({ output }, i) => output.forEach((name) => make(name, where(i))));
  const all = new Set([...outer, ...made]);
  const before = new Set([...outer, ...initial, ...graph.input.map(({ name = "" }) => name)]);
  let late = false;
  graph.node.forEach(({ input, output, attribute }, i) => {
    for (const name of input) {
      if (name === "" || before.has(name)) continue;
      late ||= all.has(name);
      if (!all.has(name)) {
        add("error", where(i), `takes ${quote(name)}, which nothing makes`);
      }
    }
    for (const name of output) before.add(name);
    for (const { g, graphs } of attribute) {
      for (const inner of g ? [g, ...graphs] : graphs) names(inner, all, add, `${where(i)}: `);
    }
  });
  if (late) add("warning", `${within}graph`, "nodes are not in order", "others may refuse it");
  for (const { name = "" } of graph.output) {
    if (!all.has(name)) {
      add("error", `${within}output ${quote(name)}`, "is made by nothing");
    }
  }
}

// What the file says of values, against the constants that they are.
function shapes(graph: Graph, proto: Message<"Graph">, add: Add) {
  for (const { name = "", type } of [...proto.input, ...proto.output, ...proto.valueInfo]) {
    const stored = graph.initializers.get(name), said = type?.tensorType;
    if (!stored || !said) continue;
    const kind = elementType(said.elemType);
    if (kind && kind !== stored.type) {
      add("error", quote(name), `is ${stored.type}, said to be ${kind}`);
    }
    const dim = said.shape?.dim;
    const fits = !dim || (dim.length === stored.shape.length &&
      dim.every(({ dimValue }, d) => dimValue === undefined || dimValue === stored.shape[d]));
    if (!fits) {
      const told = dim!.map(({ dimValue, dimParam }) => dimValue ?? dimParam ?? "?").join(", ");
      const found = `has the shape [${stored.shape.join(", ")}], said to be [${told}]`;
      add("warning", quote(name), found);
    }
  }
}
