/** Files of weights and of trainings, and NumPy's. */
export * from "./checkpoint.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
export * from "./torch.ts";
