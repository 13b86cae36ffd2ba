// What of the core is public.
export { autocast, type AutocastDType } from "./autocast.ts";
export { noGrad } from "./autograd.ts";
export {
  type Backend,
  type DeviceInfo,
  type DeviceName,
  devices,
  init,
  type InitOptions,
  synchronize,
} from "./backend.ts";
export { grad, type GradOptions } from "./backward.ts";
export { checkpoint } from "./checkpoint.ts";
export { customGradient, type CustomGradientStep, type ListOf } from "./custom_gradient.ts";
export { deviceTime, type DeviceTimeOptions } from "./device_time.ts";
export type { DataOf, DType } from "./dtype.ts";
export { gradcheck, type GradcheckOptions } from "./gradcheck.ts";
export { emptyCache, memory, type MemoryInfo, resetPeakMemory } from "./memory.ts";
export { getMatmulPrecision, type MatmulPrecision, setMatmulPrecision } from "./precision.ts";
export { manualSeed } from "./random.ts";
export { keep, type Owned, scope } from "./scope.ts";
export type { Shape } from "./shape.ts";
export type { Memory } from "./elements.ts";
export type { TensorBase } from "./tensor.ts";
export type { BackwardOptions, Differentiable, FusedActivation, Gate, Node, Step } from "./node.ts";
export type { MemoryFormat } from "./layout.ts";
