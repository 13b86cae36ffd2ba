import { readExternal, tensorsOf } from "./_external.ts";
import { type Source, sourceOf } from "../io/_source.ts";
import { OnnxModel, type OnnxOptions } from "./model.ts";
import { decodeMessage } from "./_wire.ts";

/**
 * Reads an ONNX model: from a path or `file:` URL, which takes --allow-read, bytes, or a stream of
 * them. Opsets 7 to 23 are understood, and those before where operators meant the same. All that
 * does not depend on inputs is computed at once.
 *
 * Weights in files beside it (external data) are read where the model is given by a path; they must
 * lie in its folder.
 *
 * @throws {DataError} when the file is missing, damaged, or of an opset that is not understood.
 * @throws {MissingOperatorError} when operators are missing: it lists all.
 *
 * ```ts
 * import { onnx } from "@cudeno/cudeno";
 * try {
 *   using model = await onnx.load("yolov8n.onnx");
 *   console.log(model.summary());
 * } catch (error) {
 *   console.log((error as Error).message); // yolov8n.onnx is missing
 * }
 * ```
 */
export async function load(source: Source, options: OnnxOptions = {}): Promise<OnnxModel> {
  const { name, bytes } = await sourceOf("onnx.load", source);
  const proto = decodeMessage("Model", bytes, name);
  const onDisk = typeof source === "string" || source instanceof URL;
  if (proto.graph) await readExternal(tensorsOf(proto.graph), onDisk ? name : undefined, name);
  return new OnnxModel(proto, name, options);
}
