import {
  elu,
  gelu,
  type GeluOptions,
  leakyRelu,
  relu,
  sigmoid,
  silu,
  softplus,
  tanh,
} from "../../mod.ts";
import { fusedActivations } from "../reference.ts";
import { awayFromZero, type Case, elementwise, floats, roundings, spiked } from "./case.ts";
import { parametric, unary } from "./unary.ts";

function leaky(negativeSlope?: number): Case {
  const slope = negativeSlope ?? 0.01;
  const options = negativeSlope === undefined ? undefined : { negativeSlope };
  return parametric(
    "leakyRelu",
    options ? `${slope}` : "",
    (x) => leakyRelu(x, options),
    (x) => x.leakyRelu(options),
    (x) => (x > 0 ? x : x * slope),
    {
      dtypes: floats,
      fill: awayFromZero(0.1, 16),
      tolerance: roundings(2),
      specials: [elementwise("NaN, inf and zeros", [
        [NaN, NaN],
        [Infinity, Infinity],
        [-Infinity, slope < 0 ? Infinity : -Infinity],
        [0, 0],
        [-0, 0],
      ])],
    },
  );
}

function exponential(alpha?: number): Case {
  const scale = alpha ?? 1;
  const options = alpha === undefined ? undefined : { alpha };
  return parametric(
    "elu",
    options ? `${scale}` : "",
    (x) => elu(x, options),
    (x) => x.elu(options),
    (x) => (x > 0 ? x : scale * Math.expm1(x)),
    {
      dtypes: floats,
      fill: spiked(-2, 2, 4),
      tolerance: roundings(8),
      specials: [elementwise("NaN, inf, zeros and saturation", [
        [NaN, NaN],
        [Infinity, Infinity],
        [-Infinity, -scale],
        [1000, 1000],
        [-1000, -scale],
        [0, 0],
        [-0, 0],
      ])],
    },
  );
}

function gelus(approximate?: GeluOptions["approximate"]): Case {
  const options = approximate && { approximate };
  return parametric(
    "gelu",
    approximate ?? "",
    (x) => gelu(x, options),
    (x) => x.gelu(options),
    fusedActivations[approximate === "tanh" ? "geluTanh" : "gelu"].of,
    {
      dtypes: floats,
      fill: spiked(-3, 3, 3),
      tolerance: roundings(8),
      specials: [elementwise("NaN, inf, zeros and large", [
        [NaN, NaN],
        [Infinity, Infinity],
        [-Infinity, -0], // the limit; PyTorch has NaN
        [0, 0],
        [-0, 0],
        [100, 100],
        [-100, 0],
      ])],
    },
  );
}

function soft(beta?: number, threshold?: number): Case {
  const [slope, bound] = [beta ?? 1, threshold ?? 20];
  const options = beta === undefined ? undefined : { beta, threshold };
  return parametric(
    "softplus",
    options ? `${slope}, ${bound}` : "",
    (x) => softplus(x, options),
    (x) => x.softplus(options),
    (x) => (slope * x > bound ? x : Math.log1p(Math.exp(slope * x)) / slope),
    {
      dtypes: floats,
      fill: spiked(-2, 2, 12),
      tolerance: roundings(8),
      specials: [elementwise("NaN, inf and large", [
        [NaN, NaN],
        [Infinity, Infinity],
        [-Infinity, 0],
        [1000, 1000],
        [-1000, 0],
        [0, Math.LN2 / slope],
      ])],
    },
  );
}

export const activationCases: readonly Case[] = [
  unary(
    "relu",
    relu,
    (x) => (x > 0 ? x : 0),
    awayFromZero(0.1, 16),
    undefined,
    elementwise("NaN stays; zeros, inf and denormals", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, 0],
      [0, 0],
      [-0, 0],
      [2 ** -140, 2 ** -140],
      [-(2 ** -140), 0],
    ]),
  ),
  unary(
    "sigmoid",
    sigmoid,
    (x) => 1 / (1 + Math.exp(-x)),
    spiked(-2, 2, 4),
    roundings(4),
    elementwise("NaN, inf and saturation", [
      [NaN, NaN],
      [Infinity, 1],
      [-Infinity, 0],
      [1000, 1],
      [-1000, 0],
      [-0, 0.5],
    ]),
  ),
  unary(
    "tanh",
    tanh,
    Math.tanh,
    spiked(-2, 2, 4),
    roundings(4),
    elementwise("NaN, inf, zeros and saturation", [
      [NaN, NaN],
      [Infinity, 1],
      [-Infinity, -1],
      [1000, 1],
      [-1000, -1],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
  ),
  leaky(),
  leaky(0.25),
  leaky(-0.5),
  exponential(),
  exponential(0.7),
  gelus(),
  gelus("none"),
  gelus("tanh"),
  unary(
    "silu",
    silu,
    (x) => x / (1 + Math.exp(-x)),
    spiked(-3, 3, 3),
    roundings(6),
    elementwise("NaN, inf, zeros and large", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, -0], // the limit; PyTorch has NaN
      [0, 0],
      [-0, -0],
      [100, 100],
      [-1000, -0],
    ]),
  ),
  soft(),
  soft(2, 5),
];
