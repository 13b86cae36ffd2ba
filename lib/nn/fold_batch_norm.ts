import { keep, scope } from "../core/scope.ts";
import { noGrad } from "../core/autograd.ts";
import { full } from "../create.ts";
import type { Tensor } from "../tensor.ts";
import { isOfChain } from "./_fused.ts";
import { Identity } from "./activations.ts";
import { BatchNorm2d } from "./batch_norm.ts";
import { checkModule } from "./_check.ts";
import { Conv2d } from "./conv.ts";
import type { Module } from "./module.ts";
import { Sequential } from "./sequential.ts";

/**
 * Takes batch normalisation into the convolutions before it, for inference: wherever a Sequential
 * (the blocks of models.resnet18() and its like are such) has a BatchNorm2d directly after a
 * Conv2d, the convolution gets weights and a bias that do both, and an Identity stands in the
 * norm's place, so that the activation after it goes along with the convolution too. Changes the
 * model itself, as to() does, sets it to evaluation mode, and returns it. Optimizers that have its
 * parameters are of no use afterwards. As torch.nn.utils.fusion.fuse_conv_bn_eval.
 *
 * Left as they are: norms without running statistics, convolutions whose weight is used in several
 * places, and what is in a subclass of Sequential that has a forward() of its own.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU());
 * const y = nn.foldBatchNorm(model).forward(rand([1, 3, 8, 8])); // one operation
 * console.log(Object.keys(model.stateDict()), y.shape); // 0.weight, 0.bias; [1, 8, 6, 6]
 * ```
 */
export function foldBatchNorm<M extends Module>(model: M): M {
  checkModule("foldBatchNorm", "model", model);
  model.eval();
  const before = Object.values(model.stateDict());
  const uses = (x: Tensor) => before.filter((other) => other === x).length;
  try {
    for (const [, module] of model.namedModules()) {
      if (!(module instanceof Sequential && isOfChain(module))) continue;
      const entries = module.entries();
      entries.forEach(([name, norm], i) => {
        const conv = entries[i - 1]?.[1];
        if (!isNorm(norm) || !isConv(conv) || uses(conv.weight) > 1) return;
        fold(conv, norm);
        module.replace(name, new Identity().eval());
      });
    }
  } finally {
    const after = new Set(Object.values(model.stateDict()));
    for (const x of before) {
      if (after.has(x)) continue;
      x.grad?.dispose();
      x.dispose();
    }
  }
  return model;
}

// A subclass may compute in another way.
const isConv = (module: Module | undefined): module is Conv2d =>
  module?.forward === Conv2d.prototype.forward;
const isNorm = (module: Module): module is BatchNorm2d & { running_mean: Tensor } =>
  module instanceof BatchNorm2d && module.forward === BatchNorm2d.prototype.forward &&
  module.running_mean !== null;

// Rounded once, as computed in float64.
function fold(conv: Conv2d, { weight, bias, running_mean, running_var, eps }: BatchNorm2d): void {
  const [scaled, shifted] = noGrad(() =>
    scope(() => {
      const wide = (x: Tensor | null, missing: number) =>
        x?.to("float64") ??
          full(running_mean!.shape, missing, { dtype: "float64", device: running_mean!.device });
      const scale = wide(weight, 1).div(running_var!.to("float64").add(eps).sqrt());
      const shift = wide(conv.bias, 0).sub(wide(running_mean, 0)).mul(scale).add(wide(bias, 0));
      const { dtype } = conv.weight;
      return [
        conv.weight.to("float64").mul(scale.reshape([-1, 1, 1, 1])).to(dtype),
        shift.to(dtype),
      ];
    })
  ) as [Tensor, Tensor];
  conv.weight = keep(scaled);
  conv.bias = keep(shifted);
  for (const x of [conv.weight, conv.bias]) x.requiresGrad = true;
}
