import type { Elements } from "./elements.ts";
import { formatShape } from "./shape.ts";

const EDGE = 3; // elements shown at each end of an axis that is not shown whole
const WHOLE = 1000; // elements of a tensor that is shown whole
const LINE = 80; // characters that the elements of a line take

/** What console.log shows of a tensor: what it is, and its elements. Reads those that it shows. */
export function printed(x: Elements): string {
  const what = ["Tensor", formatShape(x.shape), x.dtype, x.device];
  if (x.format !== "contiguous") what.push(x.format);
  if (x.node) what.push(`gradFn ${x.node.name}`);
  else if (x.requiresGrad) what.push("requiresGrad");
  if (x.disposed) return `${what.join(" ")}, disposed`;
  const whole = x.size <= WHOLE || x.format !== "contiguous" ? x.dataSync() : undefined;
  const elements = formatElements(x.shape, x.dtype.includes("float"), (offset, count) => {
    if (whole) return whole.subarray(offset, offset + count);
    const part = x.view(offset, [count]);
    try {
      return part.dataSync();
    } finally {
      part.dispose();
    }
  });
  return `${what.join(" ")}${elements.includes("\n") ? "\n" : " "}${elements}`;
}

// The elements of a tensor as nested brackets, as PyTorch prints them: numbers of one width,
// rounded to 4 decimals, and of a large tensor only the ends of each axis. `read` gives elements
// from a place on.
function formatElements(
  shape: readonly number[],
  float: boolean,
  read: (offset: number, count: number) => ArrayLike<number>,
): string {
  const size = shape.reduce((n, extent) => n * extent, 1);
  if (size === 0) return "[]";
  const cut = (extent: number) => size > WHOLE && extent > 2 * EDGE;
  const last = Math.max(shape.length - 1, 0);
  const walk = (row: (offset: number) => string, axis = 0, offset = 0, below = size): string => {
    if (axis === last) return row(offset);
    const extent = shape[axis]!;
    const inner = (i: number) => walk(row, axis + 1, offset + i * below / extent, below / extent);
    const parts = Array.from({ length: cut(extent) ? EDGE : extent }, (_, i) => inner(i));
    if (cut(extent)) parts.push("...", ...[3, 2, 1].map((i) => inner(extent - i)));
    return `[${parts.join(`,${"\n".repeat(last - axis)}${" ".repeat(axis + 1)}`)}]`;
  };
  const extent = shape[last] ?? 1;
  const numbers: number[] = [];
  walk((offset) => {
    const parts = cut(extent) ? [[0, EDGE], [extent - EDGE, EDGE]] : [[0, extent]];
    for (const [from, count] of parts) numbers.push(...Array.from(read(offset + from!, count!)));
    return "";
  });
  const texts = formatNumbers(numbers, float);
  if (shape.length === 0) return texts[0]!;
  const inLine = Math.max(1, Math.floor((LINE - last) / (texts[0]!.length + 2)));
  let taken = 0;
  return walk(() => {
    const cells = texts.slice(taken, taken += cut(extent) ? 2 * EDGE : extent);
    if (cut(extent)) cells.splice(EDGE, 0, " ...");
    const lines: string[] = [];
    while (cells.length > 0) lines.push(cells.splice(0, inLine).join(", "));
    return `[${lines.join(`,\n${" ".repeat(last + 1)}`)}]`;
  });
}

// Of one width: floats with 4 decimals, or none where all are whole, or with an exponent where
// their sizes are too different.
function formatNumbers(numbers: readonly number[], float: boolean): string[] {
  const sizes = numbers.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs);
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  const wide = sizes.length > 0 && (high > 1e8 || low < 1e-4 || high / low > 1000);
  const whole = sizes.every(Number.isInteger);
  const text = (x: number) => {
    if (!float || !Number.isFinite(x)) return `${x}`;
    const size = Math.abs(x), sign = x < 0 || Object.is(x, -0) ? "-" : "";
    if (!wide) return sign + (whole ? `${size}.` : toEven(size.toFixed(4), size.toFixed(40)));
    const exponential = toEven(size.toExponential(4), size.toExponential(60));
    return sign + exponential.replace(/(?<=e[+-])(?=\d$)/, "0");
  };
  const texts = numbers.map(text);
  const width = Math.max(...texts.map((one) => one.length));
  return texts.map((one) => one.padStart(width));
}

// `short`, but where `long` lies halfway between two with an even last digit, as others round.
function toEven(short: string, long: string): string {
  const [, even, exponent] = /^(\d+\.\d{3}[02468])50*(e.*)?$/.exec(long) ?? [];
  return even === undefined ? short : even + (exponent ?? "");
}
