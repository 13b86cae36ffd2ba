// Boxes and regions of images.
import { contiguousStrides, sizeOf } from "../../core/shape.ts";
import { zeros } from "../../create.ts";
import { matmul } from "../../ops/linalg/mod.ts";
import { concat, pad, permute, reshape, select } from "../../ops/shape/mod.ts";
import { scatter } from "../../ops/index/mod.ts";
import type { Tensor } from "../../tensor.ts";
import type { HostData } from "../_elements.ts";
import type { Family, Operator } from "./_operator.ts";

// Of each class the boxes by score, without those that overlap a chosen one too much.
const suppressed: Operator = (c) => {
  const [boxes, scores] = [c.value(0), c.value(1)];
  const [batches, n] = boxes.shape as [number, number];
  const classes = scores.shape[1]!;
  const [most, overlap, least] = [c.number(2, 0), c.number(3, 0), c.number(4, -Infinity)];
  const [at, score] = [boxes.numbers(), scores.numbers()];
  const centered = c.int("center_point_box", 0) !== 0;
  // low y, low x, high y, high x; centered ones are x, y, width, height
  const corners = new Float64Array(batches * n * 4);
  for (let i = 0; i < corners.length; i += 4) {
    const [p, q, r, s] = at.subarray(i, i + 4) as unknown as [number, number, number, number];
    corners.set(
      centered
        ? [q - s / 2, p - r / 2, q + s / 2, p + r / 2]
        : [Math.min(p, r), Math.min(q, s), Math.max(p, r), Math.max(q, s)],
      i,
    );
  }
  const areas = Float64Array.from(
    { length: batches * n },
    (_, i) => (corners[4 * i + 2]! - corners[4 * i]!) * (corners[4 * i + 3]! - corners[4 * i + 1]!),
  );
  const overlapping = (i: number, j: number) => {
    const side = (k: number) =>
      Math.min(corners[4 * i + k + 2]!, corners[4 * j + k + 2]!) -
      Math.max(corners[4 * i + k]!, corners[4 * j + k]!);
    const [height, width] = [side(0), side(1)];
    if (height <= 0 || width <= 0) return false;
    return height * width / (areas[i]! + areas[j]! - height * width) > overlap;
  };
  const found: number[] = [];
  for (let b = 0; b < batches * classes; b++) {
    const batch = Math.floor(b / classes);
    const order = Array.from({ length: n }, (_, i) => i).filter((i) => score[b * n + i]! > least)
      .sort((i, j) => score[b * n + j]! - score[b * n + i]!);
    const chosen: number[] = [];
    for (const i of order) {
      if (chosen.length >= most) break;
      if (chosen.some((j) => overlapping(batch * n + i, batch * n + j))) continue;
      chosen.push(i);
      found.push(batch, b % classes, i);
    }
  }
  return c.host("int64", [found.length / 3, 3], found);
};

/** A sample along an axis: two neighbours and their weights. */
type Sample = readonly [low: number, high: number, lowWeight: number, highWeight: number];

// The samples of each bin along an axis: in the middles of equal parts.
function samplesOf(from: number, bin: number, bins: number, parts: number, extent: number) {
  return Array.from({ length: bins }, (_, k) =>
    Array.from({ length: parts }, (_, i): Sample => {
      const at = from + bin * (k + (i + 0.5) / parts);
      if (at < -1 || at > extent) return [0, 0, 0, 0];
      const place = Math.min(Math.max(at, 0), extent - 1);
      const low = Math.floor(place);
      return [low, Math.min(low + 1, extent - 1), low + 1 - place, place - low];
    }));
}

