export * from "./activations.ts";
export * from "./binary.ts";
export * from "./compare.ts";
export * from "./unary.ts";
export * from "./where.ts";
