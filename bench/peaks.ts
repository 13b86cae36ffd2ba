// What devices can do at most, for floors: the least time that some arithmetic and some bytes can
// take.

/**
 * The units that multiply. `float32`: the ordinary ones, which round each product as IEEE 754 says;
 * the others are tensor cores.
 */
export type Unit = "float32" | "float64" | "tf32" | "half";

interface Peaks {
  /** Operations a second, a multiply-add being two: the data sheet's. */
  readonly flops: Readonly<Record<Unit, number>>;
  /**
   * Bytes a second, read and written together: measured on the H200, its part of the data sheet's
   * on the others.
   */
  readonly bandwidth: number;
}

// By what a device's name contains.
const peaks: Readonly<Record<string, Peaks>> = {
  H200: {
    flops: { float32: 66.9e12, float64: 66.9e12, tf32: 494.7e12, half: 989.4e12 },
    bandwidth: 4.25e12,
  },
  H100: {
    flops: { float32: 66.9e12, float64: 66.9e12, tf32: 494.7e12, half: 989.4e12 },
    bandwidth: 2.96e12,
  },
  "A100-SXM4-80GB": {
    flops: { float32: 19.5e12, float64: 19.5e12, tf32: 156e12, half: 312e12 },
    bandwidth: 1.8e12,
  },
};

/** The peak rate of a unit in operations a second; undefined where it is not written down. */
export function peakFlops(device: string, unit: Unit): number | undefined {
  return peaksOf(device)?.flops[unit];
}

/**
 * The least microseconds for so many operations and bytes; null where the device's peaks are not
 * written down.
 */
export function floorUs(device: string, unit: Unit, flops: number, bytes: number): number | null {
  const known = peaksOf(device);
  return known ? 1e6 * Math.max(flops / known.flops[unit], bytes / known.bandwidth) : null;
}

function peaksOf(device: string): Peaks | undefined {
  return Object.entries(peaks).find(([name]) => device.includes(name))?.[1];
}
