/** Files of weights, and NumPy's. */
export * from "./npy.ts";
export * from "./safetensors.ts";
