/** Files of weights. */
export * from "./safetensors.ts";
