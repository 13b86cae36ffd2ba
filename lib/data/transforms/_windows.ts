// Windows of images: where they lie in memory, in either format, and copies at random places. Every
// transform is a few launches on the whole batch, none of which reads anything back.
import { checkNoGradient } from "../../core/autograd.ts";
import { type MemoryFormat, writeLayout } from "../../core/layout.ts";
import { rand } from "../../create.ts";
import { call } from "../../native/call.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { checkImages } from "../../ops/image/_images.ts";
import { checkTensor } from "../../ops/_operands.ts";
import type { Tensor } from "../../tensor.ts";

/** Height and width, in pixels. */
export type Size = readonly [height: number, width: number];

/** n, channels, height and width of a batch; throws for what is none. */
export function sizesOf(op: string, x: Tensor): [number, number, number, number] {
  checkTensor(op, x);
  checkImages(op, x.shape);
  checkNoGradient(op, x);
  return x.shape as [number, number, number, number];
}

/** The axes of windows of n images within images of the size `whole`, outermost first in memory. */
export function windowsIn(
  [n, channels, height, width]: readonly [number, number, number, number],
  [rows, columns]: Size,
  format: MemoryFormat,
): { shape: number[]; strides: number[] } {
  const image = channels * rows * columns;
  return format === "channelsLast"
    ? { shape: [n, height, width * channels], strides: [image, columns * channels, 1] }
    : {
      shape: [n, channels, height, width],
      strides: [image, rows * columns, columns, 1],
    };
}

/** For each of n images a random whole number below `count`: int32 [n]. */
export function drawn(x: Tensor, n: number, count: number): Tensor {
  return cast(rand([n], { high: count, device: x.device }), "int32");
}

/**
 * Of each image a window of a size at a random place: of n images, or n times of a single one. The
 * place comes as an index into all pixels, which the strides of the window turn into copies of
 * whole lines.
 */
export function randomWindows(x: Tensor, n: number, [height, width]: Size): Tensor {
  const [images, channels, rows, columns] = x.shape as [number, number, number, number];
  const [below, beside] = [rows - height + 1, columns - width + 1];
  const draw = drawn(x, n, below * beside);
  // row * columns + column, of draw = row * beside + column
  const first = below === 1 || width === 1
    ? draw
    : draw.add(draw.floorDivide(beside).mul(columns - beside));
  const { format } = x;
  const y = x.make([n, channels, height, width], x.dtype, format);
  const window = windowsIn([n, channels, height, width], [rows, columns], format);
  if (images === 1) window.strides[0] = 0;
  call(
    "cdn_gather",
    y.stored(format),
    x.stored(format),
    first,
    writeLayout(window.shape, window.strides, [1, 0, 0, 0].slice(0, window.shape.length)),
    window.shape.length,
    (below - 1) * columns + beside,
    format === "channelsLast" ? channels : 1,
    x.code,
  );
  return y;
}

/** x in the middle of larger images, at `first`, with `value` around it; in its format. */
export function framed(x: Tensor, whole: Size, first: Size, value: number): Tensor {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const { format } = x;
  const y = x.make([n, channels, ...whole], x.dtype, format).fill(value);
  const { shape, strides } = windowsIn([n, channels, height, width], whole, format);
  const offset = (first[0] * whole[1] + first[1]) * (format === "channelsLast" ? channels : 1);
  const layout = writeLayout(shape, strides);
  layout[2 * shape.length] = BigInt(offset);
  call("cdn_strided_write", y.stored(format), x.stored(format), layout, shape.length, 0, x.code);
  return y;
}
