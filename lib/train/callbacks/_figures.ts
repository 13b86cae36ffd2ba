// The figures of an epoch by one name each, and which of two is the better.
import { checkChoice, refuse } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { NestedNumbers } from "../../create.ts";
import type { EpochResult } from "../history.ts";
import type { EpochState } from "./callback.ts";
import type { MonitorOptions } from "./early_stopping.ts";

/** Throws for options that are given and neither true nor false. */
export function checkFlags<O extends object>(
  op: string,
  options: O,
  ...names: (keyof O & string)[]
): void {
  for (const name of names) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "boolean") refuse(op, name, value, "true or false");
  }
}

/** As `valF1` is of `f1`. */
export const ofValidation = (name: string): string =>
  `val${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/**
 * All figures of an epoch but its times; a metric's may be nested arrays. Of two with one name the
 * first is there.
 */
export function figuresOf(result: EpochResult): Record<string, NestedNumbers> {
  const { loss, accuracy, lr, lrs = [], valLoss, valAccuracy, metrics, valMetrics } = result;
  const entries: [string, NestedNumbers | undefined][] = [
    ...Object.entries({ loss, accuracy, lr: lr ?? lrs[0], valLoss, valAccuracy }),
    ...(lrs.length > 1 ? lrs.map((rate, i): [string, number] => [`lr${i}`, rate]) : []),
    ...Object.entries(metrics ?? {}),
    ...Object.entries(valMetrics ?? {}).map(([name, value]): [string, NestedNumbers] => [
      ofValidation(name),
      value,
    ]),
  ];
  const figures: Record<string, NestedNumbers> = {};
  for (const [name, value] of entries) {
    if (value !== undefined && !Object.hasOwn(figures, name)) figures[name] = value;
  }
  return figures;
}

function valueOf(name: string, result: EpochResult): NestedNumbers | undefined {
  const [, part, metric] = name.match(/^(metrics|valMetrics)\.(.+)$/) ?? [];
  return part ? result[part as "metrics" | "valMetrics"]?.[metric!] : figuresOf(result)[name];
}

/**
 * A figure that must be a number. Undefined in an epoch that has no validation where others have.
 *
 * @throws ArgumentError when there is no such figure, and says which there are.
 */
export function figureOf(
  op: string,
  name: string,
  result: EpochResult,
  state: Pick<EpochState, "validationEvery">,
): number | undefined {
  const value = valueOf(name, result);
  if (typeof value === "number") return value;
  if (value !== undefined) {
    throw new ArgumentError(`${op}: ${name} is not one number but an array of them`);
  }
  const ofOthers = name.startsWith("val");
  if (ofOthers && result.epoch % (state.validationEvery ?? 1) !== 0) return undefined;
  const hint = ofOthers && result.valLoss === undefined
    ? "; give fit() validation data, or name one of these"
    : "";
  throw new ArgumentError(
    `${op}: epoch ${result.epoch} has no figure ${JSON.stringify(name)}; it has ${
      Object.keys(figuresOf(result)).join(", ")
    }${hint}`,
  );
}

const more = /acc|precision|recall|f1|fbeta|auc|r2|top\w*k|top\d|iou|dice|bleu|psnr|ssim/i;
const less = /loss|error|perplexity|mse|mae|^lr/i;

/** A figure that is watched. */
export class Monitor {
  readonly #op: string;
  /** Its name. */
  readonly name: string;
  readonly #sign: 1 | -1;

  /** Checks the options; `op` is for messages. */
  constructor(op: string, { monitor = "valLoss", mode = "auto" }: MonitorOptions) {
    if (typeof monitor !== "string" || monitor === "") {
      refuse(op, "monitor", monitor, 'the name of a figure, such as "valLoss" or "valAccuracy"');
    }
    checkChoice(op, "mode", mode, { min: 1, max: 1, auto: 1 });
    this.#op = op;
    this.name = monitor;
    const bare = monitor.replace(/^(valM|m)etrics\./, "").replace(/^val/, "");
    if (mode === "auto" && less.test(bare) === more.test(bare)) {
      throw new ArgumentError(
        `${op}: whether more or less of ${JSON.stringify(monitor)} is better, its name does not ` +
          'say; give mode: "max" or mode: "min"',
      );
    }
    this.#sign = mode === "max" || (mode === "auto" && more.test(bare)) ? 1 : -1;
  }

  /** Its value in an epoch; see figureOf(). */
  read(result: EpochResult, state: EpochState): number | undefined {
    return figureOf(this.#op, this.name, result, state);
  }

  /** Its value in an epoch that is over, if it has one. */
  find(result: EpochResult): number | undefined {
    const value = valueOf(this.name, result);
    return typeof value === "number" ? value : undefined;
  }

  /** Whether a value is better than another by more than so much. NaN is better than nothing. */
  better(value: number, than: number | undefined, by = 0): boolean {
    if (Number.isNaN(value)) return false;
    return than === undefined || Number.isNaN(than) || this.#sign * (value - than) > by;
  }
}
