// Numbers, and where they lie on an axis.
import { refuse } from "../core/options.ts";
import { Tensor } from "../tensor.ts";

/** Numbers to draw: an array, a typed array, or a tensor, which is read. */
export type Numbers = ArrayLike<number> | Tensor;
/** A place, in pixels. */
export type Point = [x: number, y: number];
/** From a value to a place, in pixels. */
export type At = (value: number) => number;
/** The part of an axis that is shown, in decades where it is logarithmic. */
export interface Span {
  low: number;
  high: number;
  log: boolean;
  /** Names at whole numbers, in place of ticks. */
  names?: readonly string[];
  /** Whether there is nothing between whole numbers, such as counts. */
  whole?: boolean;
}

/** Whether values are numbers, not an object of such. */
export const isNumbers = (values: unknown): values is Numbers =>
  values instanceof Tensor || Array.isArray(values) || ArrayBuffer.isView(values);

/** The numbers themselves. */
export function numbersOf(op: string, name: string, values: Numbers): ArrayLike<number> {
  if (values instanceof Tensor) return values.dataSync();
  if (!Array.isArray(values) && !(ArrayBuffer.isView(values) && "length" in values)) {
    refuse(op, name, values, "an array of numbers or a tensor");
  }
  return values;
}

/** Rows of as many columns each: a tensor [rows, columns], or arrays. */
export type Table = Tensor | readonly (readonly number[])[];

/** The numbers of a table one row after another, where it has so many columns. */
export function tableOf(op: string, name: string, table: Table, columns: number): number[] {
  const rows = table instanceof Tensor || Array.isArray(table) ? table : [];
  const fits = rows instanceof Tensor
    ? rows.rank === 2 && rows.shape[1] === columns
    : rows === table && rows.every((row) => row?.length === columns);
  if (!fits) refuse(op, name, table, `a tensor [n, ${columns}] or rows of ${columns} numbers`);
  return rows instanceof Tensor ? Array.from(rows.dataSync(), Number) : rows.flat();
}

/** Whether a number has a place on an axis; others leave a gap. */
export const usable = (x: unknown, log: boolean = false): x is number =>
  typeof x === "number" && Math.abs(x) < 1e300 && (!log || x > 1e-300);

/** What holds all numbers that are usable, and a share of its length more on both sides. */
export function spanOf(lists: Iterable<ArrayLike<number>>, log = false, margin = 0.04): Span {
  let low = Infinity, high = -Infinity;
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      const x = list[i];
      if (!usable(x, log)) continue;
      if (x < low) low = x;
      if (x > high) high = x;
    }
  }
  if (low > high) [low, high] = log ? [1, 10] : [0, 1];
  if (log) [low, high] = [Math.log10(low), Math.log10(high)];
  const size = Math.max(Math.abs(low), Math.abs(high));
  // too close together for ticks of their own
  if (high - low <= Math.max(size * 1e-9, 1e-290)) {
    const room = log || size < 1e-280 ? 0.5 : size / 10;
    return { low: low - room, high: high + room, log };
  }
  const room = margin * (high - low);
  return { low: low - room, high: high + room, log };
}

/** An axis on which whole numbers from 0 on have names. */
export const namesOf = (names: readonly string[]): Span => ({
  ...{ low: -0.5, high: Math.max(names.length, 1) - 0.5, log: false, names },
});

/** From values to pixels between two places. */
export function scaleOf({ low, high, log }: Span, from: number, to: number): At {
  const factor = (to - from) / (high - low);
  return (x) => from + ((log ? Math.log10(x) : x) - low) * factor;
}

/** About so many multiples of 1, 2 or 5 times a power of ten; where it can be, two at least. */
export function niceTicks(low: number, high: number, count: number, whole = false): number[] {
  const least = Math.max((high - low) / count, whole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= least * (1 - 1e-9))!;
  const ticks: number[] = [];
  const last = Math.floor(high / step + 1e-9);
  for (let k = Math.ceil(low / step - 1e-9); k <= last; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks.length < 2 && count < 8 ? niceTicks(low, high, 2 * count, whole) : ticks;
}

/** The values at ticks, and what stands beside them. */
export function ticksOf({ low, high, log, names, whole }: Span, count: number): [number, string][] {
  if (names) {
    // names may stand closer
    return niceTicks(low, high, 3 * count, true).map((i): [number, string] => [i, names[i]!])
      .filter(([, name]) => name !== undefined);
  }
  let ticks = log ? [] : niceTicks(low, high, count, whole);
  if (log) {
    const every = Math.ceil((high - low) / count);
    for (let k = Math.floor(low); k <= high; k++) {
      for (const m of high - low < 2.5 ? [1, 2, 5] : k % every === 0 ? [1] : []) {
        ticks.push(Number(`${m}e${k}`));
      }
    }
    ticks = ticks.filter((x) => Math.log10(x) >= low - 1e-9 && Math.log10(x) <= high + 1e-9);
    if (ticks.length < 2) ticks = niceTicks(10 ** low, 10 ** high, count);
  }
  return ticks.map((x) => [x, labelOf(x)]);
}

/** A number as it stands beside a tick: short. */
export function labelOf(x: number): string {
  const size = Math.abs(x);
  const plain = size === 0 || (size >= 1e-4 && size < 1e6);
  return plain ? `${x}` : x.toExponential().replace("+", "");
}
