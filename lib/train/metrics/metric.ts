import type { NestedNumbers } from "../../create.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * A measure of predictions that is added up batch by batch: update() adds on the device and waits
 * for nothing, compute() reads what it comes to. Those of `metrics` are such, and so is any object
 * with these four.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const mae = metrics.mae();
 * mae.update(tensor([1, 2]), tensor([1, 4]));
 * mae.update(tensor([3]), tensor([4]));
 * console.log(await mae.compute()); // 1
 * mae.reset(); // frees what it holds
 * ```
 */
export interface Metric<R = NestedNumbers | Tensor> {
  /** Under which a Trainer notes it. */
  readonly name: string;
  /**
   * Adds a batch. A weight is of the targets' shape or [n], one a sample; what has weight 0 is left
   * out, whatever it is.
   */
  update(prediction: Tensor, target: Tensor, weight?: Tensor): void;
  /** What was added up since the start or reset(); waits for the device. */
  compute(): Promise<R>;
  /** Begins anew, and frees what it holds. */
  reset(): void;
  /** What was added so far, as JSON keeps it, for a checkpoint in the midst of an epoch. */
  state?(): Promise<unknown>;
  /** Goes on from what state() gave, on a device. */
  load?(state: unknown, device: Tensor["device"]): void;
}

/** An option of all metrics. */
export interface MetricOptions {
  /** Another name, where a Trainer has two of a kind. */
  name?: string | undefined;
}

/** Options of metrics of classes. */
export interface ClassMetricOptions extends MetricOptions {
  /** A class number that does not count. Default -100. */
  ignoreIndex?: number | undefined;
  /**
   * The axis of the scores that is of classes. Default: 1, or else the last, by the target's shape.
   */
  axis?: number | undefined;
}

/** Options of metrics of yes and no. */
export interface BinaryMetricOptions extends MetricOptions {
  /** Scores are logits: above 0 is a yes. Default false: probabilities, above 0.5. */
  logits?: boolean | undefined;
  /** Above which a score, of any kind, is a yes. */
  threshold?: number | undefined;
}
