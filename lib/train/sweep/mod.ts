export type { SweepParams, SweepRange, SweepSpace } from "./space.ts";
export * from "./sweep.ts";
export * from "./sweep_result.ts";
