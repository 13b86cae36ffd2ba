/**
 * Measures of predictions, added up batch by batch on the device.
 *
 * @module
 */

export * from "./accuracy.ts";
export * from "./binary_accuracy.ts";
export * from "./confusion_matrix.ts";
export type * from "./metric.ts";
export * from "./perplexity.ts";
export * from "./precision_recall.ts";
export * from "./r2.ts";
export * from "./regression.ts";
export * from "./roc_auc.ts";
export * from "./top_k.ts";
