import { add } from "../ops/elementwise/binary.ts";
import { tensor } from "../create.ts";
import { topK } from "../ops/index/topk.ts";
import { logSoftmax } from "../ops/reduce/softmax.ts";
import { reshape } from "../ops/shape/movement.ts";
import type { Continuation } from "./_continuation.ts";

interface Settings {
  readonly beams: number;
  readonly maxNewTokens: number;
  readonly lengthPenalty: number;
  readonly stop: ReadonlySet<number>;
}

/** A sequence that has ended: its new tokens, without the one that stops. */
interface Ended {
  readonly tokens: number[];
  readonly score: number;
}

/**
 * The new tokens of the likeliest of the sequences that were looked at, for each prompt: at each
 * step of the `beams` likeliest. The logarithm of a sequence's probability over its length to the
 * power of lengthPenalty decides. As Hugging Face's, without early stopping.
 */
export async function beamSearch(text: Continuation, settings: Settings): Promise<number[][]> {
  const { beams, maxNewTokens, lengthPenalty, stop } = settings;
  const prompts = text.rows.map(({ length }) => length);
  text.select(prompts.flatMap((_, i) => new Array<number>(beams).fill(i)));
  const ended: Ended[][] = prompts.map(() => []);
  const done = prompts.map(() => false);
  // Of beams that are still the same one counts.
  let sums: number[] = text.rows.map((_, row) => row % beams === 0 ? 0 : -1e9);
  const put = (i: number, tokens: number[], sum: number, length: number) => {
    ended[i]!.push({ tokens, score: sum / length ** lengthPenalty });
    ended[i]!.sort((a, b) => b.score - a.score).splice(beams);
  };
  for (let length = 1; length <= maxNewTokens && done.includes(false); length++) {
    const { values, indices, classes } = text.step((scores) => {
      const so = tensor(sums, { dtype: scores.dtype as "float32", device: scores.device });
      const all = add(logSoftmax(scores), reshape(so, [sums.length, 1]));
      const rows = reshape(all, [prompts.length, beams * scores.shape[1]!]);
      // as many as stop may be among them, and then there are enough
      const most = Math.min(rows.shape[1]!, beams * (1 + Math.max(1, stop.size)));
      return { ...topK(rows, most), classes: scores.shape[1]! };
    });
    const [likely, places] = await Promise.all([values.data(), indices.data()]);
    values.dispose();
    indices.dispose();
    const count = likely.length / prompts.length;
    const next: { row: number; token: number; sum: number }[] = [];
    for (const [i, prompt] of prompts.entries()) {
      const open: typeof next = [];
      for (let rank = 0; rank < count && !done[i] && open.length < beams; rank++) {
        const place = places[i * count + rank]!, sum = likely[i * count + rank]!;
        const row = i * beams + Math.floor(place / classes), token = place % classes;
        if (!stop.has(token)) open.push({ row, token, sum });
        else if (rank < beams) put(i, text.rows[row]!.slice(prompt), sum, length);
      }
      const least = ended[i]!.at(beams - 1)?.score ?? -Infinity;
      done[i] ||= least >= likely[i * count]! / length ** lengthPenalty;
      // what goes on with a sequence that is done is not looked at
      while (open.length < beams) open.push({ row: i * beams, token: 0, sum: -Infinity });
      next.push(...open);
    }
    text.select(next.map(({ row }) => row));
    text.push(next.map(({ token }) => token));
    sums = next.map(({ sum }) => sum);
  }
  return prompts.map((prompt, i) => {
    for (let row = i * beams; row < (i + 1) * beams && !done[i]; row++) {
      put(i, text.rows[row]!.slice(prompt), sums[row]!, maxNewTokens);
    }
    return ended[i]![0]!.tokens;
  });
}
