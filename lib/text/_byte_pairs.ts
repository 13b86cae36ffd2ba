// Bytes as GPT-2's files write them, and how pairs of tokens become one.

// What can be seen stands for itself; the other bytes have the characters from U+0100 on.
const visible = [[0x21, 0x7e], [0xa1, 0xac], [0xae, 0xff]] as const;

/** The bytes in the order of GPT-2's vocabulary. */
export const byteOrder: readonly number[] = (() => {
  const seen = visible.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a + i));
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  return [...seen, ...all.filter((byte) => !seen.includes(byte))];
})();

const seen = 256 - 68;

/** The character that stands for each byte. */
export const characters: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const at = byteOrder.indexOf(byte);
  return String.fromCharCode(at < seen ? byte : 256 + at - seen);
});

/** The bytes by characters. */
export const byteOf: ReadonlyMap<string, number> = new Map(characters.map((c, i) => [c, i]));

/** Characters of its own, so that white space is Unicode's and not JavaScript's. */
export const space = "\\p{White_Space}";
const words = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+`;

/** Cuts text where GPT-2 does: no token goes beyond one of its matches. */
export const pieces: RegExp = new RegExp(`${words}|${space}+(?!\\P{White_Space})|${space}+`, "gu");

/** Two tokens as one number. */
export const pairOf = (a: number, b: number): number => a * 2 ** 24 + b;

/** Which pairs become one token, and in which order. */
export class Merges {
  readonly #ranks = new Map<number, number>();
  readonly #made: number[] = [];

  /** The next in order: a and b become `token`. */
  add(a: number, b: number, token: number): void {
    this.#ranks.set(pairOf(a, b), this.#made.push(token) - 1);
  }

  /** The tokens with all pairs merged: each time the first of those that come first in order. */
  merged(tokens: ArrayLike<number>): number[] {
    const n = tokens.length, ranks = this.#ranks;
    const token = Int32Array.from(tokens); // -1 where it is part of the one before
    const next = Int32Array.from({ length: n }, (_, i) => i + 1);
    const previous = Int32Array.from({ length: n }, (_, i) => i - 1);
    const waiting = new Heap(); // rank and place
    const rankAt = (i: number) =>
      next[i]! < n ? ranks.get(pairOf(token[i]!, token[next[i]!]!)) : undefined;
    const look = (i: number) => {
      const rank = i < 0 ? undefined : rankAt(i);
      if (rank !== undefined) waiting.push(rank * 2 ** 32 + i);
    };
    for (let i = 0; i < n; i++) look(i);
    for (let least = waiting.pop(); least !== undefined; least = waiting.pop()) {
      const i = least % 2 ** 32, rank = (least - i) / 2 ** 32;
      if (token[i]! < 0 || rankAt(i) !== rank) continue; // it was merged otherwise
      const gone = next[i]!;
      token[i] = this.#made[rank]!;
      token[gone] = -1;
      next[i] = next[gone]!;
      if (next[i]! < n) previous[next[i]!] = i;
      look(previous[i]!);
      look(i);
    }
    return Array.from(token.filter((id) => id >= 0));
  }
}

/** Numbers of which the least comes first. */
class Heap {
  readonly #all: number[] = [];

  push(x: number): void {
    const all = this.#all;
    let at = all.push(x) - 1;
    for (let up = (at - 1) >> 1; at > 0 && all[up]! > x; up = (at - 1) >> 1) {
      all[at] = all[up]!;
      at = up;
    }
    all[at] = x;
  }

  pop(): number | undefined {
    const all = this.#all, [least] = all, x = all.pop();
    if (x === undefined || all.length === 0) return x;
    let at = 0;
    for (let down = 1; down < all.length; down = 2 * at + 1) {
      if (down + 1 < all.length && all[down + 1]! < all[down]!) down++;
      if (all[down]! >= x) break;
      all[at] = all[down]!;
      at = down;
    }
    all[at] = x;
    return least;
  }
}

/**
 * The pairs to merge, each the one that is there most often by then (of several the one of the
 * lowest tokens), until there are `count` or none is there twice. Words are tokens below `first`
 * with how often each is there; what a pair becomes counts up from there.
 */
export function learnt(
  words: Iterable<[tokens: number[], count: number]>,
  first: number,
  count: number,
): [a: number, b: number][] {
  const all = [...words];
  const pairs = new Map<number, { count: number; words: Set<number> }>();
  const tell = (word: number, sign: 1 | -1) => {
    const [tokens, times] = all[word]!;
    for (let i = 1; i < tokens.length; i++) {
      const key = pairOf(tokens[i - 1]!, tokens[i]!);
      let known = pairs.get(key);
      if (!known) pairs.set(key, known = { count: 0, words: new Set() });
      known.count += sign * times;
      known.words.add(word); // and stays there when it no longer has the pair
      if (known.count === 0) pairs.delete(key);
    }
  };
  all.forEach((_, word) => tell(word, 1));
  const merges: [number, number][] = [];
  while (merges.length < count) {
    let best = -1, most = 1;
    for (const [key, { count }] of pairs) {
      if (count > most || count === most && most > 1 && key < best) [best, most] = [key, count];
    }
    if (best < 0) break;
    const b = best % 2 ** 24, a = (best - b) / 2 ** 24;
    for (const word of [...pairs.get(best)!.words]) {
      tell(word, -1);
      const merged: number[] = [];
      for (const token of all[word]![0]) {
        if (token === b && merged.at(-1) === a) merged[merged.length - 1] = first + merges.length;
        else merged.push(token);
      }
      all[word]![0] = merged;
      tell(word, 1);
    }
    merges.push([a, b]);
  }
  return merges;
}
