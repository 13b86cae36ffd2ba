// Products of matrices.
import { add, mul } from "../../ops/elementwise/mod.ts";
import { linear as linearOf, matmul, type MatmulOptions } from "../../ops/linalg/mod.ts";
import { reshape } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements } from "../_elements.ts";
import { fusedActivation } from "./activation.ts";
import type { Context, Family } from "./_operator.ts";

const scaled = (x: Tensor, by: number) => by === 1 ? x : mul(x, by);

const product = (c: Context, options: MatmulOptions) =>
  c.wide((a, b) => matmul(a!, b!, options), c.x, c.tensor(1));

// alpha a b + beta c.
function gemm(c: Context): Tensor {
  const [transposeA, transposeB] = [c.int("transA", 0) !== 0, c.int("transB", 0) !== 0];
  const [alpha, beta] = [c.float("alpha", 1), c.float("beta", 1)];
  const bias = c.maybe(2);
  const columns = c.value(1).shape[transposeB ? 0 : 1]!;
  const row = !bias || (bias.size === columns && bias.shape.at(-1) === columns);
  if (!transposeA && alpha === 1 && beta === 1 && row && elements[c.type].float) {
    const transposeWeight = !transposeB;
    return linearOf(c.x, c.tensor(1), bias && reshape(bias, [columns]), { transposeWeight });
  }
  const y = scaled(product(c, { transposeA, transposeB }), alpha);
  return bias ? add(y, scaled(bias, beta)) : y;
}

/** Products of matrices. */
export const linear: Family = {
  Gemm: gemm,
  MatMul: (c) => c.as(c.type, product(c, {})),
  "com.microsoft:FusedGemm": (c) => fusedActivation(c, gemm(c)),
  "com.microsoft:FusedMatMul": (c) => {
    if (c.int("transBatchA", 0) || c.int("transBatchB", 0)) c.fail("transBatch is not supported");
    const transposeA = c.int("transA", 0) !== 0 && c.x.rank > 1;
    const transposeB = c.int("transB", 0) !== 0 && c.tensor(1).rank > 1;
    return scaled(product(c, { transposeA, transposeB }), c.float("alpha", 1));
  },
};
