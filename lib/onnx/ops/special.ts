// Operators on few models' ways: einsum, losses, random numbers, windows, bits, inverse functions.
import { sizeOf } from "../../core/shape.ts";
import { randomPlace, withRandomFrom } from "../../core/random.ts";
import { bernoulli, rand, randn } from "../../create.ts";
import {
  abs,
  add,
  div,
  exp,
  gt,
  lt,
  mul,
  pow,
  sign,
  sqrt,
  sub,
  where,
} from "../../ops/elementwise/mod.ts";
import { einsum } from "../../ops/linalg/mod.ts";
import { nllLoss } from "../../ops/loss/mod.ts";
import { multinomial } from "../../ops/random/mod.ts";
import { logSoftmax } from "../../ops/reduce/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements, type ElementType, elementType } from "../_elements.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { onHost } from "./elementwise.ts";

const wide = (x: Tensor, fn: (x: Tensor) => Tensor) =>
  fn(x.dtype === "float64" ? x : x.to({ dtype: "float32" })).to({ dtype: x.dtype });

// Twice atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))), then its series, which is short for |x| < 0.2.
function atan(x: Tensor): Tensor {
  const size = abs(x);
  const large = gt(size, 1);
  let t = where(large, pow(size, -1), size);
  const halvings = x.dtype === "float64" ? 4 : 2;
  for (let i = 0; i < halvings; i++) t = div(t, add(sqrt(add(mul(t, t), 1)), 1));
  const square = mul(t, t);
  let sum = mul(square, 1 / 13);
  for (let n = 11; n > 1; n -= 2) sum = mul(square, sub(sum, 1 / n).neg());
  const angle = mul(mul(t, sub(sum, 1).neg()), 2 ** halvings);
  return mul(where(large, sub(angle, Math.PI / 2).neg(), angle), sign(x));
}
const across = (x: Tensor) => sqrt(mul(add(x, 1), sub(x, 1).neg())); // sqrt(1 - x^2)

// By numbers on the host: integers are beyond what the device has for bits.
const bits = (fn: (a: bigint, b: bigint) => bigint): Operator => (c) => {
  const operands = c.inputs.map((_, i) => c.value(i));
  return onHost(c, c.type, (a, b = 0) => Number(fn(BigInt(a), BigInt(b))), ...operands);
};

const shifted: Operator = (c) => {
  const left = c.string("direction") === "LEFT";
  const by = (b: bigint) => b < 0n || b > 64n ? 64n : b; // all bits are gone
  return bits((a, b) => left ? a << by(b) : a >> by(b))(c);
};

// By elimination, with the largest element of a column as its pivot.
const determinant: Operator = (c) => {
  const { shape } = c.value(0);
  const n = shape.at(-1)!;
  const [data, count] = [c.value(0).numbers(), sizeOf(shape.slice(0, -2))];
  const made = Float64Array.from({ length: count }, (_, m) => {
    const rows = Array.from(
      { length: n },
      (_, i) => Array.from(data.subarray((m * n + i) * n, (m * n + i + 1) * n)),
    );
    let product = 1;
    for (let k = 0; k < n; k++) {
      let best = k;
      for (let i = k + 1; i < n; i++) {
        if (Math.abs(rows[i]![k]!) > Math.abs(rows[best]![k]!)) best = i;
      }
      if (best !== k) [rows[k], rows[best], product] = [rows[best]!, rows[k]!, -product];
      const pivot = rows[k]![k]!;
      product *= pivot;
      if (pivot === 0) break;
      for (const row of rows.slice(k + 1)) {
        const factor = row[k]! / pivot;
        for (let j = k; j < n; j++) row[j]! -= factor * rows[k]![j]!;
      }
    }
    return product;
  });
  return c.host(c.type, shape.slice(0, -2), made);
};

