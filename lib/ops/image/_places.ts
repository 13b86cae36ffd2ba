import { noGrad } from "../../core/autograd.ts";
import type { DType } from "../../core/dtype.ts";
import type { Tensor } from "../../tensor.ts";
import { sub } from "../elementwise/binary.ts";
import { cumsum } from "../reduce/cumsum.ts";

/** 0, 1, … count - 1 on the device of another tensor. */
export function places(like: Tensor, count: number, dtype: DType = like.dtype): Tensor {
  return noGrad(() => sub(cumsum(like.make([count], dtype).fill(1), 0), 1));
}
