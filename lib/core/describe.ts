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
