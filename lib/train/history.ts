import { checkList, checkOptions } from "../core/options.ts";
import type { NestedNumbers } from "../create.ts";
import type { AxisOptions, Plot, PlotOptions } from "../plot/plot.ts";
import { curvesOf } from "./_curves.ts";

/** What metrics came to, by their names; one that gives a tensor as nested arrays. */
export type MetricResults = Record<string, NestedNumbers>;

/**
 * The figures of one epoch. Those of validation and accuracy are there when they were asked for.
 */
export interface EpochResult {
  /** Counted from 1. */
  epoch: number;
  /** The mean training loss over the epoch. */
  loss: number;
  /** The share of right answers in training, as they were given. */
  accuracy?: number | undefined;
  /** The other metrics in training. */
  metrics?: MetricResults | undefined;
  /** The learning rate of the last step, when a schedule changes it. */
  lr?: number | undefined;
  /** That of each group of parameters, with a LearningRateMonitor. */
  lrs?: number[] | undefined;
  /** The mean loss on the validation data after the epoch. */
  valLoss?: number | undefined;
  /** The share of right answers on the validation data after the epoch. */
  valAccuracy?: number | undefined;
  /** The other metrics on the validation data after the epoch. */
  valMetrics?: MetricResults | undefined;
  /** Seconds that training took, without validation. */
  seconds: number;
  /** Training samples a second. */
  samplesPerSecond: number;
}

/** Options of {@linkcode History.toSVG}. */
export interface CurvesOptions extends PlotOptions {
  /** The axis of the losses: `"linear"` (the default) or `"log"`. */
  yScale?: AxisOptions["yScale"];
}

/** A {@linkcode History} as JSON keeps it. */
export interface HistoryJson {
  /** The figures of each epoch; a number that JSON has not is a text, such as `"NaN"`. */
  epochs: unknown[];
  /** Each step's loss, the same way. */
  stepLosses: unknown[];
  /** Why training was stopped, if it was. */
  stopped?: string | undefined;
  /** How steps were done; not in older files. */
  path?: History["path"] | undefined;
  /** Why steps were not captured, if they were not. */
  notCaptured?: string | undefined;
}

/**
 * What training went through: an array of the epochs' figures, and each step's loss.
 *
 * ```ts
 * import { data, History, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const history = await trainer.fit(set, { epochs: 3, batchSize: 1, callbacks: [] });
 * console.log(history.length, history.stepLosses.length); // 3 6
 * const text = JSON.stringify(history);
 * console.log(History.fromJSON(JSON.parse(text)).at(-1)!.loss === history.at(-1)!.loss); // true
 * ```
 */
export class History extends Array<EpochResult> {
  /** The loss of each step of the optimizer: of its last batch, where it takes several. */
  readonly stepLosses: number[] = [];
  /** Why training ended before its last epoch, if it did. */
  stopped: string | undefined;
  /**
   * How steps were done, for the most part: by one call after another, by a captured one, or by a
   * kernel that takes many of them.
   */
  path: "eager" | "captured" | "persistent" = "eager";
  /** Why steps were not captured, if they were not. */
  notCaptured: string | undefined;

  /** An empty one. */
  constructor() {
    super();
  }

  /** map() and the like give plain arrays. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  /** The epochs' figures, as a plain array. */
  get epochs(): EpochResult[] {
    return Array.from(this);
  }

  /** For JSON.stringify(); fromJSON() is the way back. */
  toJSON(): HistoryJson {
    const { stopped, path, notCaptured } = this;
    const plain = { epochs: this.epochs, stepLosses: this.stepLosses };
    return {
      ...mapNumbers(plain, toText) as typeof plain,
      ...(stopped !== undefined && { stopped }),
      path,
      ...(notCaptured !== undefined && { notCaptured }),
    };
  }

  /**
   * The curves: loss, with each step's behind it, accuracy and every other figure, those of the
   * validation data beside those of training. A notebook shows them by itself.
   */
  toSVG(options: CurvesOptions = {}): Plot {
    return curvesOf(this, options);
  }

  // Names of methods have to be plain for an importer's isolatedDeclarations.
  static {
    Object.defineProperty(this.prototype, Symbol.for("Jupyter.display"), {
      value(this: History): Record<string, string> {
        const plain = `History of ${this.length} epochs, ${this.stepLosses.length} steps`;
        return { "image/svg+xml": `${this.toSVG()}`, "text/plain": plain };
      },
    });
  }

  /** What toJSON() gave. */
  static fromJSON(json: HistoryJson): History {
    const keys = ["epochs", "stepLosses", "stopped", "path", "notCaptured"];
    checkOptions("History.fromJSON", json, keys);
    const { epochs, stepLosses } = mapNumbers(json, fromText) as unknown as History;
    const isObject = (x: unknown) => typeof x === "object" && x !== null;
    checkList("History.fromJSON", "epochs", epochs, isObject, "figures of epochs");
    const isNumber = (x: unknown) => typeof x === "number";
    checkList("History.fromJSON", "stepLosses", stepLosses, isNumber, "numbers");
    const history = new History();
    for (const epoch of epochs) history.push(epoch);
    for (const loss of stepLosses) history.stepLosses.push(loss);
    history.stopped = json.stopped;
    history.path = json.path ?? "eager";
    history.notCaptured = json.notCaptured;
    return history;
  }
}

// JSON has neither NaN nor infinities.
const toText = (x: unknown) => typeof x === "number" && !Number.isFinite(x) ? String(x) : x;
const fromText = (x: unknown) =>
  x === "NaN" || x === "Infinity" || x === "-Infinity" ? Number(x) : x;

function mapNumbers(value: unknown, fn: (leaf: unknown) => unknown): unknown {
  if (Array.isArray(value)) return Array.from(value, (item) => mapNumbers(item, fn));
  if (typeof value !== "object" || value === null) return fn(value);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, mapNumbers(item, fn)]),
  );
}
