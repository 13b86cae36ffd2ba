import { GradientError } from "../native/errors.ts";
import { recordAll, recordedSteps } from "./autograd.ts";
import { throughOps } from "./backward.ts";
import type { Differentiable } from "./node.ts";
import { checkFunction } from "./options.ts";
import { inRegion, repeat, startOf } from "./repeat.ts";
import { returned } from "./returned.ts";
import { innermost, syncScope } from "./scope.ts";
import { sameShape } from "./shape.ts";

/**
 * fn(...inputs) without keeping what is computed on the way: backward() computes it again when it
 * gets there, as torch.utils.checkpoint. So a part of a network takes the memory of its inputs and
 * outputs alone until then, for the time of a second forward pass. Parameters that `fn` uses get
 * their gradients too.
 *
 * `fn` returns a tensor or several, and must do the same both times. It gets the same random
 * numbers, those of dropout() for instance, and the same autocast(); batchNorm() moves its running
 * statistics the first time only. What it reads must not change before backward(): parameters,
 * training mode, variables. All tensors that it makes but for its results are freed at its end.
 * Calls may be nested. `fn` must be synchronous.
 *
 * @throws {ArgumentError} when `fn` does not return tensors.
 * @throws {GradientError} in backward(), when `fn` returns other shapes or dtypes there.
 *
 * ```ts
 * import { checkpoint, nn, rand } from "@cudeno/cudeno";
 * const blocks = [1, 2, 3].map(() =>
 *   new nn.Sequential(new nn.Linear(8, 32), new nn.GELU(), new nn.Linear(32, 8))
 * );
 * let x = rand([4, 8]);
 * for (const block of blocks) x = checkpoint((x) => block.forward(x), x);
 * x.sum().backward(); // one block after the other runs again
 * console.log(blocks[0]!.parameters()[0]!.grad!.shape); // [32, 8]
 * ```
 */
export function checkpoint<
  In extends readonly unknown[],
  Out extends Differentiable | readonly [Differentiable, ...Differentiable[]] | Differentiable[],
>(fn: (...inputs: In) => Out, ...inputs: In): Out {
  checkFunction(op, "fn", fn);
  const start = startOf();
  const { single, outputs, taught, sources } = syncScope(() => {
    const first = recordedSteps();
    const made = inRegion(start, () => fn(...inputs));
    const list = returned(op, made);
    return {
      single: !Array.isArray(made),
      // Handles of their own, which know nothing of the steps that are let go of.
      outputs: list.map((x) => x.alias()),
      taught: list.map((x) => x.requiresGrad),
      sources: sourcesOf(list, first),
    };
  });
  const recorded = outputs.filter((_, i) => taught[i]);
  const computed = () => {
    const list = returned(op, repeat(start, () => fn(...inputs)));
    checkSame(list, outputs, taught);
    return list.filter((_, i) => taught[i]);
  };
  const gradientsOf = (...gradients: (Differentiable | undefined)[]) =>
    throughOps<Differentiable>(computed, sources, ...gradients);
  recordAll(recorded, op, sources, gradientsOf);
  return (single ? outputs[0] : outputs) as Out;
}

const op = "checkpoint";

// What needs a gradient and was not made in this scope: inputs, parameters, what was computed
// before.
function sourcesOf(outputs: readonly Differentiable[], first: number): Differentiable[] {
  const here = innermost();
  const seen = new Set<Differentiable>();
  const waiting = outputs.filter((x) => x.requiresGrad);
  const sources: Differentiable[] = [];
  for (let x = waiting.pop(); x; x = waiting.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (x.node && x.node.order >= first) {
      waiting.push(...x.node.inputs.filter((input) => input.requiresGrad));
    } else if (!x.disposed && x.owner !== here) sources.push(x);
  }
  return sources;
}

function checkSame(
  again: readonly Differentiable[],
  outputs: readonly Differentiable[],
  taught: readonly boolean[],
): void {
  const same = again.length === outputs.length &&
    again.every((x, i) =>
      sameShape(x.shape, outputs[i]!.shape) && x.dtype === outputs[i]!.dtype &&
      x.requiresGrad === taught[i]
    );
  if (same) return;
  throw new GradientError(
    `${op}: fn returned other tensors in backward() than before, by number, shape, dtype or need ` +
      "of gradients; what it goes by, such as training mode, must not change in between",
  );
}
