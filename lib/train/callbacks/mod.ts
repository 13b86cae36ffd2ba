/** What fit() calls as it goes: named as Keras's. */
export { ProgressBar, type ProgressBarOptions, type ProgressStream } from "./progress_bar.ts";
