/**
 * What fit() calls as it goes: to stop, to save, to keep records; named as Keras's.
 *
 * @module
 */

export * from "./csv_logger.ts";
export * from "./early_stopping.ts";
export * from "./learning_rate_monitor.ts";
export * from "./model_checkpoint.ts";
export * from "./plot_curves.ts";
export * from "./progress_bar.ts";
export * from "./summary_writer.ts";
export * from "./tensor_board.ts";
export * from "./terminate_on_nan.ts";
