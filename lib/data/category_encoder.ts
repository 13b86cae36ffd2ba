import type { DeviceName } from "../core/backend.ts";
import { formatValue } from "../core/describe.ts";
import { checkInteger, checkList, checkOptions, checkState, refuse } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import { checkDType, floats } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { Column } from "./csv.ts";
import { Table } from "./csv.ts";

/** Options of {@linkcode CategoryEncoder.fit}. */
export interface CategoryEncoderOptions {
  /**
   * What to do with a value that was not there when the encoder was fitted: throw, or give it a
   * number that no category has, -1 for instance, and a one-hot row of zeros. Default "error".
   */
  unknown?: "error" | number | undefined;
}

/** Options of {@linkcode CategoryEncoder.transform}. */
export interface EncodeOptions {
  /** Whether each category becomes a column of 0 and 1. Default false: numbers of categories. */
  oneHot?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
}

/** What toJSON() gives. NaN and infinite numbers are texts, as JSON has none. */
export interface CategoryEncoderState {
  /** As the option. */
  unknown: "error" | number;
  /** The columns in their order. */
  columns: { name: string; type: "text" | "number"; categories: (string | number)[] }[];
}

type State = CategoryEncoderState["columns"];

/**
 * Numbers for the texts or numbers of a table's columns: the sorted values of each, NaN as a last
 * one, are its categories 0, 1, 2, … As scikit-learn's OrdinalEncoder and OneHotEncoder. JSON keeps
 * it beside a model: `JSON.stringify(encoder)`, `CategoryEncoder.fromJSON(JSON.parse(text))`.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * const table = await data.csv("color,size\nred,2\nblue,1\nred,1\n");
 * const encoder = data.CategoryEncoder.fit(table, ["color"]);
 * console.log(encoder.categories); // { color: ["blue", "red"] }
 * const labels = encoder.transform(table).squeeze(1); // int32 1, 0, 1
 * console.log(encoder.transform(table, { oneHot: true }).shape); // [3, 2]
 * console.log(encoder.inverse(labels.unsqueeze(1)).columns.color); // red, blue, red
 * ```
 */
