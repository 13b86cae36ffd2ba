// The table of operations: for each one how to call it, its float64 reference, the shapes and
// values to try, what it may be off by. tests/ops/ops_test.ts (values), grad_test.ts (gradients),
// parity_test.ts (devices) and the benchmarks loop over it, so an operation that is listed here has
// all of them.
import type { DeviceName, DType, Shape, Tensor } from "../mod.ts";
import { tensor } from "../mod.ts";
import { attentionCases } from "./cases/attention.ts";
import { activationCases } from "./cases/activations.ts";
import { binaryCases } from "./cases/binary.ts";
import { convCases } from "./cases/conv.ts";
import { type Case, floats, rounding, spiked } from "./cases/case.ts";
import { lossCases } from "./cases/loss.ts";
import { einsumCases } from "./cases/einsum.ts";
import { imageCases } from "./cases/image.ts";
import { matmulCases } from "./cases/matmul.ts";
import { dropoutCases, normCases } from "./cases/norm.ts";
import { movementCases } from "./cases/movement.ts";
import { poolCases } from "./cases/pool.ts";
import { recurrentCases } from "./cases/recurrent.ts";
import { reduceCases } from "./cases/reduce.ts";
import { rowCases } from "./cases/rows.ts";
import { indexCases } from "./cases/index.ts";
import { scanCases } from "./cases/scan.ts";
import { statisticsCases } from "./cases/statistics.ts";
import { joinCases, shapeCases } from "./cases/shape.ts";
import { unaryCases } from "./cases/unary.ts";
import { whereCases } from "./cases/where.ts";
import { build, type Grid, mapped } from "./reference.ts";

export { bytesOf, type Case, type Special, toleranceOf, type Variant } from "./cases/case.ts";

export const cases: readonly Case[] = [
  ...unaryCases,
  ...activationCases,
  ...binaryCases,
  ...whereCases,
  ...movementCases,
  ...shapeCases,
  ...joinCases,
  ...reduceCases,
  ...rowCases,
  ...matmulCases,
  ...einsumCases,
  ...convCases,
  ...attentionCases,
  ...recurrentCases,
  ...normCases,
  ...imageCases,
  ...dropoutCases,
  ...poolCases,
  ...statisticsCases,
  ...scanCases,
  ...indexCases,
  ...lossCases,
];

/** The numbers that a dtype has instead of these: rounded, or wrapped around. */
export function rounded(x: Grid, dtype: DType): Grid {
  if (dtype === "float64") return x;
  if (floats.includes(dtype)) return mapped(x, (value) => rounding(value, dtype));
  if (dtype === "int32") return mapped(x, (value) => value | 0);
  return mapped(x, (value) => value & 255);
}

/**
 * Repeatable random numbers in [0, 1) with all 53 bits (mulberry32, twice), other ones for each
 * text.
 */
export function randomFor(text: string): () => number {
  let state = 0;
  for (const character of text) {
    state = Math.imul(state ^ character.codePointAt(0)!, 0x01000193) + 0x811c9dc5 | 0;
  }
  const word = () => {
    state = state + 0x6d2b79f5 | 0;
    let z = Math.imul(state ^ state >>> 15, 1 | state);
    z = z + Math.imul(z ^ z >>> 7, 61 | z) ^ z;
    return (z ^ z >>> 14) >>> 0;
  };
  return () => ((word() >>> 5) * 2 ** 26 + (word() >>> 6)) / 2 ** 53;
}

/** The dtype of input i of a case that is tried with `dtype`. */
export function inputDType(c: Case, i: number, dtype: DType): DType {
  return c.fixed?.[i] ?? dtype;
}

/** Values for the inputs of a case: the same ones each time. */
export function inputsOf(c: Case, shapes: readonly Shape[], dtype: DType): Grid[] {
  const random = randomFor(`${c.name} ${JSON.stringify(shapes)}`);
  return shapes.map((shape, i) => {
    const fill = c.fill?.[i] ?? c.fill?.at(-1) ?? spiked(-2, 2);
    const own = inputDType(c, i, dtype);
    const whole = own === "int32" || own === "uint8" ? Math.round : (x: number) => x;
    return rounded(build(shape, (_, at) => whole(fill(random, at, shapes))), own);
  });
}

/** A grid on a device. */
export function upload(
  x: Grid,
  dtype: DType,
  device: DeviceName,
  requiresGrad = false,
): Tensor {
  const { values, shape } = rounded(x, dtype);
  return tensor(Float64Array.from(values), { shape, dtype, device, requiresGrad });
}

/** The inputs of a case on a device; with `requiresGrad`, those that follow the dtype get it. */
export function uploadAll(
  c: Case,
  grids: readonly Grid[],
  dtype: DType,
  device: DeviceName,
  requiresGrad = false,
): Tensor[] {
  return grids.map((x, i) =>
    upload(x, inputDType(c, i, dtype), device, requiresGrad && c.fixed?.[i] === undefined)
  );
}
