// What initialisers compute on the host, in float64: the same on every device.
import { philox, takeRandom } from "../core/random.ts";

/** n numbers in [0, 1) from the process's stream: those that rand() of float64 would give. */
export function uniforms(n: number): Float64Array<ArrayBuffer> {
  const { seed, offset } = takeRandom(Math.ceil(n / 2));
  const out = new Float64Array(n);
  for (let i = 0; i < n; i += 2) {
    const [a, b, c, d] = philox(seed, offset + BigInt(i / 2));
    out[i] = (a * 2 ** 21 + (b >>> 11)) * 2 ** -53;
    if (i + 1 < n) out[i + 1] = (c * 2 ** 21 + (d >>> 11)) * 2 ** -53;
  }
  return out;
}

// n numbers of the normal distribution, by Box and Muller.
function normals(n: number): Float64Array<ArrayBuffer> {
  const out = uniforms(n + n % 2);
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - out[i]!));
    const angle = 2 * Math.PI * out[i + 1]!;
    out[i] = radius * Math.cos(angle);
    out[i + 1] = radius * Math.sin(angle);
  }
  return out.subarray(0, n);
}

/**
 * The share of the normal distribution below z, by its series (Marsaglia, "Evaluating the Normal
 * Distribution", 2004).
 */
export function normalBelow(z: number): number {
  if (z < -8.3) return 0; // less than the roundoff of what is added below
  if (z > 8.3) return 1;
  let sum = z;
  let term = z;
  for (let k = 3; sum + term !== sum; k += 2) sum += term *= z * z / k;
  return 0.5 + sum * Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
}

const horner = (x: number, ...coefficients: number[]) =>
  coefficients.reduceRight((sum, c) => sum * x + c, 0);

/**
 * The z below which a share p of the normal distribution lies, to 16 digits: Wichura's algorithm AS
 * 241, 1988.
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    // deno-fmt-ignore
    return q * horner(r, 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
      1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
      3.3430575583588128105e4, 2.5090809287301226727e3) / horner(r, 1, 4.2313330701600911252e1,
      6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
      3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3);
  }
  let r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  if (r === Infinity) return q < 0 ? -Infinity : Infinity;
  let z: number;
  if (r <= 5) {
    r -= 1.6;
    // deno-fmt-ignore
    z = horner(r, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
      3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
      2.27238449892691845833e-2, 7.74545014278341407640e-4) / horner(r, 1, 2.05319162663775882187e0,
      1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
      1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9);
  } else {
    r -= 5;
    // deno-fmt-ignore
    z = horner(r, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
      2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
      2.71155556874348757815e-5, 2.01033439929228813265e-7) / horner(r, 1,
      5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
      7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
      2.04426310338993978564e-15);
  }
  return q < 0 ? -z : z;
}

/**
 * Columns of length m that are orthonormal, and uniformly so: Q of a matrix of n <= m normal
 * columns, by Householder's reflections, each column with the sign that makes R's diagonal positive
 * (Mezzadri, "How to generate random matrices from the classical compact groups", 2007). Column j
 * is at [j m, (j + 1) m).
 */
export function orthonormalColumns(m: number, n: number): Float64Array {
  const a = normals(m * n);
  const signs = new Float64Array(n);
  const column = (x: Float64Array, j: number) => x.subarray(j * m, (j + 1) * m);
  // a's column k from row k on becomes the vector of reflection k, of length sqrt(2).
  for (let k = 0; k < n; k++) {
    const v = column(a, k);
    let square = 0;
    for (let i = k; i < m; i++) square += v[i]! * v[i]!;
    const length = Math.sqrt(square);
    // of R's diagonal, which is away from v[k] so that nothing cancels
    signs[k] = v[k]! < 0 ? 1 : -1;
    v[k]! -= signs[k]! * length;
    const scale = Math.sqrt(2 / (square - (v[k]! + signs[k]! * length) ** 2 + v[k]! ** 2));
    for (let i = k; i < m; i++) v[i]! *= scale;
    for (let j = k + 1; j < n; j++) reflect(v, column(a, j), k);
  }
  const q = new Float64Array(m * n);
  for (let j = 0; j < n; j++) {
    const to = column(q, j);
    to[j] = signs[j]!;
    for (let k = j; k >= 0; k--) reflect(column(a, k), to, k);
  }
  return q;
}

// x -= v (v x), from row `first` on.
function reflect(v: Float64Array, x: Float64Array, first: number): void {
  let along = 0;
  for (let i = first; i < v.length; i++) along += v[i]! * x[i]!;
  for (let i = first; i < v.length; i++) x[i]! -= along * v[i]!;
}
