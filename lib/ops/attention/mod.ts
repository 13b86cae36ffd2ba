export * from "./attention.ts";
