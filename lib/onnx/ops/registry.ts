// All operators. A family is a file of this folder that exports a record: ONNX's name -> what
// computes it, or, where the meaning changed, opset -> what computes it since then.
//
//     export const activations: Family = {
//       Relu: (c) => relu(c.x),
//       LeakyRelu: (c) => leakyRelu(c.x, { negativeSlope: c.float("alpha", 0.01) }),
//       // the axis was 1 up to opset 12
//       Softmax: { 1: flattened(softmax), 13: (c) => softmax(c.x, c.int("axis", -1)) },
//       // axes: an attribute up to opset 17, then input 1
//       ReduceMax: (c) => max(c.x, c.numbersOr("axes", 1), { keepdim: c.int("keepdims", 1) > 0 }),
//       // a result of another ONNX type than the first input's
//       ArgMax: (c) => c.as("int64", argmax(c.x, c.int("axis", 0))),
//       If: (c) => c.run(c.graph(c.number(0) ? "then_branch" : "else_branch")),
//     };
//
// To add one: write lib/onnx/ops/<family>.ts and name it in `families` below. An operator gets a
// Context (_operator.ts): inputs as tensors (c.x, c.tensor(1), c.maybe(2) where it is optional) or
// on the host, as shapes and sizes are wanted (c.numbers(1), c.number(2)), attributes with their
// defaults, which outputs are wanted. It returns a tensor, which is of the first input's ONNX type
// if it has its dtype, a Value for any other (c.as(type, tensor), c.host(type, shape, data)), or an
// array of them. What else it makes is freed after it. Errors need not name the node.
//
// Values of few elements that come from shapes lie on the host (value.small), and operators that
// occur in shape arithmetic keep them there: see elementwise.ts and shape.ts. int64 and other
// integers are int32 on the device, bool is uint8 of 0 and 1.
import type { Family, Operator } from "./_operator.ts";
import { activation } from "./activation.ts";
import { attentions } from "./attention.ts";
import { constants } from "./constant.ts";
import { control } from "./control.ts";
import { conv } from "./conv.ts";
import { elementwise } from "./elementwise.ts";
import { image } from "./image.ts";
import { index } from "./index.ts";
import { linear } from "./linear.ts";
import { norm } from "./norm.ts";
import { pad } from "./pad.ts";
import { pool } from "./pool.ts";
import { quantization } from "./quantize.ts";
import { recurrents } from "./recurrent.ts";
import { reduce } from "./reduce.ts";
import { shape } from "./shape.ts";
import { special } from "./special.ts";
import { vision } from "./vision.ts";

const families: readonly Family[] = [
  ...[activation, attentions, constants, control, conv, elementwise, image, index, linear, norm],
  ...[pad, pool, quantization, recurrents, reduce, shape, special, vision],
];

const operators = new Map(families.flatMap((family) => Object.entries(family)));

/** Operators whose results differ from run to run, or that have an effect: they are not folded. */
export const changing: ReadonlySet<string> = new Set([
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
  ...["Multinomial", "Bernoulli"],
]);

/** The operator of a domain as of an opset, if there is one. */
export function operatorOf(domain: string, op: string, opset: number): Operator | undefined {
  const found = operators.get(domain === "" ? op : `${domain}:${op}`);
  if (typeof found !== "object") return found;
  const since = Object.keys(found).map(Number).filter((since) => since <= opset);
  return since.length > 0 ? found[Math.max(...since)] : undefined;
}

/** The names of all operators, for what lists them. */
export function operatorNames(): string[] {
  return [...operators.keys()].sort();
}