// a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n)
const windowed = (a0: number, a1: number, a2 = 0): Operator => (c) => {
  const size = c.number(0);
  const n = c.int("periodic", 1) ? size : size - 1;
  const at = (i: number) => 2 * Math.PI * i / Math.max(n, 1);
  const type = typeOf(c, "output_datatype", "float32");
  const data = Float64Array.from(
    { length: size },
    (_, i) => elements[type].fit(a0 - a1 * Math.cos(at(i)) + a2 * Math.cos(2 * at(i))),
  );
  return c.host(type, [size], data);
};

function typeOf(c: Context, name: string, or: ElementType): ElementType {
  return c.node.attributes.has(name)
    ? elementType(c.int(name)) ?? c.fail(`the element type ${c.int(name)} is not known`)
    : or;
}

// A seed of the node's own gives the same numbers in each run, and leaves the process's alone.
const random = (
  draw: (c: Context, options: { dtype: "float32" | "float64"; device?: undefined }) => Tensor,
  or: (c: Context) => ElementType = () => "float32",
): Operator =>
(c) => {
  const type = typeOf(c, "dtype", or(c));
  const dtype = c.place.dtype(type);
  const options = { dtype: elements[type].float ? dtype : "float32", device: c.place.device };
  const made = () => draw(c, options as { dtype: "float32" }).to({ dtype });
  if (!c.node.attributes.has("seed")) return c.as(type, made());
  const bytes = new Uint32Array(new Float32Array([c.float("seed")]).buffer);
  const place = { ...randomPlace(), seed: BigInt(bytes[0]!), drawn: 0n, held: null };
  return c.as(type, withRandomFrom(place, made));
};
const same = (c: Context) => c.type;
const shapeOf = (c: Context) => c.has(0) ? c.value(0).shape : c.ints("shape");
const normal = (c: Context, options: { dtype: "float32" | "float64" }) =>
  randn(shapeOf(c), { ...options, mean: c.float("mean", 0), std: c.float("scale", 1) });
const uniform = (c: Context, options: { dtype: "float32" | "float64" }) =>
  rand(shapeOf(c), { ...options, low: c.float("low", 0), high: c.float("high", 1) });

function loss(c: Context, x: Tensor): Tensor {
  return nllLoss(x, c.tensor(1), {
    weight: c.maybe(2),
    ignoreIndex: c.int("ignore_index", -100),
    reduction: c.string("reduction", "mean") as "mean",
  });
}

/** The rest. */
export const special: Family = {
  Atan: (c) => wide(c.x, atan),
  Asin: (c) => wide(c.x, (x) => mul(atan(div(x, add(across(x), 1))), 2)),
  Acos: (c) =>
    wide(c.x, (x) => {
      const angle = mul(atan(div(across(x), add(abs(x), 1))), 2); // of |x|
      return where(lt(x, 0), sub(angle, Math.PI).neg(), angle);
    }),
  Einsum: (c) => {
    const operands = c.inputs.map((_, i) => c.tensor(i));
    return c.wide((...x) => einsum(c.string("equation"), ...x), ...operands);
  },
  Det: determinant,
  BitShift: shifted,
  BitwiseAnd: bits((a, b) => a & b),
  BitwiseOr: bits((a, b) => a | b),
  BitwiseXor: bits((a, b) => a ^ b),
  BitwiseNot: bits((a) => ~a),
  HannWindow: windowed(0.5, 0.5),
  HammingWindow: windowed(25 / 46, 21 / 46),
  BlackmanWindow: windowed(0.42, 0.5, 0.08),
  RandomNormal: random(normal),
  RandomNormalLike: random(normal, same),
  RandomUniform: random(uniform),
  RandomUniformLike: random(uniform, same),
  Bernoulli: random((c) => bernoulli(c.x), same),
  // of logarithms of weights
  Multinomial: random(
    (c) => multinomial(exp(c.x), c.int("sample_size", 1), { replacement: true }),
    () => "int32",
  ),
  NegativeLogLikelihoodLoss: (c) => loss(c, c.x),
  SoftmaxCrossEntropyLoss: (c) => {
    const logs = logSoftmax(c.x, 1);
    return [loss(c, logs), c.wants(1) ? logs : undefined];
  },
};
