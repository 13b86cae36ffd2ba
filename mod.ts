/**
 * cudeno trains and runs neural networks on NVIDIA GPUs from Deno, and on the CPU with the same
 * program.
 *
 * ```ts
 * import { data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(
 *   tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
 *   tensor([0, 1, 1, 0], { dtype: "int32" }),
 * );
 * const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2));
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
 * const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
 * await trainer.fit(set, { epochs: 200, batchSize: 4, callbacks: [] });
 * console.log(trainer.predict(set.inputs).argmax(1).dataSync());
 * ```
 *
 * Examples import `@cudeno/cudeno`; in your project, one line of deno.json says where that is:
 *
 * ```json
 * { "imports": { "@cudeno/cudeno": "/path/to/cudeno/mod.ts" } }
 * ```
 *
 * @module
 */

export * from "./lib/capture.ts";
export * from "./lib/core/mod.ts";
export * from "./lib/create.ts";
export * from "./lib/doctor/mod.ts";
/** Data sets, loaders and data formats. */
export * as data from "./lib/data/mod.ts";
/** Files of weights. */
export * as io from "./lib/io/mod.ts";
/** Models ready to train. */
export * as models from "./lib/models/mod.ts";
export * from "./lib/native/errors.ts";
/** Layers, losses and models, named as in torch.nn. */
export * as nn from "./lib/nn/mod.ts";
/** Networks from ONNX files. */
export * as onnx from "./lib/onnx/mod.ts";
export * from "./lib/ops/attention/mod.ts";
export * from "./lib/ops/conv/mod.ts";
export * from "./lib/ops/elementwise/mod.ts";
export * from "./lib/ops/image/mod.ts";
export * from "./lib/ops/index/mod.ts";
export * from "./lib/ops/linalg/mod.ts";
export * from "./lib/ops/loss/mod.ts";
export * from "./lib/ops/norm/mod.ts";
export * from "./lib/ops/pool/mod.ts";
export * from "./lib/ops/random/mod.ts";
export * from "./lib/ops/recurrent/mod.ts";
export * from "./lib/ops/reduce/mod.ts";
export * from "./lib/ops/shape/mod.ts";
/** Optimizers, named as in torch.optim. */
export * as optim from "./lib/optim/mod.ts";
export * from "./lib/optim/clip_grad.ts";
/** Pictures as SVG: curves, points, bars, matrices, images. */
export * as plot from "./lib/plot/mod.ts";
export * from "./lib/randperm.ts";
export * from "./lib/tensor.ts";
export * from "./lib/text/mod.ts";
export * from "./lib/train/mod.ts";
export * from "./lib/types.ts";
