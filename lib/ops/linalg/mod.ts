export * from "./einsum.ts";
export * from "./linear.ts";
export * from "./matmul.ts";
