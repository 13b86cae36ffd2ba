export * from "./avg_pool.ts";
export * from "./max_pool.ts";
