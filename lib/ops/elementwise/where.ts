import { record } from "../../core/autograd.ts";
import { checkValue } from "../../core/dtype.ts";
import { broadcastShapes } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
} from "../_operands.ts";
import { sumTo } from "../reduce/_reduce.ts";
import { broadcastLayout, formatOf } from "./_binary.ts";

/**
 * a where the condition holds, else b, element by element, with broadcasting of all three. The
 * condition is uint8, as comparisons give it: anything but 0 holds. a and b have one dtype, any;
 * one of them may be a number. The gradient goes to the one that was taken; the other gets 0,
 * whatever stands there, NaN too. As torch.where.
 *
 * ```ts
 * import { tensor, where } from "@cudeno/cudeno";
 * const x = tensor([-1, 2, -3]);
 * console.log(where(x.gt(0), x, 0).dataSync()); // 0, 2, 0
 * ```
 */
export function where(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  checkDType("where: condition", condition, ["uint8"]);
  [a, b] = autocasted("widest", a, b);
  const operands = [a, b].filter((x) => typeof x !== "number") as Tensor[];
  for (const x of operands) checkTensor("where", x);
  const [like] = operands;
  if (!like) {
    throw new ArgumentError("where: a and b are numbers; one must be a tensor, to say the dtype");
  }
  checkSameDevice("where", condition, ...operands);
  checkSameDType("where", like, ...operands);
  for (const x of [a, b]) if (typeof x === "number") checkValue("where", x, like.dtype);
  let { shape } = condition;
  for (const x of operands) shape = broadcastShapes("where", shape, x.shape);
  const format = formatOf(shape, condition, a, b);
  const given = (x: Tensor | number) => (typeof x === "number" ? null : x.stored(x.format));
  const number = (x: Tensor | number) => (typeof x === "number" ? x : 0);
  const y = like.make(shape, like.dtype, format);
  call(
    "cdn_where",
    given(y),
    given(condition),
    given(a),
    given(b),
    broadcastLayout(shape, format, condition, a, b),
    shape.length,
    number(a),
    number(b),
    y.code,
  );
  return record(y, "where", operands, (grad) =>
    [a, b].flatMap((x, i) => {
      if (typeof x === "number") return [];
      if (!x.requiresGrad) return [null];
      return [sumTo(i === 0 ? where(condition, grad, 0) : where(condition, 0, grad), x.shape)];
    }));
}
