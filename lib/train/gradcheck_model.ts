import { checkGradients, type GradcheckOptions } from "../core/gradcheck.ts";
import { repeat, startOf } from "../core/repeat.ts";
import { checkFunction } from "../core/options.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { checkModule } from "../nn/_check.ts";
import type { Loss } from "../nn/losses.ts";
import type { Module } from "../nn/module.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Checks the gradient of loss(model.forward(input), target) by every element of every parameter of
 * a model against central differences, as gradcheck() does for functions: a layer of one's own, or
 * one with a gradient of its own. For small models: it takes two forward passes an element. The
 * parameters must be float64, as after `new nn.Linear(2, 1, { dtype: "float64" })`.
 *
 * Each pass gets the same random numbers, and those that follow are as if nothing had been drawn;
 * batch normalisation keeps its running statistics. Parameters and their gradients are afterwards
 * what they were. Where the function has a kink nearby, at the 0 of a ReLU for instance,
 * differences are wrong.
 *
 * @throws {GradientError} when a derivative is wrong: names the parameter and the element.
 * @throws {DTypeError} when a parameter is not float64.
 * @throws {ShapeError} when the loss is not a single number.
 * @throws {ArgumentError} when the model has no parameters.
 *
 * ```ts
 * import { gradcheckModel, nn, rand, randint } from "@cudeno/cudeno";
 * const float64 = { dtype: "float64" } as const;
 * const model = new nn.Sequential(
 *   new nn.Linear(3, 4, float64),
 *   new nn.Dropout(0.2),
 *   new nn.Tanh(),
 *   new nn.Linear(4, 2, float64),
 * );
 * const [input, target] = [rand([5, 3], float64), randint(0, 2, [5])];
 * console.log(gradcheckModel(model, input, target, new nn.CrossEntropyLoss())); // true
 * ```
 */
export function gradcheckModel(
  model: Module,
  input: Tensor,
  target: Tensor,
  loss: Loss | Loss["forward"],
  options: GradcheckOptions = {},
): boolean {
  const op = "gradcheckModel";
  checkModule(op, "model", model);
  checkTensor(`${op}: input`, input);
  checkTensor(`${op}: target`, target);
  if (typeof loss !== "object" || loss === null) checkFunction(op, "loss", loss);
  const lossOf: Loss["forward"] = typeof loss === "function" ? loss : (x, y) => loss.forward(x, y);
  const named = [...model.namedParameters()];
  if (named.length === 0) throw new ArgumentError(`${op}: the model has no parameters to check`);
  const start = startOf();
  using given = input.detach(); // which gets no gradient
  const value = () =>
    repeat(start, () => {
      const y = lossOf(model.forward(given), target);
      checkTensor(`${op}: what loss returns`, y);
      if (y.size === 1) return y;
      throw new ShapeError(
        `${op}: the loss has ${y.size} elements; it must be a single number, such as their mean()`,
      );
    });
  const parameters = named.map(([, parameter]) => parameter);
  return checkGradients<Tensor>(op, value, parameters, options, (which) => named[which]![0]);
}
