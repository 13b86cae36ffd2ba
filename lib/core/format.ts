// How values look in messages.

/** Whether a function is a class, which only `new` can call. */
export const isClass = (f: object): boolean => /^class\b/.test(Function.prototype.toString.call(f));

/**
 * What a value is, in the words of someone who writes TypeScript: `"0.1"`, `the class Linear`, `a
 * tensor of shape [2, 3]`, `a Promise, which wants await`. Runs no code of the value's own.
 */
export function formatValue(value: unknown, depth: number = 0): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
    case "bigint":
      return `${value}n`;
    case "function":
      return isClass(value) ? `the class ${value.name}` : `the function ${value.name}`.trimEnd();
    case "object":
      return value === null ? "null" : formatObject(value, depth);
    default:
      return String(value);
  }
}

function formatObject(value: object, depth: number): string {
  if (Array.isArray(value)) {
    return value.length <= 8 && depth < 3
      ? `[${value.map((item) => formatValue(item, depth + 1)).join(", ")}]`
      : `an array of ${value.length}`;
  }
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  if (name === undefined || name === "Object") {
    const keys = Object.keys(value);
    return keys.length === 0 ? "{}" : `{ ${keys.slice(0, 4).join(", ")}${keys[4] ? ", …" : ""} }`;
  }
  if (value instanceof Promise) return "a Promise, which wants await";
  if (name === "Tensor" && "shape" in value) return `a tensor of shape ${formatValue(value.shape)}`;
  return `${/^[AEIOU]/.test(`${name}`) ? "an" : "a"} ${name}`;
}

/**
 * The call that makes something, `Linear(784, 128, { bias: false })`; options that are undefined
 * are left out.
 */
export function formatCall(
  name: string,
  args: readonly unknown[],
  options: Readonly<Record<string, unknown>> = {},
): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}: ${formatValue(value)}`);
  const last = given.length === 0 ? [] : [`{ ${given.join(", ")} }`];
  return `${name}(${[...args.map((arg) => formatValue(arg)), ...last].join(", ")})`;
}

const EDGE = 3; // elements shown at each end of an axis that is not shown whole
const WHOLE = 1000; // elements of a tensor that is shown whole

/**
 * The elements of a tensor as nested brackets, as NumPy and PyTorch print them: numbers of one
 * width, rounded to 4 decimals, and of a large tensor only the ends of each axis. `read` gives
 * elements from a place on.
 */
export function formatElements(
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
