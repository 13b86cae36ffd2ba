import { checkList } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import type { Transform } from "./transform.ts";

/**
 * Transforms one after another. As torchvision's Compose.
 *
 * ```ts
 * import { data, rand } from "@cudeno/cudeno";
 * const { compose, cutout, randomCrop, randomHorizontalFlip } = data.transforms;
 * const augment = compose([randomCrop(32, { padding: 4 }), randomHorizontalFlip(), cutout(8)]);
 * console.log(augment(rand([8, 3, 32, 32])).shape); // [8, 3, 32, 32]
 * ```
 */
export function compose(transforms: readonly Transform[]): Transform {
  const wanted = "functions from images to images, such as randomHorizontalFlip()";
  checkList("compose", "transforms", transforms, (f) => typeof f === "function", wanted);
  const list = [...transforms];
  return (images) => scope(() => list.reduce((x, transform) => transform(x), images));
}
