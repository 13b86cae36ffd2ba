import type { DeviceName } from "../core/backend.ts";
import { carried, checkValue, type DType, dtypeInfo, isFloat } from "../core/dtype.ts";
import { checkChoice, checkInteger, checkList, checkOptions, refuse } from "../core/options.ts";
import { tensor } from "../create.ts";
import { type Source, sourceOf } from "../io/_source.ts";
import { ArgumentError, DTypeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { type Column, type ColumnType, parseCsv } from "./_csv_format.ts";
import { inflate, isGzip } from "./_inflate.ts";

export type { Column, ColumnType } from "./_csv_format.ts";

/** Options of {@linkcode csv}. */
export interface CsvOptions {
  /** Whether the first record has the names of the columns. Default true. */
  header?: boolean | undefined;
  /** What stands between fields: one character. Default a comma; `"\t"` for .tsv files. */
  delimiter?: string | undefined;
  /** The names of the columns. Default: those of the header; without one "0", "1", … */
  names?: readonly string[] | undefined;
  /**
   * The types of columns by name, or one for all. Others are inferred: float64 where every field is
   * a number or missing, else text.
   */
  types?: ColumnType | Readonly<Record<string, ColumnType>> | undefined;
  /** What stands for no value in columns of numbers. Default "", "NA", "NaN" and "nan". */
  missing?: readonly string[] | undefined;
}

/** Options of {@linkcode Table.toTensor}. */
export interface TableTensorOptions {
  /** Default float32. */
  dtype?: DType | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
}

const keys = ["header", "delimiter", "names", "types", "missing"];
const columnTypes: Record<ColumnType, true> = { float64: true, float32: true, text: true };

/**
 * Reads a table from delimited text (CSV, RFC 4180) in UTF-8, plain or gzip-compressed. The source
 * is a path or `file:` URL (needs --allow-read), the bytes, a stream of them, or, where a string
 * has a line break in it, the text itself.
 *
 * Fields may be quoted, and then hold delimiters, line breaks, and quotes, which are doubled. Lines
 * end with LF, CRLF or CR; empty ones are left out. Numbers are decimal (`-1.5`, `2e-3`, `inf`),
 * with spaces around them or without, and as exact as `Number(text)`; missing ones become NaN.
 * Texts stay as they are, also missing ones.
 *
 * @throws {DataError} with line and column: for rows of unequal length, quotes that are not closed,
 * texts in a column that is to be of numbers; also when the file is missing, empty or no UTF-8.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * const table = await data.csv("length,width,name\n5.1,3.5,setosa\n6.2,NA,virginica\n");
 * console.log(table.columns.name); // setosa, virginica
 * const x = table.toTensor(["length", "width"]);
 * console.log(x.shape); // [2, 2]
 * ```
 */
export async function csv(source: Source, options: CsvOptions = {}): Promise<Table> {
  const layout = layoutOf(options);
  const text = typeof source === "string" && /[\r\n]/.test(source);
  const found = await sourceOf("csv", text ? new TextEncoder().encode(source) : source);
  const { name } = found;
  let { bytes } = found;
  if (isGzip(bytes) && bytes.length >= 18) {
    const end = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4);
    const sizeOf = () => end.getUint32(0, true);
    bytes = await inflate(bytes, name, { format: "gzip", head: 0, sizeOf });
  }
  // of shared memory no text is made
  const own = bytes.buffer instanceof SharedArrayBuffer ? bytes.slice() : bytes;
  const { names, columns, rows } = parseCsv(own, name, layout);
  return new Table(names, columns, rows);
}

