import { formatValue } from "../../core/describe.ts";
import { checkShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { linearMap, planesOf } from "./_linear_map.ts";

/** The modes of pad() that repeat what is there. */
export type Border = "reflect" | "replicate" | "circular";

/** As the library numbers them, and how much they can add to an extent. */
export const borders: Record<Border, { code: number; most(extent: number): number }> = {
  reflect: { code: 0, most: (extent) => extent - 1 },
  replicate: { code: 1, most: (extent) => extent > 0 ? Infinity : 0 },
  circular: { code: 2, most: (extent) => extent },
};

/** x padded along its last two axes, by one kernel in either memory format. */
export function padBorder(
  x: Tensor,
  pads: readonly (readonly [before: number, after: number])[],
  mode: Border,
): Tensor {
  const op = "pad";
  checkDType(op, x, floats);
  const { code: rule, most } = borders[mode];
  const given = pads.findLastIndex((p, d) =>
    p.some((n) => n < 0 || (n > 0 && (d < x.rank - 2 || n > most(x.shape[d]!))))
  );
  if (given >= 0) {
    const pad = formatValue(pads[given]), extent = x.shape[given]!;
    if (given < x.rank - 2 || Math.min(...pads[given]!) < 0) {
      throw new ArgumentError(
        `${op}: the pads of axis ${given} are ${pad}; with mode ${mode} they must be at least 0, ` +
          "and 0 but for the last two axes",
      );
    }
    throw new ShapeError(
      `${op}: the pads of axis ${given} are ${pad}; with mode ${mode} its extent, ${extent}, ` +
        `allows at most ${most(extent)}`,
    );
  }
  if (pads.every(([before, after]) => before + after === 0)) return x;
  const shape = x.shape.map((extent, d) => extent + pads[d]![0] + pads[d]![1]);
  checkShape(op, shape);
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
