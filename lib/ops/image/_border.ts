import { formatValue } from "../../core/describe.ts";
import { isFloat } from "../../core/dtype.ts";
import { checkShape, sameShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { indexOf } from "../index/_scatter.ts";
import { indexSelect } from "../index/index_select.ts";
import { linearMap, planesOf } from "./_linear_map.ts";

/** The modes of pad() that repeat what is there. */
export type Border = "reflect" | "replicate" | "circular";

/** As the library numbers them, how much they can add to an extent, and which place is at i. */
export const borders: Record<
  Border,
  { code: number; most(extent: number): number; place(i: number, extent: number): number }
> = {
  reflect: {
    code: 0,
    most: (extent) => extent - 1,
    place: (i, extent) => i < extent ? Math.abs(i) : 2 * (extent - 1) - i,
  },
  replicate: {
    code: 1,
    most: (extent) => extent > 0 ? Infinity : 0,
    place: (i, extent) => Math.min(Math.max(i, 0), extent - 1),
  },
  circular: { code: 2, most: (extent) => extent, place: (i, extent) => (i + extent) % extent },
};

/**
 * x padded: floats along the last two axes by one kernel in either memory format, all else slice by
 * slice.
 */
export function padBorder(
  x: Tensor,
  pads: readonly (readonly [before: number, after: number])[],
  mode: Border,
): Tensor {
  const op = "pad";
  const { code: rule, most, place } = borders[mode];
  const given = pads.findLastIndex((p, d) =>
    p.some((n) => n < 0 || (n > 0 && n > most(x.shape[d]!)))
  );
  if (given >= 0) {
    const pad = formatValue(pads[given]), extent = x.shape[given]!;
    if (Math.min(...pads[given]!) < 0) {
      throw new ArgumentError(
        `${op}: the pads of axis ${given} are ${pad}; with mode ${mode} they must be at least 0`,
      );
    }
    throw new ShapeError(
      `${op}: the pads of axis ${given} are ${pad}; with mode ${mode} its extent, ${extent}, ` +
        `allows at most ${most(extent)}`,
    );
  }
  const whole = x.shape.map((extent, d) => extent + pads[d]![0] + pads[d]![1]);
  checkShape(op, whole);
  const planes = isFloat(x.dtype) ? 2 : 0;
  for (let d = 0; d < x.rank - planes; d++) {
    const extent = x.shape[d]!, [before] = pads[d]!;
    if (whole[d] === extent) continue;
    const places = Array.from({ length: whole[d]! }, (_, i) => place(i - before, extent));
    x = indexSelect(x, d, indexOf(x, places));
  }
  if (sameShape(x.shape, whole)) return x;
  const shape = whole;
  const { outer, height, width, inner } = planesOf(x);
  const sizes = [outer, height, width, inner, ...(pads.at(-2) ?? [0, 0]), ...pads.at(-1)!] as const;
  const { code } = x;
  return linearMap(
    op,
    x,
    shape,
    x.format,
    (y, x) => calls.cdn_pad_image(y, x, ...sizes, rule, code),
    (dx, dy) => calls.cdn_pad_image_grad(dx, dy, ...sizes, rule, code),
  );
}