export class CategoryEncoder {
  /** The categories of each column, in the order of their numbers. */
  readonly categories: Readonly<Record<string, readonly (string | number)[]>>;
  /** What becomes of other values. */
  readonly unknown: "error" | number;
  readonly #columns: readonly {
    name: string;
    isText: boolean;
    values: readonly (string | number)[];
    places: Map<string | number, number>;
  }[];

  private constructor(columns: State, unknown: "error" | number) {
    const op = "CategoryEncoder",
      isColumn = (x: unknown) => {
        const { name, type, categories } = Object(x) as Partial<State[number]>;
        return typeof name === "string" && (type === "text" || type === "number") &&
          Array.isArray(categories);
      };
    checkList(op, "columns", columns, isColumn, "columns, as fit() makes them");
    if (unknown !== "error") {
      checkInteger(op, "unknown", unknown, -(2 ** 31));
      if (
        unknown >= 2 ** 31 || columns.some((c) => unknown >= 0 && unknown < c.categories.length)
      ) {
        refuse(op, "unknown", unknown, 'a number that no category has, such as -1, or "error"');
      }
    }
    this.unknown = unknown;
    this.#columns = columns.map(({ name, type, categories }) => {
      const isText = type === "text", values = isText ? categories : categories.map(Number);
      return { name, isText, values, places: new Map(values.map((value, i) => [value, i])) };
    });
    this.categories = Object.fromEntries(this.#columns.map(({ name, values }) => [name, values]));
  }

  /** Fits to columns of a table, by default all. */
  static fit(
    table: Table,
    columns: readonly string[] = table.names,
    options: CategoryEncoderOptions = {},
  ): CategoryEncoder {
    const op = "CategoryEncoder.fit";
    checkOptions(op, options, ["unknown"]);
    checkList(op, "columns", columns, (name) => typeof name === "string", "names");
    const fitted: State = columns.map((name) => {
      const column = columnOf(op, table, name), values = [...new Set<string | number>(column)];
      // sort() of texts alone has the order of their characters
      return Array.isArray(column)
        ? { name, type: "text", categories: values.sort() }
        : { name, type: "number", categories: values.sort(ascending) };
    });
    return new CategoryEncoder(fitted, options.unknown ?? "error");
  }

  /** What toJSON() gave. */
  static fromJSON(state: CategoryEncoderState): CategoryEncoder {
    checkState("CategoryEncoder.fromJSON", state);
    return new CategoryEncoder(state.columns, state.unknown);
  }

  /** All that there is to know of it. */
  toJSON(): CategoryEncoderState {
    const columns = this.#columns.map(({ name, isText, values }) => ({
      name,
      type: isText ? "text" as const : "number" as const,
      categories: values.map((v) => isText || Number.isFinite(v) ? v : String(v)),
    }));
    return { unknown: this.unknown, columns };
  }

  // How many columns of a result each column becomes, and all.
  #widths(oneHot: boolean): { wide: number[]; width: number } {
    const wide = this.#columns.map(({ values }) => oneHot ? values.length : 1);
    return { wide, width: wide.reduce((a, b) => a + b, 0) };
  }

  /**
   * The numbers of the categories, int32 [rows, columns], or with `oneHot` float32 [rows,
   * categories of all columns].
   *
   * @throws {ArgumentError} for a value that is not known, unless `unknown` says what it becomes.
   */
  transform(table: Table, options: EncodeOptions = {}): Tensor {
    const op = "CategoryEncoder.transform";
    checkOptions(op, options, ["oneHot", "device"]);
    const { oneHot = false, ...place } = options;
    const { wide, width } = this.#widths(oneHot);
    const made = oneHot ? new Float32Array(table.rows * width) : new Int32Array(table.rows * width);
    let first = 0;
    for (const [k, { name, isText, places }] of this.#columns.entries()) {
      const column = columnOf(op, table, name);
      if (Array.isArray(column) !== isText) {
        throw new DTypeError(
          `${op}: column ${JSON.stringify(name)} is ${isText ? "numbers" : "text"}, and was ${
            isText ? "text" : "numbers"
          } when the encoder was fitted`,
        );
      }
      for (let row = 0; row < table.rows; row++) {
        const place = places.get(column[row]!);
        if (place === undefined && this.unknown === "error") {
          throw new ArgumentError(
            `${op}: column ${JSON.stringify(name)} has ${
              formatValue(column[row])
            } in row ${row}, ` +
              "which was not there when the encoder was fitted; fit with { unknown: -1 }, say",
          );
        }
        if (!oneHot) made[row * width + first] = place ?? this.unknown as number;
        else if (place !== undefined) made[row * width + first + place] = 1;
      }
      first += wide[k]!;
    }
    return tensor(made, { ...place, shape: [table.rows, width] });
  }

  /**
   * The table that transform() had: from int32 [rows, columns], or from floats [rows, categories of
   * all columns], of which the largest of a column counts, so that they may be probabilities. What
   * was not known is "" or NaN. Waits for the device.
   *
   * @throws {ArgumentError} for a number that is no category's, or a row of zeros, unless the
   * encoder has `unknown`.
   */
  inverse(x: Tensor): Table {
    const op = "CategoryEncoder.inverse";
    checkDType(op, x, ["int32", ...floats]);
    const oneHot = x.dtype !== "int32";
    const { wide, width } = this.#widths(oneHot);
    if (x.rank !== 2 || x.shape[1] !== width) {
      throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [rows, ${width}]`);
    }
    const rows = x.shape[0]!, data = x.dataSync();
    let first = 0;
    const columns = this.#columns.map(({ name, isText, values }, k): Column => {
      const found = Array.from({ length: rows }, (_, row) => {
        const own = data.subarray(row * width + first, row * width + first + wide[k]!);
        const most = own.indexOf(Math.max(...own));
        const value = values[oneHot ? own[most] ? most : -1 : own[0]!];
        if (value === undefined && this.unknown === "error") {
          throw new ArgumentError(
            `${op}: row ${row} has no category of column ${JSON.stringify(name)}`,
          );
        }
        return value ?? (isText ? "" : NaN);
      });
      first += wide[k]!;
      return isText ? found as string[] : Float64Array.from(found as number[]);
    });
    return new Table(this.#columns.map(({ name }) => name), columns, rows);
  }
}

// NaN last, as numpy sorts.
const ascending = (a: string | number, b: string | number): number =>
  Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : (a as number) - (b as number);

function columnOf(op: string, table: Table, name: string): Column {
  if (!(table instanceof Table)) refuse(op, "the table", table, "one as data.csv() gives it");
  if (Object.hasOwn(table.columns, name)) return table.columns[name]!;
  throw new ArgumentError(
    `${op}: there is no column ${JSON.stringify(name)}; there are ${
      table.names.slice(0, 20).map((own) => JSON.stringify(own)).join(", ")
    }`,
  );
}
