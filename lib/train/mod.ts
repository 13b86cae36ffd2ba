export type * from "./callbacks/callback.ts";
export * from "./callbacks/progress_bar.ts";
export * from "./feature_maps.ts";
export * from "./grad_cam.ts";
export * from "./gradcheck_model.ts";
export * from "./history.ts";
export * from "./lr_finder.ts";
export type * from "./options.ts";
export * from "./profile.ts";
export * from "./sweep/mod.ts";
export type { Owner, Phase } from "./_profile_recorder.ts";
export type { Peaks } from "./_profile_peaks.ts";
export * from "./trainer.ts";
/** Measures of predictions, for a Trainer and by themselves. */
export * as metrics from "./metrics/mod.ts";
/** What fit() calls as it goes: to stop, to save, to keep records; named as Keras's. */
export * as callbacks from "./callbacks/mod.ts";
