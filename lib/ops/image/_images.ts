import { formatShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";

/** Throws unless a shape is that of images, [n, channels, height, width]. */
export function checkImages(op: string, shape: Shape): void {
  if (shape.length === 4) return;
  throw new ShapeError(
    `${op}: x is ${formatShape(shape)}; it must be [n, channels, height, width]`,
  );
}
