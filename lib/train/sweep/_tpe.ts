// The Tree-structured Parzen Estimator of Bergstra, Bardenet, Bengio and Kégl (2011), each
// dimension by itself: of places drawn like those of the best trials, the one that is the likeliest
// among the best compared with the others.
import type { Dimension, SweepValue } from "./space.ts";

const CANDIDATES = 24;

interface Density {
  draw(): number;
  at(place: number): number;
}

/** A value for a dimension, given those of the best trials and of the others. */
export function suggest(
  dimension: Dimension,
  best: readonly number[],
  others: readonly number[],
  random: () => number,
): SweepValue {
  const { choices } = dimension;
  const density = (places: readonly number[]) =>
    choices > 0 ? counted(choices, places, random) : parzen(places, random);
  const good = density(best), bad = density(others);
  let place = 0, most = -Infinity;
  for (let i = 0; i < CANDIDATES; i++) {
    const x = good.draw(), ratio = good.at(x) / bad.at(x);
    if (ratio > most) [place, most] = [x, ratio];
  }
  return dimension.at(choices > 0 ? (place + 0.5) / choices : place);
}

// Of choices: how often each was taken, and once more.
function counted(n: number, places: readonly number[], random: () => number): Density {
  const counts = Array.from({ length: n }, (_, i) => 1 + places.filter((p) => p === i).length);
  const total = n + places.length;
  return {
    draw() {
      let left = random() * total;
      return Math.max(0, counts.findIndex((count) => (left -= count) < 0));
    },
    at: (place) => counts[place]! / total,
  };
}

// In [0, 1): a uniform distribution and a normal one around each place, cut off at the ends, as
// wide as the greater distance to its neighbours; all weigh the same.
function parzen(places: readonly number[], random: () => number): Density {
  const means = [...places].sort((a, b) => a - b), n = means.length;
  const parts = means.map((mean, i) => {
    const gap = Math.max(mean - (means[i - 1] ?? 0), (means[i + 1] ?? 1) - mean);
    const sigma = Math.min(1, Math.max(gap, 1 / Math.min(100, n + 2)));
    const inside = (erf((1 - mean) / sigma / Math.SQRT2) + erf(mean / sigma / Math.SQRT2)) / 2;
    return { mean, sigma, weight: 1 / (Math.sqrt(2 * Math.PI) * sigma * inside) };
  });
  return {
    draw() {
      const part = parts[Math.floor(random() * (n + 1)) - 1];
      if (!part) return random();
      for (;;) {
        const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
        const x = part.mean + part.sigma * normal;
        if (x >= 0 && x < 1) return x;
      }
    },
    at(x) {
      const of = (sum: number, { mean, sigma, weight }: typeof parts[number]) =>
        sum + weight * Math.exp(-(((x - mean) / sigma) ** 2) / 2);
      return parts.reduce(of, 1) / (n + 1);
    },
  };
}

// Of x from 0 up, to 1.5e-7: Abramowitz and Stegun, 7.1.26.
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  return 1 - series.reduce((sum, c) => sum * t + c, 0) * t * Math.exp(-x * x);
}
