// JSON that keeps every number: NaN, infinities, -0 and bigints are objects with one key, "$",
// which also stands before objects that have that key themselves.
import { formatValue } from "../core/describe.ts";
import { ArgumentError, DataError } from "../native/errors.ts";

const maxDepth = 500; // so that no stack overflows; what holds itself is deeper
const mark = "$";

/**
 * The text of a value: null, booleans, numbers, bigints, strings, arrays and plain objects of such.
 * Properties that are undefined are left out, as by JSON.stringify().
 *
 * @throws {ArgumentError} for anything else, which it names by its place.
 */
export function exactJson(op: string, name: string, value: unknown): string {
  return JSON.stringify(marked(value, name, 0));

  function marked(value: unknown, place: string, depth: number): unknown {
    if (depth > maxDepth) {
      throw new ArgumentError(
        `${op}: ${place.slice(0, 60)}… lies more than ${maxDepth} deep, or holds itself`,
      );
    }
    if (typeof value === "bigint") return { [mark]: `${value}n` };
    if (typeof value === "number") {
      const plain = Number.isFinite(value) && !Object.is(value, -0);
      return plain ? value : { [mark]: value === 0 ? "-0" : `${value}` };
    }
    if (value === null || typeof value === "boolean" || typeof value === "string") return value;
    if (Array.isArray(value)) {
      return Array.from(value, (item, i) => marked(item, `${place}[${i}]`, depth + 1));
    }
    if (!isPlain(value)) {
      const hint = ArrayBuffer.isView(value) ? "; give it as a tensor, or as an array" : "";
      throw new ArgumentError(
        `${op}: ${place} is ${formatValue(value)}; it must be null, a boolean, a number, a ` +
          `bigint, a string, or an array or plain object of those${hint}`,
      );
    }
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, marked(item, `${place}.${key}`, depth + 1)]);
    const object = Object.fromEntries(entries);
    return Object.hasOwn(object, mark) ? { [mark]: object } : object;
  }
}

function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The value of a text; throws a DataError where it is none that {@linkcode exactJson} writes. */
export function fromExactJson(title: string, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError(`${title} is not valid JSON`, { cause });
  }
  return plain(value, 0);

  function plain(value: unknown, depth: number): unknown {
    if (typeof value !== "object" || value === null) return value;
    if (depth > maxDepth * 2) throw new DataError(`${title} is nested too deep`);
    if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
    const held = Object.hasOwn(value, mark) ? (value as { $: unknown })[mark] : undefined;
    if (typeof held === "string") return numberOf(held);
    return Object.fromEntries(
      Object.entries(held ?? value).map(([key, item]) => [key, plain(item, depth + 1)]),
    );
  }

  function numberOf(text: string): unknown {
    if (/^-?\d+n$/.test(text)) return BigInt(text.slice(0, -1));
    if (/^(NaN|-?Infinity|-0)$/.test(text)) return Number(text);
    throw new DataError(`${title} has the number ${JSON.stringify(text.slice(0, 40))}`);
  }
}
