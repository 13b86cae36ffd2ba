import { ArgumentError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { weigh } from "../../ops/elementwise/_binary.ts";
import { checkDType, floats } from "../../ops/_operands.ts";
import { crossEntropy } from "../../ops/loss/cross_entropy.ts";
import { rowsOf } from "./_classes.ts";
import { checkClassOptions } from "./_options.ts";
import type { ClassMetricOptions, Metric } from "./metric.ts";
import { accumulator } from "./_accumulator.ts";

/**
 * exp(Σ w · crossEntropy(logits, token) / Σ w) over the tokens that count: how many tokens a model
 * hesitates between. Logits [n, tokens], [n, steps, tokens] or [n, tokens, steps], token numbers
 * [n] or [n, steps]; those that are ignoreIndex, padding say, do not count. Where steps may equal
 * tokens, say which `axis` is of tokens. Errors as of {@linkcode accuracy}.
 *
 * ```ts
 * import { metrics, tensor, zeros } from "@cudeno/cudeno";
 * const perplexity = metrics.perplexity({ axis: -1, ignoreIndex: 0 });
 * perplexity.update(zeros([1, 3, 8]), tensor([[5, 2, 0]], { dtype: "int32" }));
 * console.log(await perplexity.compute()); // 8
 * perplexity.reset();
 * ```
 */
export function perplexity(options: ClassMetricOptions = {}): Metric<number> {
  const op = "perplexity";
  checkClassOptions(op, options);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const [prediction, target] = batch;
      checkDType(`${op}: prediction`, prediction, floats);
      checkDType(`${op}: target`, target, ["int32", "uint8"]);
      const { scores, wanted, counts } = rowsOf(op, state, options, batch);
      if (!scores) throw new ArgumentError(`${op}: the predictions must be logits`);
      const wide = prediction.dtype === "float64" ? scores() : cast(scores(), "float32");
      const losses = crossEntropy(wide, wanted, { reduction: "none", ignoreIndex: -1 });
      state.addSum("losses", weigh(cast(losses, "float64"), counts));
      state.addSum("counted", counts);
    },
    value: ({ losses, counted }) => Math.exp(losses![0]! / counted![0]!),
  });
}
