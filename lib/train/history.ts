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
  /** The learning rate of the last step, when a schedule changes it. */
  lr?: number | undefined;
  /** The mean loss on the validation data after the epoch. */
  valLoss?: number | undefined;
  /** The share of right answers on the validation data after the epoch. */
  valAccuracy?: number | undefined;
  /** Seconds that training took, without validation. */
  seconds: number;
  /** Training samples a second. */
  samplesPerSecond: number;
}

/** What training went through, epoch by epoch. */
export type History = EpochResult[];