function layoutOf(options: CsvOptions) {
  checkOptions("csv", options, keys);
  const { header = true, delimiter = ",", names, types = {} } = options;
  const { missing = ["", "NA", "NaN", "nan"] } = options;
  if (typeof header !== "boolean") refuse("csv", "header", header, "true or false");
  if (typeof delimiter !== "string" || !/^[^"\r\n\u0080-\uffff]$/.test(delimiter)) {
    refuse("csv", "delimiter", delimiter, "one ASCII character, no quote or line break");
  }
  const isText = (item: unknown) => typeof item === "string";
  checkList("csv", "missing", missing, isText, "texts");
  if (names !== undefined) checkList("csv", "names", names, isText, "texts");
  const all = typeof types === "string" ? types : undefined;
  const byName = new Map(Object.entries(typeof types === "string" ? {} : types));
  if (all !== undefined) checkChoice("csv", "types", all, columnTypes);
  else if (Object(types) !== types || Array.isArray(types)) {
    refuse("csv", "types", types, 'types by name, such as { price: "float32" }');
  }
  for (const [name, type] of byName) checkChoice("csv", `types.${name}`, type, columnTypes);
  return {
    header,
    delimiter: delimiter.charCodeAt(0),
    names,
    missing: new Set(missing),
    typeOf: (name: string) => all ?? byName.get(name),
    checkNames: (names: readonly string[]) => {
      const known = new Set(names);
      for (const name of byName.keys()) if (!known.has(name)) throw unknown("csv", name, names);
    },
  };
}

function unknown(op: string, name: unknown, names: readonly string[]): ArgumentError {
  const list = names.slice(0, 20).map((name) => JSON.stringify(name.slice(0, 60))).join(", ");
  return new ArgumentError(
    `${op}: there is no column ${JSON.stringify(name)}; there are ${list}${names[20] ? ", …" : ""}`,
  );
}

/**
 * A table: columns of equal length, by name. {@linkcode csv} reads one.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * const table = await data.csv("x,y\n1,a\n2,b\n");
 * console.log(table.names, table.rows); // ["x", "y"] 2
 * console.log(table.columns.x); // Float64Array 1, 2
 * ```
 */
export class Table {
  /** The names, in the order of the columns. */
  readonly names: readonly string[];
  /** How many rows there are. */
  readonly rows: number;
  /** The columns: a Float64Array or Float32Array of numbers, or an array of texts. */
  readonly columns: Readonly<Record<string, Column>>;

  constructor(names: readonly string[], columns: readonly Column[], rows: number) {
    const isText = (x: unknown): x is string => typeof x === "string";
    checkList("Table", "names", names, isText, "texts");
    const isColumn = (x: unknown): x is Column => Array.isArray(x) || ArrayBuffer.isView(x);
    checkList("Table", "columns", columns, isColumn, "arrays");
    checkInteger("Table", "rows", rows, 0);
    this.names = names;
    this.rows = rows;
    this.columns = Object.fromEntries(names.map((name, i) => [name, columns[i]!]));
  }

  /**
   * A tensor of columns of numbers, [rows, columns]; of one that is given by name alone, [rows].
   *
   * @param columns which ones, in this order. Default: all.
   * @throws {ArgumentError} for a name that no column has.
   * @throws {DTypeError} for a column of text, and for what an integer dtype cannot hold, such as
   * the NaN of a missing value.
   *
   * ```ts
   * import { data } from "@cudeno/cudeno";
   * const table = await data.csv("a,b,label\n1,2,0\n3,4,1\n");
   * const input = table.toTensor(["a", "b"]);
   * const target = table.toTensor("label", { dtype: "int32" });
   * const set = new data.TensorDataset(input, target);
   * console.log(set.length); // 2
   * ```
   */
  toTensor(
    columns: string | readonly string[] = this.names,
    options: TableTensorOptions = {},
  ): Tensor {
    checkOptions("toTensor", options, ["dtype", "device"]);
    const { dtype = "float32", device } = options;
    const { make } = dtypeInfo(dtype);
    const names = typeof columns === "string" ? [columns] : columns;
    checkList("toTensor", "columns", names, (name) => typeof name === "string", "names");
    const found = names.map((name) => this.#numbers(name));
    const data = make(this.rows * names.length);
    const plain = isFloat(dtype) && dtype !== "bfloat16";
    for (const [at, column] of found.entries()) {
      for (let row = 0, to = at; row < column.length; row++, to += names.length) {
        const value = column[row]!;
        if (!plain) {
          if (!isFloat(dtype)) {
            checkValue(`toTensor: column ${JSON.stringify(names[at])}, row ${row}`, value, dtype);
          }
          data[to] = carried(value, dtype);
        } else data[to] = value;
      }
    }
    const shape = typeof columns === "string" ? [this.rows] : [this.rows, names.length];
    return tensor(data, { shape, dtype, ...(device && { device }) });
  }

  /**
   * A table of some of the rows: those whose numbers are given, in that order, or those for which a
   * function of a row, its values by column, says true.
   *
   * ```ts
   * import { data, randperm } from "@cudeno/cudeno";
   * const table = await data.csv("x,y\n1,2\n3,\n5,6\n7,8\n");
   * const whole = table.select((row) => !Number.isNaN(row.y));
   * const order = [...randperm(whole.rows).dataSync()];
   * const [train, test] = [whole.select(order.slice(0, 2)), whole.select(order.slice(2))];
   * console.log(train.rows, test.rows); // 2 1
   * ```
   */
  select(
    which: ArrayLike<number> | ((row: Record<string, number | string>, i: number) => boolean),
  ): Table {
    const all = Array.from({ length: this.rows }, (_, i) => i);
    const at = (i: number) =>
      Object.fromEntries(this.names.map((name) => [name, this.columns[name]![i]!]));
    const chosen = typeof which === "function"
      ? all.filter((i) => which(at(i), i))
      : Array.from(which, (i) => {
        if (Number.isInteger(i) && i >= 0 && i < this.rows) return i;
        return refuse("select", "a row", i, `a whole number from 0 up, below ${this.rows}`);
      });
    const columns = this.names.map((name) => {
      const column = this.columns[name]!;
      const picked = chosen.map((i) => column[i]!);
      if (Array.isArray(column)) return picked as string[];
      const Kind = column.constructor as Float64ArrayConstructor;
      return Kind.from(picked as number[]);
    });
    return new Table(this.names, columns, chosen.length);
  }

  #numbers(name: string): Float64Array | Float32Array {
    const column = Object.hasOwn(this.columns, name) ? this.columns[name]! : undefined;
    if (!column) throw unknown("toTensor", name, this.names);
    if (!Array.isArray(column)) return column;
    throw new DTypeError(
      `toTensor: column ${JSON.stringify(name)} is text, such as ${
        JSON.stringify(column[0]?.slice(0, 60))
      }; name columns of numbers, or make numbers of its words with a CategoryEncoder`,
    );
  }
}
