import { philox, takeRandom } from "../../core/random.ts";

// The process's random numbers in (0, 1), a block at a time.
function* uniforms(): Generator<number, never> {
  while (true) {
    const { seed, offset } = takeRandom(1);
    for (const word of philox(seed, offset)) yield (word + 0.5) / 2 ** 32;
  }
}

/**
 * A number of the symmetric beta distribution, both of whose parameters are alpha: x / (x + y) of
 * two numbers of the gamma distribution, kept as logarithms, since those of a small alpha may be
 * smaller than any float.
 */
export function beta(alpha: number): number {
  const random = uniforms();
  const uniform = () => random.next().value;
  // Marsaglia, Tsang 2000, for alpha + 1, and from there to alpha.
  const logGamma = () => {
    const d = alpha + 2 / 3, c = 1 / Math.sqrt(9 * d);
    while (true) {
      const x = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(uniform()) < x * x / 2 + d - d * v + d * Math.log(v)) {
        return Math.log(d * v) + Math.log(uniform()) / alpha;
      }
    }
  };
  return 1 / (1 + Math.exp(logGamma() - logGamma()));
}
