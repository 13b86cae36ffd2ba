// Fields of delimited text (RFC 4180), found in its bytes.
import { DataError } from "../native/errors.ts";

const [tab, lineFeed, carriageReturn, space, quote] = [9, 10, 13, 32, 34];
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ascii = new TextDecoder("latin1");
const windowSize = 1 << 16;
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Goes from field to field. Records end with LF, CRLF or CR; empty lines are none. A field that
 * begins with a quote ends with one, and holds what is between them, in which two quotes stand for
 * one; elsewhere a quote is a character like others.
 */
export class Scanner {
  /** Where the next field begins. */
  at: number;
  /** The bytes of the field that was read last, without the quotes around it. */
  begin = 0;
  end = 0;
  /** Whether it is the last one of its record. */
  last = true;
  /** The names of the columns, for messages. */
  names: readonly string[] = [];
  /** Whether some of its quotes are doubled. */
  #doubled = false;
  /** All its bytes' bits together: of ASCII none has the highest. */
  #bits = 0;
  /** The bytes from #from on, as text: most fields are pieces of it. */
  #window = "";
  #from = 0;
  /** Its number in the record, counted from 0. */
  index = -1;

  readonly bytes: Uint8Array;
  readonly delimiter: number;
  readonly name: string;

  constructor(bytes: Uint8Array, delimiter: number, name: string) {
    this.bytes = bytes;
    this.delimiter = delimiter;
    this.name = name;
    const [a, b, c] = bytes;
    if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
      throw new DataError(`${name}: found text in UTF-16, expected UTF-8; convert it`);
    }
    this.at = a === 0xef && b === 0xbb && c === 0xbf ? 3 : 0; // a byte order mark
  }

  /** Goes to the next record; false at the end. */
  nextRecord(): boolean {
    const { bytes } = this;
    while (this.at < bytes.length && isBreak(bytes[this.at]!)) this.at++;
    this.index = -1;
    return this.at < bytes.length;
  }

  /** Reads a field. */
  next(): void {
    const { bytes, delimiter } = this;
    const { length } = bytes;
    let { at } = this;
    let bits = 0;
    this.index++;
    this.#doubled = false;
    if (at < length && bytes[at] === quote) {
      const open = at++;
      this.begin = at;
      for (;; at++) {
        for (; at < length; at++) {
          const byte = bytes[at]!;
          if (byte === quote) break;
          bits |= byte;
        }
        if (at === length) throw this.fault(open, "the quote that opens here is never closed");
        if (at + 1 === length || bytes[at + 1] !== quote) break;
        this.#doubled = true;
        at++;
      }
      this.end = at++;
      if (at < length && bytes[at] !== delimiter && !isBreak(bytes[at]!)) {
        const found = JSON.stringify(lenient.decode(bytes.slice(at, at + 8)).slice(0, 1));
        throw this.fault(
          at,
          `found ${found} after the closing quote, expected the end of the field; a quote within ` +
            "a field is written twice",
        );
      }
    } else {
      this.begin = at;
      while (at < length) {
        const byte = bytes[at]!;
        if (byte === delimiter || byte === lineFeed || byte === carriageReturn) break;
        bits |= byte;
        at++;
      }
      this.end = at;
    }
    this.#bits = bits;
    this.last = at === length || bytes[at] !== delimiter;
    const both = this.last && at + 1 < length && bytes[at] === carriageReturn &&
      bytes[at + 1] === lineFeed;
    this.at = at + (both ? 2 : 1);
  }

  /** Leaves out spaces around the field. */
  trim(): void {
    const { bytes } = this;
    while (this.begin < this.end && isSpace(bytes[this.begin]!)) this.begin++;
    while (this.begin < this.end && isSpace(bytes[this.end - 1]!)) this.end--;
  }

  /** The field's text. */
  text(): string {
    const text = this.#bits < 0x80 ? this.#ascii() : this.#decoded();
    return this.#doubled ? text.replaceAll('""', '"') : text;
  }

  // A decoder is slow to call, so that many fields share a call.
  #ascii(): string {
    const { begin, end } = this;
    if (begin < this.#from || end > this.#from + this.#window.length) {
      const until = Math.max(end, begin + windowSize);
      this.#window = ascii.decode(this.bytes.subarray(begin, until));
      this.#from = begin;
    }
    return this.#window.slice(begin - this.#from, end - this.#from);
  }

  #decoded(): string {
    try {
      return strict.decode(this.bytes.subarray(this.begin, this.end));
    } catch {
      throw this.fault(this.begin, "found bytes that are no UTF-8; convert the file");
    }
  }

  /** The field as messages show it. */
  shown(): string {
    const text = lenient.decode(
      this.bytes.subarray(this.begin, Math.min(this.end, this.begin + 200)),
    );
    return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
  }

  /** The line of a byte, counted from 1. */
  lineOf(at: number): number {
    const { bytes } = this;
    let line = 1;
    for (let i = 0; i < at; i++) {
      if (bytes[i] === lineFeed || (bytes[i] === carriageReturn && bytes[i + 1] !== lineFeed)) {
        line++;
      }
    }
    return line;
  }

  /** An error at a byte, in the column of the field that is or was read. */
  fault(at: number, message: string): DataError {
    const column = this.names[this.index];
    const named = column === undefined ? "" : ` (${JSON.stringify(column.slice(0, 60))})`;
    const place = `line ${this.lineOf(at)}, column ${this.index + 1}${named}`;
    return new DataError(`${this.name}: ${place}: ${message}`);
  }
}

function isBreak(byte: number): boolean {
  return byte === lineFeed || byte === carriageReturn;
}

function isSpace(byte: number): boolean {
  return byte === space || byte === tab;
}
