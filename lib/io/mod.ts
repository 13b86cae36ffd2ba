/** Files of weights and of trainings, pictures, and NumPy's. */
export * from "./checkpoint.ts";
export * from "./encode_png.ts";
export * from "./image.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
export * from "./torch.ts";
