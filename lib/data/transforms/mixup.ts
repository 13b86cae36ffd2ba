import { checkDType, floats, inFloat32 } from "../../ops/_operands.ts";
import { type BatchTransform, blend, mixing, type MixOptions } from "./_mixing.ts";

/**
 * Each sample of a batch mixed with the one before it, the first with the last: share * x + (1 -
 * share) * other, and so for targets, which become probabilities [n, classes]. The share is drawn
 * for a batch, by Beta(alpha, alpha). As Zhang et al. 2017, https://arxiv.org/abs/1710.09412, and
 * torchvision's MixUp. Inputs are floats [n, ...], targets class numbers [n] or probabilities [n,
 * classes]; crossEntropy() takes both. For {@linkcode map}; shuffle, as neighbours are mixed.
 *
 * @throws {ShapeError} when inputs and targets are not of as many samples.
 *
 * ```ts
 * import { data, rand, tensor } from "@cudeno/cudeno";
 * const labels = tensor([0, 2, 1, 2], { dtype: "int32" });
 * const photos = new data.TensorDataset(rand([4, 3, 8, 8]), labels);
 * const train = data.map(photos, data.transforms.mixup({ classes: 3, alpha: 0.2 }));
 * for (const { target } of new data.DataLoader(train, { batchSize: 4, shuffle: true })) {
 *   console.log(target.shape); // [4, 3]
 * }
 * ```
 */
export function mixup(options: MixOptions = {}): BatchTransform {
  return mixing("mixup", options, (x, other, share) => {
    checkDType("mixup", x, floats);
    return [inFloat32([x, other], (x, other) => blend(x, other, share)), share];
  });
}
