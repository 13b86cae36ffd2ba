// Eigenvectors of a small symmetric matrix, by Jacobi's rotations.

/** Eigenvalues, and for each its vector of length 1. */
export interface Eigen {
  values: number[];
  vectors: number[][];
}

/**
 * Those of a symmetric matrix, given row by row. Each rotation makes one element next to the
 * diagonal 0; going through all of them a few times leaves nothing but the diagonal.
 */
export function eigen(matrix: readonly (readonly number[])[]): Eigen {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const vectors = a.map((_, i) => a.map((_, j) => Number(i === j)));
  const rotate = (rows: number[][], p: number, q: number, cos: number, sin: number) => {
    for (let k = 0; k < n; k++) {
      const [x, y] = [rows[p]![k]!, rows[q]![k]!];
      rows[p]![k] = cos * x - sin * y;
      rows[q]![k] = sin * x + cos * y;
    }
  };
  const transpose = () => {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) [a[i]![j], a[j]![i]] = [a[j]![i]!, a[i]![j]!];
    }
  };
  for (let sweep = 0; sweep < 50; sweep++) {
    const largest = Math.max(...a.map((row, i) => Math.abs(row[i]!)));
    let left = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const off = a[p]![q]!;
        left = Math.max(left, Math.abs(off));
        if (off === 0) continue;
        const theta = (a[q]![q]! - a[p]![p]!) / (2 * off);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const cos = 1 / Math.hypot(t, 1);
        for (const rows of [a, vectors]) rotate(rows, p, q, cos, t * cos);
        transpose(); // the columns, too
        rotate(a, p, q, cos, t * cos);
        transpose();
      }
    }
    if (left <= 1e-14 * largest) break;
  }
  return { values: a.map((row, i) => row[i]!), vectors };
}
