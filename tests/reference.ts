// Operations computed from their formulas in float64, over plain arrays, as slowly as is easy to
// read. Nothing here may call the library: it is what the library is held against.

/** Numbers with a shape, in row-major order. */
export interface Grid {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
  /**
   * What an element's error is measured against, where that is not max(|value|, 1): for a sum, the
   * sum of its terms' sizes.
   */
  readonly magnitudes?: ArrayLike<number> | undefined;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** A grid made element by element; `at` gets the indices, in an array that is reused. */
export function build(
  shape: readonly number[],
  at: (index: readonly number[], i: number) => number,
): Grid {
  const size = sizeOf(shape);
  const values = new Float64Array(size);
  const index = shape.map(() => 0);
  for (let i = 0; i < size; i++) {
    values[i] = at(index, i);
    for (let d = shape.length - 1; d >= 0; d--) {
      if (++index[d]! < shape[d]!) break;
      index[d] = 0;
    }
  }
  return { shape, values };
}

/** The element of x at an index, counted from the right, with extents of 1 repeated. */
export function elementAt(x: Grid, index: readonly number[]): number {
  const missing = index.length - x.shape.length;
  let at = 0;
  for (let d = 0; d < x.shape.length; d++) {
    at = at * x.shape[d]! + (x.shape[d] === 1 ? 0 : index[d + missing]!);
  }
  return x.values[at]!;
}

/** The shape that two shapes broadcast to. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, d) => {
    const x = a[d - rank + a.length] ?? 1;
    const y = b[d - rank + b.length] ?? 1;
    return x === 1 ? y : x;
  });
}

export function mapped(x: Grid, f: (x: number) => number): Grid {
  return { shape: x.shape, values: Float64Array.from(x.values, f) };
}

export function broadcasted(a: Grid, b: Grid, f: (a: number, b: number) => number): Grid {
  const shape = broadcastShape(a.shape, b.shape);
  return build(shape, (index) => f(elementAt(a, index), elementAt(b, index)));
}

/**
 * A sum with the rounding errors carried along (Neumaier), so that the reference has none to speak
 * of.
 */
export function total(terms: Iterable<number>): number {
  let sum = 0;
  let lost = 0;
  for (const term of terms) {
    const next = sum + term;
    if (Number.isFinite(next)) {
      lost += Math.abs(sum) >= Math.abs(term) ? sum - next + term : term - next + sum;
    }
    sum = next;
  }
  return sum + lost;
}

/**
 * The error function: near 0 by the series of positive terms 2 / sqrt(pi) e^(-x^2) x (1 + 2 x^2 / 3
 * + 4 x^4 / 15 + …), beyond from erfc.
 */
export function erf(x: number): number {
  if (Math.abs(x) > 1.5) return Math.sign(x) * (1 - erfc(Math.abs(x)));
  const terms = [x];
  for (let k = 1; k < 60; k++) terms.push(terms[k - 1]! * 2 * x * x / (2 * k + 1));
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * total(terms);
}

/** 1 - erf(x), with all digits where that is small: by its continued fraction, from the far end. */
export function erfc(x: number): number {
  if (!(x > 1.5)) return 1 - erf(x);
  let fraction = 0;
  for (let k = 300; k > 0; k--) fraction = k / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

/** The share of the standard normal distribution below x. */
function normalBelow(x: number): number {
  return 0.5 * erfc(-x * Math.SQRT1_2);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

// (1 + tanh u) / 2, and du / dx times 2.
const shareByTanh = (x: number) => sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
const growthByTanh = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);

/** The activations that products can end with, and their slopes. */
export const fusedActivations = {
  relu: { of: (x: number) => Math.max(x, 0), slope: (x: number) => (x > 0 ? 1 : 0) },
  gelu: {
    of: (x: number) => x * normalBelow(x),
    slope: (x: number) => normalBelow(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  },
  geluTanh: {
    of: (x: number) => x * shareByTanh(x),
    slope: (x: number) => {
      const share = shareByTanh(x);
      return share + x * growthByTanh(x) * share * (1 - share);
    },
  },
  silu: {
    of: (x: number) => x * sigmoid(x),
    slope: (x: number) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  },
};

/** f of the elements along the axes (all of them by default), for each element of the result. */
export function reduced(
  x: Grid,
  axes: readonly number[] | undefined,
  keepDims: boolean,
  f: (terms: readonly number[]) => number,
  size?: (terms: readonly number[]) => number,
): Grid {
  const rank = x.shape.length;
  const gone = (axes ?? x.shape.map((_, d) => d)).map((axis) => (axis + rank) % rank);
  const kept = x.shape.map((extent, d) => (gone.includes(d) ? 1 : extent));
  const groups = Array.from({ length: sizeOf(kept) }, (): number[] => []);
  build(x.shape, (index, i) => {
    let at = 0;
    for (let d = 0; d < rank; d++) at = at * kept[d]! + (gone.includes(d) ? 0 : index[d]!);
    groups[at]!.push(x.values[i]!);
    return 0;
  });
  return {
    shape: keepDims ? kept : x.shape.filter((_, d) => !gone.includes(d)),
    values: groups.map(f),
    magnitudes: size && groups.map(size),
  };
}

/**
 * Along an axis, f turns each line of elements into a line of the same length; size gives its
 * magnitudes.
 */
export function alongAxis(
  x: Grid,
  axis: number,
  f: (line: readonly number[]) => readonly number[],
  size?: (line: readonly number[]) => readonly number[],
): Grid {
  const at = (axis + x.shape.length) % x.shape.length;
  const extent = x.shape[at]!;
  const inner = sizeOf(x.shape.slice(at + 1));
  const values = new Float64Array(x.values.length);
  const magnitudes = size && new Float64Array(x.values.length);
  for (let start = 0; start < values.length; start += extent * inner) {
    for (let first = start; first < start + inner; first++) {
      const line = Array.from({ length: extent }, (_, k) => x.values[first + k * inner]!);
      f(line).forEach((value, k) => values[first + k * inner] = value);
      size?.(line).forEach((value, k) => magnitudes![first + k * inner] = value);
    }
  }
  return { shape: x.shape, values, magnitudes };
}

/** Axis d of the result is axis order[d] of x. */
export function permuted(x: Grid, order: readonly number[]): Grid {
  const source = x.shape.map(() => 0);
  return build(order.map((axis) => x.shape[axis]!), (index) => {
    order.forEach((axis, d) => source[axis] = index[d]!);
    return elementAt(x, source);
  });
}

export function transposed(x: Grid): Grid {
  return permuted(x, [1, 0]);
}

/**
 * c[i, j] = the sum over p of a[i, p] b[p, j]. The magnitude is the sum of |a b| times the root of
 * k, since that is how the error of k roundings in either direction grows.
 */
export function matrixProduct(a: Grid, b: Grid): Grid {
  const [m, k] = a.shape as [number, number];
  const n = b.shape[1]!;
  const x = Float64Array.from(a.values);
  const y = Float64Array.from(b.values);
  const values = new Float64Array(m * n);
  const magnitudes = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      for (let j = 0; j < n; j++) {
        const term = x[i * k + p]! * y[p * n + j]!;
        values[i * n + j]! += term;
        magnitudes[i * n + j]! += Math.abs(term) * Math.sqrt(k);
      }
    }
  }
  return { shape: [m, n], values, magnitudes };
}

/** matrixProduct() of the last two axes; the others broadcast. */
export function batchProduct(a: Grid, b: Grid): Grid {
  const rows = a.shape.at(-2)!;
  const cols = b.shape.at(-1)!;
  const matrices = (x: Grid) => {
    const extents = x.shape.slice(-2);
    const size = sizeOf(extents);
    return build(x.shape.slice(0, -2), (_, i) => i * size); // where each begins
  };
  const matrix = (x: Grid, begin: number) => ({
    shape: x.shape.slice(-2),
    values: Array.from(x.values).slice(begin, begin + sizeOf(x.shape.slice(-2))),
  });
  const [ofA, ofB] = [matrices(a), matrices(b)];
  const batch = broadcastShape(ofA.shape, ofB.shape);
  const products: Grid[] = [];
  build(batch, (index) => {
    products.push(
      matrixProduct(matrix(a, elementAt(ofA, index)), matrix(b, elementAt(ofB, index))),
    );
    return 0;
  });
  return {
    shape: [...batch, rows, cols],
    values: products.flatMap(({ values }) => Array.from(values)),
    magnitudes: products.flatMap(({ magnitudes }) => Array.from(magnitudes!)),
  };
}

/**
 * Says where `found` first differs from the reference by more than the tolerance; undefined when it
 * does not.
 */
export function difference(
  found: ArrayLike<number>,
  wanted: Grid,
  tolerance: number,
): string | undefined {
  if (found.length !== wanted.values.length) {
    return `${found.length} elements, not ${wanted.values.length}`;
  }
  for (let i = 0; i < found.length; i++) {
    const [x, y] = [found[i]!, wanted.values[i]!];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const allowed = tolerance * (wanted.magnitudes?.[i] ?? Math.max(Math.abs(y), 1));
    if (!(Math.abs(x - y) <= allowed)) {
      return `element ${i} is ${x}, not ${y}: off by ${Math.abs(x - y)}, allowed is ${allowed}`;
    }
  }
  return undefined;
}
