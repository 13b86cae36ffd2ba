import { noGrad } from "../../core/autograd.ts";
import { refuse } from "../../core/options.ts";
import { syncScope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import { checkDType, checkSameDevice, floats, numbers } from "../../ops/_operands.ts";
import type { Tensor } from "../../tensor.ts";
import type { Metric } from "./metric.ts";
import { type Numbers, type SavedState, State } from "./_state.ts";

/** How a metric is added up, and what it comes to. */
export interface Recipe<R> {
  /** Adds a batch; a sum named `counted` is of what counts. */
  add(state: State, prediction: Tensor, target: Tensor, weight?: Tensor): void;
  /** The value of what was read. */
  value(read: Numbers, state: State): R;
  /** Made on the device of the state, to be read with it. */
  more?(state: State): Record<string, Tensor>;
}

// What spoils a metric, as the sums of that name count it.
const faults: Record<string, string> = {
  nan: "scores that are NaN",
  outside: "scores outside of 0..1; for logits, write { logits: true }",
  unknown: "numbers that are no class; give one that is not to count as ignoreIndex",
  unsure: "targets that are neither 0 nor 1",
};

/** A metric made of a recipe. */
export function accumulator<R>(op: string, name: string = op, recipe: Recipe<R>): Metric<R> {
  if (typeof name !== "string" || name === "") refuse(op, "name", name, "a name");
  const state = new State(op);
  return {
    name,
    update(prediction, target, weight) {
      checkDType(`${op}: prediction`, prediction, [...numbers, "uint8"]);
      checkDType(`${op}: target`, target, [...numbers, "uint8"]);
      checkSameDevice(op, prediction, target, ...weight ? [weight] : []);
      if (weight) checkDType(`${op}: weight`, weight, floats);
      if (prediction.size === 0 || target.size === 0) {
        throw new ShapeError(
          `${op}: the prediction is ${formatShape(prediction.shape)}, the target ` +
            `${formatShape(target.shape)}; an empty batch has no value: leave it out`,
        );
      }
      noGrad(() =>
        syncScope(() => state.batch(() => recipe.add(state, prediction, target, weight)))
      );
    },
    async compute() {
      const more = noGrad(() => syncScope(() => recipe.more?.(state) ?? {}));
      const read = await state.read(more).finally(() => {
        for (const x of Object.values(more)) x.dispose();
      });
      for (const [fault, what] of Object.entries(faults)) {
        const [count = 0] = read[fault] ?? [];
        if (count > 0) throw new ArgumentError(`${op}: found ${count} ${what}`);
      }
      if (!read["counted"]?.some((count) => count !== 0)) {
        throw new ArgumentError(`${op}: nothing was counted; call update() before compute()`);
      }
      return recipe.value(read, state);
    },
    reset: () => state.clear(),
    state: () => state.save(),
    load: (saved, device) => state.load(saved as SavedState, device),
  };
}
