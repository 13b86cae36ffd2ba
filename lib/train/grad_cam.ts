import { withRecording } from "../core/autograd.ts";
import { grad } from "../core/backward.ts";
import { checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { full } from "../create.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { checkModule } from "../nn/_check.ts";
import { addHook } from "../nn/_hooks.ts";
import type { AnyModule, Module } from "../nn/module.ts";
import { where } from "../ops/elementwise/where.ts";
import { upsample } from "../ops/image/upsample.ts";
import { gather } from "../ops/index/gather.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/** Options of {@linkcode gradCam}. */
export interface GradCamOptions {
  /** The class to explain: one for all images, or int32 [n]. Default: the likeliest of each. */
  target?: number | Tensor | undefined;
}

/**
 * Where in images [n, channels, height, width] a model looks for a class: Grad-CAM (Selvaraju et
 * al. 2017). Of what a layer gives, A [n, k, u, v], and the class's score y before any softmax:
 * relu(sum over k of mean over u, v of dy/dA[k] · A[k]), made as large as the images (bilinear) and
 * divided by its greatest value: float32 [n, height, width] of 0..1, all 0 where nothing speaks for
 * the class. The layer is commonly the last convolution, or what follows on it.
 *
 * The model runs in evaluation mode and stays as it is, gradients too. Frozen ones will do.
 *
 * @throws {ArgumentError} when there is no such layer, or it does not run.
 * @throws {ShapeError} when the layer gives no images, or the model no scores [n, classes].
 *
 * ```ts
 * import { gradCam, models, nn, rand } from "@cudeno/cudeno";
 * const model = models.lenet5();
 * const convs = [...model.namedModules()].filter(([, part]) => part instanceof nn.Conv2d);
 * const map = gradCam(model, convs.at(-1)![0], rand([2, 1, 28, 28]), { target: 3 });
 * console.log(map.shape); // [2, 28, 28]
 * ```
 */
export function gradCam(
  model: Module,
  layer: string | AnyModule,
  input: Tensor,
  options: GradCamOptions = {},
): Tensor {
  const op = "gradCam";
  checkModule(op, "model", model);
  checkTensor(`${op}: input`, input);
  checkOptions(op, options, ["target"]);
  const modules = [...model.namedModules()];
  const [, module] = modules.find((entry) => entry.includes(layer)) ?? [];
  if (!module) {
    const names = modules.map(([name]) => name).filter(Boolean).join(", ");
    const found = typeof layer === "string" ? `no layer ${layer}` : "no such layer";
    throw new ArgumentError(`${op}: the model has ${found}; its layers are ${names}`);
  }
  const images = (what: string, x: Tensor) => {
    if (x.rank === 4) return;
    throw new ShapeError(
      `${op}: ${what} is ${formatShape(x.shape)}; it must be [n, channels, height, width]`,
    );
  };
  images("input", input);
  const modes = modules.map(([, part]) => [part, part.training] as const);
  return scope(() => {
    let seen: Tensor | undefined;
    // what follows is recorded from here on; what led here need not be
    using _hook = addHook(module, "after", (_module, _x, y) => {
      checkTensor(`${op}: what ${module.describe()} gives`, y);
      images(`what ${module.describe()} gives`, y);
      seen = y.detach();
      seen.requiresGrad = true;
      return seen;
    });
    try {
      model.eval();
      const scores = withRecording(true, () => model.forward(input.detach()));
      const { shape: [n, classes], rank } = scores;
      if (rank !== 2) {
        throw new ShapeError(
          `${op}: the model gives ${formatShape(scores.shape)}; it must give ` +
            "scores [n, classes]",
        );
      }
      if (!seen) throw new ArgumentError(`${op}: ${module.describe()} does not run in forward()`);
      const of = targets(op, options.target, scores.detach(), n!, classes!);
      const picked = withRecording(true, () => gather(scores, 1, of.unsqueeze(1)).sum());
      const [slope] = grad(picked, [seen]);
      const weights = slope!.to("float32").mean([2, 3], { keepDims: true });
      const map = weights.mul(seen.detach().to("float32")).sum(1, { keepDims: true }).relu();
      const size = [input.shape[2]!, input.shape[3]!] as const;
      const large = upsample(map, { size, mode: "bilinear" }).squeeze(1);
      const most = large.max([1, 2], { keepDims: true });
      return where(most.eq(0), 0, large.div(most));
    } finally {
      for (const [part, training] of modes) part.training = training;
    }
  });
}

function targets(
  op: string,
  target: number | Tensor | undefined,
  scores: Tensor,
  n: number,
  classes: number,
): Tensor {
  if (target === undefined) return scores.argmax(1);
  const { device } = scores;
  if (typeof target === "number") {
    if (Number.isInteger(target) && target >= 0 && target < classes) {
      return full([n], target, { dtype: "int32", device });
    }
    refuse(op, "target", target, `a class from 0 to ${classes - 1}, or int32 [n] of those`);
  }
  checkTensor(`${op}: target`, target);
  if (target.rank === 1 && target.size === n) return target;
  throw new ShapeError(`${op}: target is ${formatShape(target.shape)}; it must be [${n}]`);
}
