import { CapturedStep } from "./_captured_step.ts";
import { checkFunction, checkInteger } from "./core/options.ts";
import { scope } from "./core/scope.ts";
import { ArgumentError } from "./native/errors.ts";

/** A step that {@linkcode capture} made; call it as the function. */
export interface Captured<In extends readonly unknown[], Out> extends Disposable {
  /** Does the step. What it returns is written to again by the next call; clone() it to keep it. */
  (...inputs: In): Out;
  /**
   * Does it so many times, with the inputs of the last call, in as few launches as it takes. What
   * the last call returned has the newest numbers then.
   */
  repeat(times: number): void;
  /** Whether it has been captured; until then calls run the function. */
  readonly captured: boolean;
  /** Frees its memory. */
  dispose(): void;
}

/**
 * A function that does a whole step on the device (forward, backward, the optimizer's step) as one
 * launch: a CUDA graph on a GPU, one native call on the CPU. The first calls, two to four, run `fn`
 * and note what it does; once two did the same, later calls repeat that without running any
 * JavaScript of `fn`. They give the same numbers, bit for bit.
 *
 * - Tensors that are passed are copied to where the step reads them; they must keep their shapes.
 *   Parameters, which need gradients, are used as they are.
 * - Learning rates, the step counts of optimizers, the scale of a GradScaler and random numbers
 *   (dropout, rand()) move on as they would. Call a schedule's step() after each call, not within.
 * - All else that JavaScript decides must be the same each time. What is found to differ between
 *   two runs is an error that names the operation: a number, a shape, `Math.random()`, another
 *   order. So is what would wait for the device: item(), data().
 * - A state that goes on must stay in its place: `h.copyFrom(next)`, not `h = next`.
 *
 * ```ts
 * import { capture, nn, optim, rand, randint, type Tensor } from "@cudeno/cudeno";
 * const model = new nn.Linear(8, 3);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const lossOf = new nn.CrossEntropyLoss();
 * const step = capture((x: Tensor, y: Tensor) => {
 *   optimizer.zeroGrad();
 *   const loss = lossOf.forward(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 * for (let i = 0; i < 10; i++) {
 *   using loss = step(rand([4, 8]), randint(0, 3, [4]));
 *   if (i === 9) console.log(step.captured, loss.itemSync() > 0); // true true
 * }
 * step.dispose();
 * ```
 *
 * @throws {ArgumentError} when a call cannot be captured or repeated, with what to do.
 */
export function capture<In extends readonly unknown[], Out>(
  fn: (...inputs: In) => Out,
): Captured<In, Out> {
  checkFunction("capture", "fn", fn);
  const step = new CapturedStep(fn);
  const run = (...inputs: In): Out => step.run(...inputs);
  return Object.defineProperties(run, {
    captured: { get: () => step.captured },
    repeat: {
      value(times: number) {
        checkInteger("capture", "times", times, 0);
        const { inputs } = step;
        if (!inputs) throw new ArgumentError("capture: call the step before repeat()");
        for (let left = times; left > 0;) {
          const done = step.repeat(left, Infinity);
          if (done === 0) scope(() => void step.run(...inputs));
          left -= Math.max(done, 1);
        }
      },
    },
    dispose: { value: () => step[Symbol.dispose]() },
    [Symbol.dispose]: { value: () => step[Symbol.dispose]() },
  }) as unknown as Captured<In, Out>;
}
