/** c = ab for n x n matrices, as plain loops: what one would write without a library. */
export function typescriptMatmul(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  n: number,
): Float32Array<ArrayBuffer> {
  const c = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += a[i * n + k]! * b[k * n + j]!;
      c[i * n + j] = sum;
    }
  }
  return c;
}
