// The error of each method over the length of the sums, on data that is easy and on data that is
// not.
import { type DeviceInfo, type MatmulOptions, rand, randn, scope, type Tensor } from "../../mod.ts";
import { rounded } from "../timing.ts";
import { Exact, type ProductError } from "./exact.ts";
import { peerOf, works } from "./measure.ts";
import type { Operands } from "./product.ts";

/** The errors of one method, k and kind of data. */
export interface AccuracyRow {
  name: string;
  data: string;
  method: string;
  k: number;
  /** ||c - ab|| / ||ab||, Frobenius, over 16 rows of the result. */
  error: number;
  /** The largest |c - ab| / (|a| |b|) of an element. */
  error_worst: number;
}

const SIZE = 256; // m and n
const EXTENTS = Array.from({ length: 11 }, (_, i) => 64 << i);

// A factor 10^u for each row of a and each column of b, u uniform in [-6, 6].
const scales = (shape: [number, number]) =>
  rand(shape, { low: -6, high: 6 }).mul(Math.log(10)).exp();

const kinds: { name: string; make(k: number): Operands }[] = [
  { name: "normal", make: (k) => ({ a: randn([SIZE, k]), b: randn([k, SIZE]) }) },
  {
    name: "log-normal, sigma 3",
    make: (k) => ({ a: randn([SIZE, k]).mul(3).exp(), b: randn([k, SIZE]).mul(3).exp() }),
  },
  {
    name: "rows and columns of scales 1e-6 to 1e6",
    make: (k) => ({
      a: randn([SIZE, k]).mul(scales([SIZE, 1])),
      b: randn([k, SIZE]).mul(scales([1, SIZE])),
    }),
  },
];

/** Measures the methods of float32, and the peer's. */
export function measureAccuracy(device: DeviceInfo): AccuracyRow[] {
  const rows: AccuracyRow[] = [];
  for (const { name, make } of kinds) {
    for (const k of EXTENTS) {
      for (const [method, { relative, worst }] of scope(() => errors(make(k), device))) {
        rows.push({
          name: `accuracy_${name.split(/\W/)[0]}_${k}_${method}`,
          data: name,
          method,
          k,
          error: rounded(relative),
          error_worst: rounded(worst),
        });
      }
    }
  }
  return rows;
}

function errors({ a, b }: Operands, device: DeviceInfo): [string, ProductError][] {
  const exact = new Exact({ a, b }, {});
  const peer = peerOf(device);
  const methods: [string, MatmulOptions][] = [
    ["ieee", { precision: "ieee" }],
    ["float32", { precision: "float32" }],
    ["tf32", { precision: "tf32" }],
    ["bfloat16", { precision: "bfloat16" }],
    [peer, { variant: peer }],
  ];
  const product = (options: MatmulOptions): Tensor => a.matmul(b, options);
  const found = methods
    .filter(([method, options]) =>
      method !== peer || works(() => product(options).dispose(), peer, device)
    )
    .map(([method, options]): [string, ProductError] => [method, exact.errorOf(product(options))]);
  exact.dispose();
  return found;
}

/**
 * The rows as tables for reading, one for each kind of data: relative errors, and the worst
 * element's in brackets.
 */
export function accuracyTables(rows: AccuracyRow[]): string {
  const methods = [...new Set(rows.map((r) => r.method))];
  const tables = kinds.map(({ name }) => {
    const lines = EXTENTS.map((k) => {
      const cells = methods.map((method) => {
        const r = rows.find((r) => r.data === name && r.k === k && r.method === method)!;
        return `${r.error.toExponential(1)} (${r.error_worst.toExponential(1)})`;
      });
      return `| ${k} | ${cells.join(" | ")} |`;
    });
    const head = `| k | ${methods.join(" | ")} |\n| ---: |${" ---: |".repeat(methods.length)}`;
    return `${name[0]!.toUpperCase()}${name.slice(1)}:\n\n${head}\n${lines.join("\n")}\n`;
  });
  return tables.join("\n");
}
