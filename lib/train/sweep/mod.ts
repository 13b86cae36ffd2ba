export type { SweepParams, SweepRange, SweepSpace, SweepValue } from "./space.ts";
export * from "./sweep.ts";
export * from "./sweep_result.ts";
