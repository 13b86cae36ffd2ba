/** Files of weights, pictures, and NumPy's. */
export * from "./encode_png.ts";
export * from "./image.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
