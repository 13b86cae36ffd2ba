/** What fit() calls as it goes: named as Keras's. */
export { CSVLogger, type CSVLoggerOptions } from "./csv_logger.ts";
export { EarlyStopping, type EarlyStoppingOptions } from "./early_stopping.ts";
export type { MonitorOptions } from "./_figures.ts";
export {
  LearningRateMonitor,
  type LearningRateMonitorOptions,
  type LearningRates,
} from "./learning_rate_monitor.ts";
export { ModelCheckpoint, type ModelCheckpointOptions } from "./model_checkpoint.ts";
export { ProgressBar, type ProgressBarOptions, type ProgressStream } from "./progress_bar.ts";
export { SummaryWriter } from "./summary_writer.ts";
export { TensorBoard, type TensorBoardOptions } from "./tensor_board.ts";
export { TerminateOnNaN, type TerminateOnNaNOptions } from "./terminate_on_nan.ts";
