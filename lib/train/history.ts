import type { NestedNumbers } from "../create.ts";

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

/** What training went through, epoch by epoch. */
export type History = EpochResult[];
