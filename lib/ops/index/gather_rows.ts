import { checkNoGradient } from "../../core/autograd.ts";
import { type DType, dtypeInfo, isFloat } from "../../core/dtype.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { formatShape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, DTypeError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice, checkTensor } from "../_operands.ts";

/** Options of {@linkcode gatherRows}. */
export interface GatherRowsOptions {
  /** The dtype of the result; default that of x. A uint8 x may become any number. */
  dtype?: DType | undefined;
  /** Multiplies each element; default 1. Floats only. */
  scale?: number | undefined;
  /** Is added after scaling; default 0. Floats only. */
  shift?: number | undefined;
}

/**
 * y[i] = x[index[i]] * scale + shift: the entries of x [rows, ...] that an int32 index [n] names,
 * as [n, ...]. Turns a batch of uint8 images into normalised floats in one pass. No gradient. An
 * index out of range is found on the device and reported by the next read or synchronize().
 *
 * ```ts
 * import { gatherRows, tensor } from "@cudeno/cudeno";
 * const images = tensor(new Uint8Array(4 * 784), { shape: [4, 784] });
 * const index = tensor([3, 1], { dtype: "int32" });
 * console.log(gatherRows(images, index, { dtype: "float32", scale: 1 / 255 }).shape); // [2, 784]
 * ```
 */
export function gatherRows(x: Tensor, index: Tensor, options: GatherRowsOptions = {}): Tensor {
  checkOptions("gatherRows", options, ["dtype", "scale", "shift"]);
  checkTensor("gatherRows", x);
  const { dtype = x.dtype, scale = 1, shift = 0 } = options;
  const code = dtypeInfo(dtype).code;
  checkNumber("gatherRows", "scale", scale);
  checkNumber("gatherRows", "shift", shift);
  checkNoGradient("gatherRows", x);
  checkSameDevice("gatherRows", x, index);
  checkDType("gatherRows: index", index, ["int32"]);
  if (x.rank === 0 || index.rank !== 1) {
    throw new ShapeError(
      `gatherRows: x is ${formatShape(x.shape)}, index ${formatShape(index.shape)}; ` +
        "x must have rows, and index one axis",
    );
  }
  if (!isFloat(dtype) && (scale !== 1 || shift !== 0)) {
    throw new ArgumentError(`gatherRows: ${dtype} is not scaled; leave out scale and shift`);
  }
  if (dtype !== x.dtype && x.dtype !== "uint8") {
    throw new DTypeError(`gatherRows: only uint8 is converted on the way; x is ${x.dtype}`);
  }
  const rest = x.shape.slice(1);
  const y = x.make([index.size, ...rest], dtype);
  call(
    "cdn_gather_rows",
    y,
    x,
    index,
    index.size,
    sizeOf(rest),
    x.shape[0]!,
    scale,
    shift,
    code,
    x.code,
  );
  return y;
}
