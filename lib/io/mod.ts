/** Files of weights. */
export {
  fromSafetensors,
  type LoadOptions,
  loadSafetensors,
  type SaveOptions,
  saveSafetensors,
  toSafetensors,
} from "./safetensors.ts";
