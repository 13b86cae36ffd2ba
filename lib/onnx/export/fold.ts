// Norms that follow convolutions, as part of them: computed in float64, and rounded once.
import type { StoredTensor } from "../_tensor_proto.ts";
import { stored, type TracedNode } from "./nodes.ts";

/** The nodes without the norms that only read a convolution with weights of its own. */
export function foldNorms(
  nodes: readonly TracedNode[],
  constants: Map<string, StoredTensor>,
  outputs: ReadonlySet<string>,
): TracedNode[] {
  const uses = Map.groupBy(nodes.flatMap(({ inputs }) => inputs), (name) => name);
  const once = (name: string) => uses.get(name)?.length === 1 && !outputs.has(name);
  const numbers = (name: string | undefined) => {
    const found = name === undefined ? undefined : constants.get(name)?.read();
    return found && Array.from(found);
  };
  const folded: TracedNode[] = [];
  const moved = new Map<string, number>(); // where a convolution is, by its result
  for (const node of nodes) {
    const at = node.op === "BatchNormalization" ? moved.get(node.inputs[0]!) : undefined;
    const conv = at === undefined ? undefined : folded[at]!;
    const [, kernel, shift] = conv?.inputs ?? [];
    const [scale, bias, mean, variance] = node.inputs.slice(1).map(numbers);
    const weight = numbers(kernel), before = shift ? numbers(shift) : [];
    const fits = conv && weight && before && scale && bias && mean && variance &&
      once(node.inputs[0]!) && once(kernel!);
    if (!fits) {
      if (node.op === "Conv") moved.set(node.outputs[0]!, folded.length);
      folded.push(node);
      continue;
    }
    const epsilon = node.attributes.get("epsilon")!.value as number;
    const factors = scale.map((s, i) => s / Math.sqrt(variance[i]! + epsilon));
    const each = weight.length / factors.length, { type, shape } = constants.get(kernel!)!;
    const scaled = weight.map((w, i) => w * factors[Math.floor(i / each)]!);
    constants.set(kernel!, stored(type, shape, scaled));
    const name = kernel!.replace(/weight$|$/, "bias");
    const data = factors.map((s, i) => ((before[i] ?? 0) - mean[i]!) * s + bias[i]!);
    constants.set(name, stored(type, [data.length], data));
    folded[at!] = { ...conv, inputs: [conv.inputs[0]!, kernel!, name], outputs: node.outputs };
    moved.set(node.outputs[0]!, at!);
  }
  return folded;
}
