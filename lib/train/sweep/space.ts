// What is searched: dimensions, each mapped to the unit interval.
import {
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  refuse,
} from "../../core/options.ts";

/** Numbers from `min` to `max`, both among them. */
export interface SweepRange {
  /** The least. */
  readonly min: number;
  /** The greatest, above `min`. */
  readonly max: number;
  /** Whether numbers or their logarithms are spread evenly. Default "linear". */
  readonly scale?: "linear" | "log" | undefined;
  /** Whole numbers only. Default false. */
  readonly integer?: boolean | undefined;
  /** How many of them a grid has; default 5, or all whole numbers. */
  readonly points?: number | undefined;
}

/** What a hyper-parameter may be. */
export type SweepValue = string | number | boolean;

/** Hyper-parameters by name: a range, or an array of choices. */
export type SweepSpace = Readonly<Record<string, SweepRange | readonly SweepValue[]>>;

/** One value for each: of choices one of their types, of a range a number. */
export type SweepParams<S extends SweepSpace> = {
  -readonly [K in keyof S]: S[K] extends readonly (infer V)[] ? V : number;
};

/** A dimension as searches see it. */
export interface Dimension {
  name: string;
  /** How many choices there are; 0 of a range. */
  choices: number;
  /** The value at a place in [0, 1). */
  at(place: number): SweepValue;
  /** Where a value is: in 0..1, or the number of a choice. */
  placeOf(value: SweepValue): number;
  grid(): readonly SweepValue[];
}

/** The dimensions of a space; throws where it is none. */
export function dimensionsOf(op: string, space: SweepSpace): Dimension[] {
  if (Object(space) !== space || Array.isArray(space) || Object.keys(space).length === 0) {
    refuse(op, "the space", space, "ranges and choices by name, as { width: [16, 32] }");
  }
  return Object.entries(space).map(([name, given]) =>
    Array.isArray(given) ? choicesOf(op, name, given) : rangeOf(op, name, given as SweepRange)
  );
}

function choicesOf(op: string, name: string, list: readonly SweepValue[]): Dimension {
  const ok = (x: unknown) =>
    typeof x === "number" ? Number.isFinite(x) : typeof x === "string" || typeof x === "boolean";
  if (list.length === 0 || !list.every(ok) || new Set(list).size < list.length) {
    refuse(
      op,
      `space.${name}`,
      list,
      "different strings, finite numbers or booleans, at least one",
    );
  }
  return {
    name,
    choices: list.length,
    at: (place) => list[Math.floor(place * list.length)]!,
    placeOf: (value) => list.indexOf(value),
    grid: () => list,
  };
}

function rangeOf(op: string, name: string, range: SweepRange): Dimension {
  const at = `space.${name}`;
  checkOptions(`${op}: ${at}`, range, ["min", "max", "scale", "integer", "points"]);
  const { min, max, scale = "linear", integer = false } = range;
  checkChoice(op, `${at}.scale`, scale, { linear: 0, log: 0 });
  for (const [key, x] of [[`${at}.min`, min], [`${at}.max`, max]] as const) {
    integer ? checkInteger(op, key, x, -Infinity) : checkNumber(op, key, x);
  }
  const log = scale === "log";
  if (log && min <= 0) refuse(op, `${at}.min`, min, "above 0, as the scale is log");
  if (max <= min) refuse(op, `${at}.max`, max, `above min, ${min}`);
  const points = range.points ?? (integer ? max - min + 1 : 5);
  checkInteger(op, `${at}.points`, points, 2);
  // each whole number has the places that round to it
  const half = integer ? 0.5 : 0;
  const [into, back] = log ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const low = into(min - half), width = into(max + half) - low;
  const value = (x: number) => Math.min(max, Math.max(min, integer ? Math.round(x) : x));
  const ratio = max / min; // so that powers of ten are met
  const spread = (x: number) => log ? min * ratio ** x : min + (max - min) * x;
  return {
    name,
    choices: 0,
    at: (place) => value(back(low + place * width)),
    placeOf: (x) => (into(x as number) - low) / width,
    grid() {
      if (points > 1e6) refuse(op, `${at}.points`, points, "at most a million, for a grid");
      return Array.from(
        new Set(Array.from({ length: points }, (_, i) => value(spread(i / (points - 1))))),
      );
    },
  };
}
