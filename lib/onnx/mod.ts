/**
 * ONNX files: networks of other frameworks, run by cudeno's operations.
 *
 * ```ts
 * import { onnx, zeros } from "@cudeno/cudeno";
 * try {
 *   using model = await onnx.load("resnet18.onnx");
 *   console.log(model.inputs, model.run(zeros([1, 3, 224, 224])));
 * } catch (error) {
 *   console.log((error as Error).message); // resnet18.onnx is missing
 * }
 * ```
 *
 * @module
 */

export type { ElementType, HostData } from "./_elements.ts";
export type { Attribute, Graph, GraphNode, GraphValue } from "./graph.ts";
export type { StoredTensor } from "./_tensor_proto.ts";
export * from "./check.ts";
export * from "./load.ts";
export * from "./model.ts";
export * from "./missing.ts";
export * from "./export/save.ts";
