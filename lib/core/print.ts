import type { Elements } from "./elements.ts";
import { formatShape } from "./shape.ts";

const EDGE = 3; // elements shown at each end of an axis that is not shown whole
const WHOLE = 1000; // elements of a tensor that is shown whole

/** What console.log shows of a tensor: what it is, and its elements. Reads those that it shows. */
export function printed(x: Elements): string {
  const format = x.format === "contiguous" ? "" : ` ${x.format}`;
  const what = `Tensor ${formatShape(x.shape)} ${x.dtype} ${x.device}${format}`;
  if (x.disposed) return `${what}, disposed`;
  const elements = formatElements(x.shape, (offset, count) => {
    if (count === x.size || format) return x.dataSync().subarray(offset, offset + count);
    const part = x.view(offset, [count]);
    try {
      return part.dataSync();
    } finally {
      part.dispose();
    }
  });
  return `${what}${elements.includes("\n") ? "\n" : " "}${elements}`;
}

// The elements of a tensor as nested brackets, as NumPy and PyTorch print them: numbers of one
// width, rounded to 4 decimals, and of a large tensor only the ends of each axis. `read` gives
// elements from a place on.
function formatElements(
  shape: readonly number[],
  read: (offset: number, count: number) => ArrayLike<number>,
): string {
  const size = shape.reduce((n, extent) => n * extent, 1);
  const edge = size <= WHOLE ? Infinity : shape.length <= 3 ? EDGE : 1;
  const all = edge === Infinity ? read(0, size) : undefined;
  const numbers: number[] = [];
  // Rows of places in `numbers`; null stands for what is left out.
  type Shown = number | null | Shown[];
  const visit = (axis: number, offset: number, below: number): Shown => {
    if (axis === shape.length) {
      return numbers.push((all ?? read(offset, 1))[all ? offset : 0]!) - 1;
    }
    const extent = shape[axis]!;
    const step = below / Math.max(extent, 1);
    const places = extent <= 2 * edge
      ? Array.from({ length: extent }, (_, i) => i)
      : Array.from({ length: 2 * edge + 1 }, (_, i) =>
        i === edge ? -1 : i < edge ? i : extent - 2 * edge - 1 + i);
    return places.map((i) => i < 0 ? null : visit(axis + 1, offset + i * step, step));
  };
  const shown = visit(0, 0, size);
  const texts = formatNumbers(numbers);
  const print = (item: Shown, depth: number): string => {
    if (item === null) return "…";
    if (typeof item === "number") return texts[item]!;
    const inner = shape.length - depth - 1; // axes below
    const between = inner === 0 ? ", " : `,${"\n".repeat(inner)}${" ".repeat(depth + 1)}`;
    return `[${item.map((one) => print(one, depth + 1)).join(between)}]`;
  };
  return print(shown, 0);
}

// Of one width: whole where all are, else with 4 decimals, or with an exponent where their sizes
// are too different.
function formatNumbers(numbers: readonly number[]): string[] {
  const sizes = numbers.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs);
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  const whole = sizes.every(Number.isInteger);
  const wide = sizes.length > 0 && (high >= 1e8 || (!whole && (low < 1e-4 || high / low > 1000)));
  const text = (x: number) =>
    !Number.isFinite(x) || (whole && !wide) ? `${x}` : wide ? x.toExponential(4) : x.toFixed(4);
  const texts = numbers.map(text);
  const width = Math.max(...texts.map((one) => one.length));
  return texts.map((one) => one.padStart(width));
}
