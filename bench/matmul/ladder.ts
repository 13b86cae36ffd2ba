// All variants of the product of two n x n matrices beside one another, from plain loops to tensor
// cores.
import { type DeviceInfo, type MatmulOptions, matmulVariants, scope } from "../../mod.ts";
import { deviceUsEach, type DeviceUsOptions, rounded, type Row, type Work } from "../timing.ts";
import { typescriptMatmul } from "../typescript_matmul.ts";
import { Exact } from "./exact.ts";
import { peerOf, works } from "./measure.ts";
import { floorOf, type Operands, operandsOf, optionsOf, type Product, rateOf } from "./product.ts";

/** A way to compute the product. */
export interface Rung {
  readonly name: string;
  readonly product: Product;
  readonly options: MatmulOptions;
}

/** A rung's row of results. `peer` is the vendor's library with operands of the same type. */
export interface LadderRow extends Row {
  error: number;
  tflops: number;
  /** The part of the peak of the unit used. */
  share: number | null;
}

/**
 * The rungs that work on a device: the variants in their order, then the defaults and the vendor's
 * library.
 */
export function rungs(size: number, device: DeviceInfo): Rung[] {
  const peer = peerOf(device);
  const square = { m: size, k: size, n: size };
  const kind = (name: "float32" | "ieee" | "tf32" | "bfloat16"): Product =>
    name === "bfloat16"
      ? { name, dtype: name, ...square }
      : { name, dtype: "float32", precision: name, ...square };
  const rung = (product: Product, variant: string): Rung => ({
    name: product.name === "ieee" ? variant : `${variant}, ${product.name}`,
    product,
    options: { ...optionsOf(product), variant },
  });
  const small = (product: Product) => ({ ...product, m: 64, k: 64, n: 64 });
  const takes = (product: Product, variant: string) =>
    works(() => tried(small(product), { ...optionsOf(product), variant }), variant, device);
  // float32's best and 16 bits on tensor cores, else the first that it takes
  const kinds = (variant: string): Rung[] => {
    const taken = /mma/.test(variant)
      ? [kind("float32"), kind("bfloat16")].filter((product) => takes(product, variant))
      : [kind("ieee"), kind("float32")].filter((product) => takes(product, variant)).slice(0, 1);
    return taken.map((product) => rung(product, variant));
  };
  const ends = device.device === "cpu"
    ? ["float32" as const]
    : ["ieee" as const, "float32" as const, "tf32" as const, "bfloat16" as const];
  return [
    // Square products are not thin: that variant is the default here.
    ...matmulVariants(device.device).filter((v) => !["default", "thin", peer].includes(v))
      .flatMap(kinds),
    ...ends.map((end) => ({ ...rung(kind(end), "default"), name: `default, ${end}` })),
    ...ends.filter((end) => end !== "ieee").map(kind)
      .filter((product) => takes(product, peer))
      .map((product) => ({ ...rung(product, peer), name: `${peer}, ${product.name}` })),
  ];
}

function tried(product: Product, options: MatmulOptions): void {
  scope(() => {
    const { a, b } = operandsOf(product)[0]!;
    a.matmul(b, options);
  });
}

/** Measures rungs of one size in turn, prints them, and returns their rows. */
export async function measureLadder(
  size: number,
  device: DeviceInfo,
  { typescript = false, only = /./, ...timing }: DeviceUsOptions & {
    typescript?: boolean;
    only?: RegExp;
  } = {},
): Promise<LadderRow[]> {
  const chosen = rungs(size, device).filter(({ name }) => only.test(name));
  const rows = typescript ? [typescriptRow(size)] : [];
  await scope(async () => {
    const operands = new Map<string, { copies: Operands[]; exact: Exact }>();
    for (const { product } of chosen) {
      if (operands.has(product.dtype)) continue;
      const copies = operandsOf(product);
      operands.set(product.dtype, { copies, exact: new Exact(copies[0]!, {}) });
    }
    const work = ({ product, options }: Rung): Work => {
      const { copies } = operands.get(product.dtype)!;
      return (i) => {
        const { a, b } = copies[i % copies.length]!;
        a.matmul(b, options).dispose();
      };
    };
    const times = await deviceUsEach(chosen.map(work), device.device, timing);
    const peer = peerOf(device);
    for (const [i, { name, product, options }] of chosen.entries()) {
      const { copies: [x], exact } = operands.get(product.dtype)!;
      const { relative } = scope(() => exact.errorOf(x!.a.matmul(x!.b, options)));
      const same = product.name === "ieee" ? "float32" : product.name; // what cuBLAS does by itself
      const at = chosen.findIndex((other) => other.name === `${peer}, ${same}`);
      const us = times[i]!;
      const { tflops, share } = rateOf(product, us, device.name);
      rows.push({
        name: `matmul_ladder_${size}_${name}`,
        ours_us: rounded(us),
        peer: at < 0 ? "none" : peer,
        peer_us: at < 0 ? null : rounded(times[at]!),
        ratio: at < 0 ? null : rounded(times[at]! / us),
        floor_us: rounding(floorOf(product, device.name)),
        error: rounded(relative),
        tflops: rounded(tflops),
        share: rounding(share ?? null),
      });
    }
  });
  print(size, rows);
  return rows;
}

const rounding = (x: number | null) => x === null ? null : rounded(x);

function typescriptRow(n: number): LadderRow {
  const numbers = () => Float32Array.from({ length: n * n }, () => Math.random() - 0.5);
  const a = numbers(), b = numbers();
  const start = performance.now();
  typescriptMatmul(a, b, n);
  const us = (performance.now() - start) * 1000;
  return {
    ...{ name: `matmul_ladder_${n}_TypeScript loops`, ours_us: rounded(us), peer: "none" },
    ...{ peer_us: null, ratio: null, floor_us: null, error: 0, share: null },
    tflops: rounded(2 * n ** 3 / us / 1e6),
  };
}

function print(size: number, rows: LadderRow[]): void {
  console.log(`\n${size} x ${size} x ${size}`);
  console.log(
    `${"variant".padEnd(28)}${"us".padStart(13)}${"TFLOP/s".padStart(11)}${"peak".padStart(7)}` +
      `${"x before".padStart(10)}${"x first".padStart(10)}${"x peer".padStart(8)}${
        "error".padStart(10)
      }`,
  );
  rows.forEach((r, i) => {
    const before = i > 0 ? (rows[i - 1]!.ours_us / r.ours_us).toFixed(2) : "";
    console.log(
      r.name.replace(/^matmul_ladder_\d+_/, "").padEnd(28) + r.ours_us.toFixed(2).padStart(13) +
        r.tflops.toPrecision(3).padStart(11) +
        (r.share === null ? "" : `${(100 * r.share).toFixed(1)}%`).padStart(7) +
        before.padStart(10) + (rows[0]!.ours_us / r.ours_us).toFixed(1).padStart(10) +
        (r.ratio === null ? "" : r.ratio.toFixed(2)).padStart(8) +
        r.error.toExponential(1).padStart(10),
    );
  });
}
