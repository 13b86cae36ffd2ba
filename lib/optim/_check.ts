import { Optimizer } from "./optimizer.ts";
import { formatValue } from "../core/describe.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkNumber, refuse } from "../core/options.ts";

/** Throws unless each option named is a finite number, at least 0. */
export function checkRates<O extends object>(
  op: string,
  options: O,
  names: readonly (keyof O & string)[],
): void {
  for (const name of names) checkNumber(op, name, options[name] as number, 0);
}

/** Throws unless a share is in [0, 1). */
export function checkShare(op: string, name: string, value: number): void {
  if (typeof value !== "number" || !(value >= 0 && value < 1)) {
    throw new ArgumentError(
      `${op}: ${name} is ${formatValue(value)}; it must be a number from 0 to below 1`,
    );
  }
}

/** Throws unless `betas` are two shares in [0, 1). */
export function checkBetas(op: string, betas: readonly number[]): void {
  if (!Array.isArray(betas) || betas.length !== 2) {
    throw new ArgumentError(`${op}: betas is ${formatValue(betas)}; it must be two numbers`);
  }
  betas.forEach((beta, i) => checkShare(op, `betas[${i}]`, beta));
}

/** Throws unless x is an optimizer. */
export function checkOptimizer(op: string, x: unknown): asserts x is Optimizer {
  if (x instanceof Optimizer) return;
  refuse(op, "the optimizer", x, "one such as new optim.SGD(model.parameters(), { lr: 0.1 })");
}
