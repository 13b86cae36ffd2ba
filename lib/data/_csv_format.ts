// Columns of delimited text: their names, their types and their values.
import { DataError } from "../native/errors.ts";
import { Scanner } from "./_csv_scanner.ts";
import { parseNumber } from "./_number.ts";

/** What a column of a table holds. */
export type ColumnType = "float64" | "float32" | "text";

/** A column of a table. */
export type Column = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer> | string[];

/** How the text is to be read. */
export interface Layout {
  delimiter: number;
  header: boolean;
  names: readonly string[] | undefined;
  /** Undefined for those that are to be inferred. */
  typeOf(name: string): ColumnType | undefined;
  /** Throws for columns that are not there. */
  checkNames(names: readonly string[]): void;
  missing: ReadonlySet<string>;
}

const maxColumns = 2 ** 20;

/** The columns of a text, by their order. */
export function parseCsv(
  bytes: Uint8Array,
  name: string,
  layout: Layout,
): { names: string[]; columns: Column[]; rows: number } {
  const scanner = new Scanner(bytes, layout.delimiter, name);
  if (!scanner.nextRecord()) {
    throw new DataError(`${name}: found no text, expected ${layout.header ? "names" : "a row"}`);
  }
  const start = scanner.at;
  const first: string[] = [];
  do {
    scanner.next();
    first.push(scanner.text());
    if (first.length > maxColumns) {
      throw scanner.fault(scanner.begin, `expected at most ${maxColumns} columns`);
    }
  } while (!scanner.last);
  if (!layout.header) scanner.at = start;
  const names = namesOf(first, layout, scanner, start);
  layout.checkNames(names);
  scanner.names = names;
  const types = names.map((name) => layout.typeOf(name));
  const reader = new Reader(scanner, scanner.lineOf(start), layout.missing);
  return { names, ...reader.read(types) };
}

function namesOf(first: string[], layout: Layout, scanner: Scanner, start: number): string[] {
  const { header, names = header ? first : first.map((_, i) => `${i}`) } = layout;
  const line = `${scanner.name}: line ${scanner.lineOf(start)}`;
  if (names.length !== first.length) {
    throw new DataError(
      `${line}: found ${first.length} columns, expected ${names.length} by names`,
    );
  }
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) {
      const found = JSON.stringify(name.slice(0, 60));
      throw new DataError(`${line}: two columns are called ${found}; give others by { names }`);
    }
    seen.add(name);
  }
  return [...names];
}

type Numbers = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

class Reader {
  readonly scanner: Scanner;
  readonly firstLine: number;
  readonly #missing: ReadonlySet<string>;
  /** Those of them that are numbers, such as -999. */
  readonly #missingNumbers: ReadonlySet<number>;
  /** Whether the field of #number() is text. */
  #isText = false;
  /** Each column is one of both, or neither: passed over. */
  #numbers: (Numbers | undefined)[] = [];
  #texts: (string[] | undefined)[] = [];

  constructor(scanner: Scanner, firstLine: number, missing: ReadonlySet<string>) {
    this.scanner = scanner;
    this.firstLine = firstLine;
    this.#missing = missing;
    const numbers = [...missing].filter((text) => text.trim() !== "").map(Number);
    this.#missingNumbers = new Set(numbers.filter((value) => !Number.isNaN(value)));
  }

  read(types: (ColumnType | undefined)[]): { columns: Column[]; rows: number } {
    const { at: start } = this.scanner;
    this.#texts = types.map((type) => type === "text" ? [] : undefined);
    this.#numbers = types.map((type) =>
      type === "text" ? undefined : type === "float32" ? new Float32Array(16) : new Float64Array(16)
    );
    const inferred = types.map((type) => type === undefined);
    const rows = this.#rows(inferred);
    const columns = this.#columns(rows);
    // Columns that began with numbers and turned out to be text are read again, from the beginning.
    if (columns.includes(undefined)) {
      this.scanner.at = start;
      this.#numbers = [];
      this.#texts = columns.map((column) => column ? undefined : []);
      this.#rows(inferred);
    }
    return { columns: columns.map((column, i) => column ?? this.#texts[i]!), rows };
  }

  #columns(rows: number): (Column | undefined)[] {
    return this.scanner.names.map((_, i) => this.#texts[i] ?? this.#numbers[i]?.slice(0, rows));
  }

  /** Reads all rows, and says how many there are. */
  #rows(inferred: boolean[]): number {
    const { scanner } = this;
    const [numbers, texts] = [this.#numbers, this.#texts];
    const count = scanner.names.length;
    let capacity = 16;
    let row = 0;
    for (; scanner.nextRecord(); row++) {
      const start = scanner.at;
      if (row === capacity) {
        capacity *= 2;
        numbers.forEach((column, i) => numbers[i] = column && grown(column, capacity));
      }
      let i = 0;
      do {
        scanner.next();
        if (i >= count) continue; // counted for the message
        const column = numbers[i];
        if (column) {
          const value = this.#number();
          if (!this.#isText) column[row] = value;
          else if (!inferred[i]) {
            throw scanner.fault(
              scanner.begin,
              `found ${scanner.shown()}, expected a number; texts that stand for no value are ` +
                "named by { missing }",
            );
          } else {
            numbers[i] = undefined;
            if (row === 0) texts[i] = [scanner.text()];
          }
        } else texts[i]?.push(scanner.text());
      } while (++i, !scanner.last);
      if (i !== count) {
        throw new DataError(
          `${scanner.name}: line ${scanner.lineOf(start)}: found ${i} fields, expected ${count} ` +
            `as in line ${this.firstLine}`,
        );
      }
    }
    return row;
  }

  /** The field as a number, NaN where none is given; #isText says whether it is neither. */
  #number(): number {
    const { scanner } = this;
    this.#isText = false;
    const value = parseNumber(scanner.bytes, scanner.begin, scanner.end);
    if (value !== value) return this.#word();
    return this.#missingNumbers.size > 0 && this.#missingNumbers.has(value) ? NaN : value;
  }

  #word(): number {
    const { scanner } = this;
    const { begin, end } = scanner;
    scanner.trim();
    if (scanner.begin > begin || scanner.end < end) {
      const inner = this.#number();
      [scanner.begin, scanner.end] = [begin, end]; // texts keep their spaces
      return inner;
    }
    const text = end - begin > 100 ? undefined : scanner.text(); // longer than any word for numbers
    if (text !== undefined && this.#missing.has(text)) return NaN;
    const infinite = text && /^([+-]?)inf(?:inity)?$/i.exec(text);
    this.#isText = !infinite;
    return !infinite ? NaN : infinite[1] === "-" ? -Infinity : Infinity;
  }
}

function grown(column: Numbers, length: number): Numbers {
  const longer = column instanceof Float32Array
    ? new Float32Array(length)
    : new Float64Array(length);
  longer.set(column);
  return longer;
}
