// One product beside the vendor's library, in turn and on the same inputs: time, floor, error.
import { type DeviceInfo, matmulVariants, scope } from "../../mod.ts";
import { deviceUsEach, type DeviceUsOptions, rounded, type Row, row, runs } from "../timing.ts";
import { Exact } from "./exact.ts";
import { floorOf, operandsOf, optionsOf, type Product, rateOf } from "./product.ts";

/** A row of bench/results/<machine>/matmul.json. */
export interface MatmulRow extends Row {
  /** The peer's error, as `error`: relative, Frobenius. */
  error_peer?: number;
  /** For methods of float32: the error of precision "ieee". */
  error_ieee?: number;
  /** The largest |c - ab| / (|a| |b|) of an element, for the three. */
  error_worst?: number;
  error_worst_peer?: number;
  error_worst_ieee?: number;
}

/** The vendor's library that a device has for a variant. */
export function peerOf(device: DeviceInfo): string {
  return device.device === "cpu" ? "blas" : "cublas";
}

/** Measures a product and its peer. */
export async function measure(
  x: Product,
  device: DeviceInfo,
  timing: DeviceUsOptions = {},
): Promise<MatmulRow> {
  return await scope(async () => {
    const copies = operandsOf(x);
    const options = optionsOf(x);
    const multiply = (variant: string) => (i: number) => {
      const { a, b } = copies[i % copies.length]!;
      a.matmul(b, { ...options, variant }).dispose();
    };
    const peer = peerOf(device);
    const there = works(() => multiply(peer)(0), peer, device);
    const [ours, theirs] = await deviceUsEach(
      [multiply("default"), ...(there ? [multiply(peer)] : [])],
      device.device,
      timing,
    );

    const exact = new Exact(copies[0]!, options);
    const { a, b } = copies[0]!;
    const errorOf = (more: object) =>
      scope(() => exact.errorOf(a.matmul(b, { ...options, ...more })));
    const own = errorOf({});
    const peers = there ? errorOf({ variant: peer }) : undefined;
    const ieee = x.dtype === "float32" ? errorOf({ precision: "ieee" }) : undefined;
    return {
      ...row(
        x.name,
        ours!,
        there ? peer : "none",
        theirs ?? null,
        floorOf(x, device.name),
        own.relative,
      ),
      ...(peers && { error_peer: rounded(peers.relative) }),
      ...(ieee && { error_ieee: rounded(ieee.relative) }),
      error_worst: rounded(own.worst),
      ...(peers && { error_worst_peer: rounded(peers.worst) }),
      ...(ieee && { error_worst_ieee: rounded(ieee.worst) }),
    };
  });
}

/** Whether a variant runs here; says once why it does not. */
export function works(run: () => void, variant: string, { device }: DeviceInfo): boolean {
  return matmulVariants(device).includes(variant) && runs(run, variant);
}

/** A line for reading. */
export function line(x: Product, r: MatmulRow, device: DeviceInfo): string {
  const { tflops, share } = rateOf(x, r.ours_us, device.name);
  const error = (e: number | undefined) => e === undefined ? "" : e.toExponential(1);
  return [
    r.name.padEnd(34),
    r.ours_us.toFixed(2).padStart(11),
    tflops.toPrecision(3).padStart(11),
    (share === undefined ? "" : `${(100 * share).toFixed(0)}%`).padStart(6),
    (r.peer_us === null ? "" : r.peer_us.toFixed(2)).padStart(11),
    (r.ratio === null ? "" : r.ratio.toFixed(2)).padStart(7),
    (r.floor_us === null ? "" : (r.floor_us / r.ours_us).toFixed(2)).padStart(7),
    error(r.error).padStart(9),
    error(r.error_peer).padStart(9),
    error(r.error_ieee).padStart(9),
  ].join("");
}

/** What stands above such lines. */
export const heading = [
  "".padEnd(34),
  "us".padStart(11),
  "TFLOP/s".padStart(11),
  "peak".padStart(6),
  "peer us".padStart(11),
  "ratio".padStart(7),
  "floor".padStart(7),
  "error".padStart(9),
  "peer's".padStart(9),
  "ieee's".padStart(9),
].join("");
