// From samples to a batch on the host, which a Worker can do.
import { type DataOf, type DType, dtypeInfo, dtypeOf } from "../core/dtype.ts";
import { isTensor, refuse } from "../core/options.ts";
import { plainArray } from "../core/host.ts";
import { formatShape, sameShape, type Shape, sizeOf } from "../core/shape.ts";
import { DTypeError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Sample } from "./batch.ts";
import { itemsOf, mapLeaves } from "../_structure.ts";

/** What a tensor will hold. */
export interface HostTensor {
  /** The elements, by which it is told from the structures that it stands in. */
  readonly data: DataOf;
  /** Their shape. */
  readonly shape: Shape;
  /** Their dtype. */
  readonly dtype: DType;
}

/** Whether it is one. */
export const isHost = (x: unknown): x is HostTensor => ArrayBuffer.isView(Object(x).data);

/** A batch that is still on the host: structures of {@linkcode HostTensor}. */
export type HostBatch = { input: unknown; target: unknown; weight?: HostTensor | undefined };

/** What a batch on the host is made of. */
export function hostTensors({ input, target, weight }: HostBatch): HostTensor[] {
  const found = weight ? [weight] : [];
  for (const part of [input, target]) mapLeaves(part, isHost, (x) => found.push(x as HostTensor));
  return found;
}

/** Makes an array for so many elements, whose values do not matter. */
export type Make = (dtype: DType, size: number) => DataOf;

/** Memory of its own. */
export const fresh: Make = (dtype, size) => dtypeInfo(dtype).make(size);

/** Samples as one batch on the host. */
export function stacked(
  op: string,
  samples: readonly Sample[],
  classes: boolean,
  make: Make = fresh,
): HostBatch {
  const stack = (place: string, values: readonly unknown[], plain: DType) =>
    stackParts(op, place, values, plain, make);
  for (const sample of samples) checkSample(op, sample);
  const weights = samples.filter(({ weight }) => weight !== undefined);
  return {
    input: stack("input", samples.map(({ input }) => input), "float32"),
    target: stack("target", samples.map((s) => s.target), classes ? "int32" : "float32"),
    ...(weights.length > 0 && {
      weight: stack("weight", samples.map((s) => s.weight ?? 1), "float32") as HostTensor,
    }),
  };
}

function checkSample(op: string, sample: Sample): void {
  const { input, target } = Object(sample);
  if (input !== undefined && target !== undefined) return;
  refuse(op, "a sample", sample, "{ input, target }: numbers, arrays or tensors");
}

const numeric = (x: unknown) => typeof x === "number" || typeof x === "boolean";

// Nested arrays of numbers, as far as the first row tells.
function isNested(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0) return numeric(value);
  return value.every(numeric) || (value.every(Array.isArray) && isNested(value[0]));
}

const isLeaf = (value: unknown) => isTensor(value) || ArrayBuffer.isView(value) || isNested(value);

// The same place of all samples.
function stackParts(
  op: string,
  place: string,
  values: readonly unknown[],
  dtype: DType,
  make: Make,
): unknown {
  const [first] = values;
  if (isLeaf(first)) return stackLeaves(op, place, values, dtype, make);
  const items = itemsOf(first);
  if (!items || items.length === 0) {
    refuse(op, place, first, "numbers, a typed array, a tensor, or a structure of them");
  }
  const made = items.map(([key]) => {
    const at = `${place}.${key}`;
    const inner = values.map((value) => (Object(value) as Record<string, unknown>)[key]);
    return [key, stackParts(op, at, inner, dtype, make)] as const;
  });
  return Array.isArray(first) ? made.map(([, item]) => item) : Object.fromEntries(made);
}

interface Leaf {
  array: ArrayLike<number>;
  shape: Shape;
  dtype: DType;
}

function leafOf(op: string, place: string, value: unknown, dtype: DType): Leaf {
  if (isTensor(value)) {
    const x = value as Tensor;
    return { array: x.dataSync(), shape: x.shape, dtype: x.dtype };
  }
  if (typeof value === "number") return { array: [value], shape: [], dtype };
  if (typeof value === "boolean") return { array: [Number(value)], shape: [], dtype };
  const array = plainArray(op, value);
  if (array) {
    const own = dtypeOf(array);
    if (own) return { array: array as DataOf, shape: [(array as DataOf).length], dtype: own };
  } else if (isNested(value)) {
    const shape: number[] = [];
    for (let item = value; Array.isArray(item); item = item[0]) shape.push(item.length);
    const array = (value as unknown[]).flat(shape.length - 1);
    if (array.length !== sizeOf(shape) || !array.every(numeric)) {
      throw new ShapeError(`${op}: ${place} has rows that are not alike; typed arrays may differ`);
    }
    return { array: array as number[], shape, dtype };
  }
  return refuse(op, place, value, "numbers, a typed array or a tensor, as in the first sample");
}

function stackLeaves(
  op: string,
  place: string,
  values: readonly unknown[],
  plain: DType,
  make: Make,
): HostTensor {
  const leaves = values.map((value) => leafOf(op, place, value, plain));
  const { shape, dtype } = leaves[0]!;
  const size = sizeOf(shape);
  const data = make(dtype, size * leaves.length);
  leaves.forEach((leaf, i) => {
    if (!sameShape(leaf.shape, shape) || leaf.array.length !== size) {
      throw new ShapeError(
        `${op}: ${place} is ${formatShape(shape)} in one sample, ${formatShape(leaf.shape)} in ` +
          "another; pad them to one shape in { collate }, by padSequence() say",
      );
    }
    if (leaf.dtype !== dtype) {
      throw new DTypeError(`${op}: ${place} is ${dtype} in one sample, ${leaf.dtype} in another`);
    }
    if (plain === "int32" && dtype === plain) checkWhole(op, place, leaf.array);
    data.set(leaf.array, i * size);
  });
  return { data, shape: [leaves.length, ...shape], dtype };
}

function checkWhole(op: string, place: string, array: ArrayLike<number>): void {
  for (let i = 0; i < array.length; i++) {
    if (!Number.isInteger(array[i])) {
      refuse(op, place, array[i], "a class number, since the data set has classes");
    }
  }
}
