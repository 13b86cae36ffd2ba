export * from "./embedding.ts";
export * from "./gather.ts";
export * from "./gather_rows.ts";
export * from "./index_add.ts";
export * from "./index_select.ts";
export * from "./one_hot.ts";
export * from "./scatter_add.ts";
export { argsort, type Ordered, sort, type SortOptions } from "./sort.ts";
export * from "./topk.ts";