// The mean of samples is a product with a matrix for each axis; the largest is found on the host.
const roiAlign: Operator = (c) => {
  const [x, rois, batches] = [c.x, c.numbers(1), c.numbers(2)];
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [rows, columns] = [c.int("output_height", 1), c.int("output_width", 1)];
  const [ratio, scale] = [c.int("sampling_ratio", 0), c.float("spatial_scale", 1)];
  const mode = c.opset < 16 ? "output_half_pixel" : "half_pixel";
  const moved = c.string("coordinate_transformation_mode", mode) === "half_pixel" ? 0.5 : 0;
  const regions = batches.map((batch, i) => {
    const [x0, y0, x1, y1] = rois.slice(4 * i, 4 * i + 4).map((v) => v * scale - moved) as [
      number,
      number,
      number,
      number,
    ];
    const along = (low: number, high: number, bins: number, extent: number) => {
      const size = moved ? high - low : Math.max(high - low, 1);
      const parts = ratio > 0 ? ratio : Math.max(1, Math.ceil(size / bins));
      return samplesOf(low, size / bins, bins, parts, extent);
    };
    return { batch, y: along(y0, y1, rows, height), x: along(x0, x1, columns, width) };
  });
  const shape = [regions.length, channels, rows, columns];
  if (regions.length === 0) return c.host(c.type, shape, []);
  if (c.string("mode", "avg") === "max") {
    const data = c.value(0).numbers();
    const made = new Float64Array(sizeOf(shape));
    let i = 0;
    for (const region of regions) {
      for (let plane = 0; plane < channels; plane++) {
        const start = (region.batch * channels + plane) * height * width;
        for (const ys of region.y) {
          for (const xs of region.x) made[i++] = largest(data, start, width, ys, xs);
        }
      }
    }
    return c.host(c.type, shape, made);
  }
  const matrix = (bins: Sample[][], extent: number) => {
    const data = new Float32Array(bins.length * extent);
    bins.forEach((samples, k) => {
      for (const [low, high, a, b] of samples) {
        data[k * extent + low]! += a / samples.length;
        data[k * extent + high]! += b / samples.length;
      }
    });
    return data;
  };
  const matrices = (list: Sample[][][], bins: number, extent: number) => {
    const data = new Float64Array(list.length * bins * extent);
    list.forEach((one, i) => data.set(matrix(one, extent), i * bins * extent));
    return c.host(c.type, [list.length, bins, extent], data).tensor();
  };
  // Groups of regions, so that what lies between the products stays small.
  const group = Math.max(1, Math.floor(2 ** 24 / (channels * height * columns)));
  const parts: Tensor[] = [];
  for (let from = 0; from < regions.length;) {
    const { batch } = regions[from]!;
    let to = from;
    while (to < regions.length && to - from < group && regions[to]!.batch === batch) to++;
    const list = regions.slice(from, to);
    const across = reshape(matrices(list.map(({ x }) => x), columns, width), [-1, width]);
    const plane = reshape(select(x, 0, batch), [channels * height, width]);
    const lines = reshape(matmul(plane, permute(across, [1, 0])), [
      channels,
      height,
      list.length,
      columns,
    ]);
    const down = matrices(list.map(({ y }) => y), rows, height);
    const wide = reshape(permute(lines, [2, 1, 0, 3]), [list.length, height, channels * columns]);
    const made = reshape(matmul(down, wide), [list.length, rows, channels, columns]);
    parts.push(permute(made, [0, 2, 1, 3]));
    from = to;
  }
  return concat(parts, 0);
};

// ONNX's maximum is over the weighted pixels, not over the samples that they make.
function largest(
  data: HostData,
  start: number,
  width: number,
  ys: readonly Sample[],
  xs: readonly Sample[],
): number {
  let most = -Infinity;
  for (const [y0, y1, a0, a1] of ys) {
    for (const [x0, x1, b0, b1] of xs) {
      const at = (y: number, x: number) => data[start + y * width + x]!;
      most = Math.max(
        most,
        ...[a0 * b0 * at(y0, x0), a0 * b1 * at(y0, x1)],
        ...[a1 * b0 * at(y1, x0), a1 * b1 * at(y1, x1)],
      );
    }
  }
  return most;
}

// The elements at the places that MaxPool named, among zeros.
const maxUnpool: Operator = (c) => {
  const { x } = c;
  const kernel = c.ints("kernel_shape");
  const strides = c.ints("strides", kernel.map(() => 1));
  const pads = c.ints("pads", [...kernel, ...kernel].map(() => 0));
  const inferred = kernel.map((k, d) =>
    (x.shape[d + 2]! - 1) * strides[d]! + k - pads[d]! - pads[d + kernel.length]!
  );
  const shape = [...x.shape.slice(0, 2), ...inferred];
  const empty = zeros([sizeOf(shape)], { dtype: x.dtype, device: x.device });
  const flat = (y: Tensor) => reshape(y, [y.size]);
  const made = reshape(scatter(empty, 0, flat(c.tensor(1)), flat(x)), shape);
  return c.has(2) ? pad(made, c.numbers(2).map((n, d) => [0, n - shape[d]!] as const)) : made;
};

// The largest of each part of a region, whose borders are whole pixels.
const maxRoiPool: Operator = (c) => {
  const [x, rois] = [c.value(0), c.numbers(1)];
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [rows, columns] = c.ints("pooled_shape") as [number, number];
  const scale = c.float("spatial_scale", 1);
  const [data, strides] = [x.numbers(), contiguousStrides(x.shape)];
  const made: number[] = [];
  for (let r = 0; r < rois.length; r += 5) {
    const [x0, y0, x1, y1] = rois.slice(r + 1, r + 5).map((v) => Math.round(v * scale)) as [
      number,
      number,
      number,
      number,
    ];
    const border = (low: number, high: number, bins: number, k: number, extent: number) => {
      const size = Math.max(high - low + 1, 1) / bins;
      const clamp = (at: number) => Math.min(Math.max(at + low, 0), extent);
      return [clamp(Math.floor(k * size)), clamp(Math.ceil((k + 1) * size))] as const;
    };
    for (let plane = 0; plane < channels; plane++) {
      for (let k = 0; k < rows * columns; k++) {
        const [top, bottom] = border(y0, y1, rows, Math.floor(k / columns), height);
        const [left, right] = border(x0, x1, columns, k % columns, width);
        let most = top < bottom && left < right ? -Infinity : 0;
        for (let y = top; y < bottom; y++) {
          const line = rois[r]! * strides[0]! + plane * strides[1]! + y * width;
          for (let at = left; at < right; at++) most = Math.max(most, data[line + at]!);
        }
        made.push(most);
      }
    }
  }
  return c.host(x.type, [rois.length / 5, channels, rows, columns], made);
};

/** Detection. */
export const vision: Family = {
  NonMaxSuppression: suppressed,
  RoiAlign: roiAlign,
  MaxRoiPool: maxRoiPool,
  MaxUnpool: maxUnpool,
};
