/**
 * A line on the terminal that shows how far a long loop has come.
 *
 * @module
 */

import { ArgumentError } from "../../native/errors.ts";
import type { ProgressStream } from "./progress_bar.ts";

/** Values to show behind the bar, in their order: `{ loss: 0.25, accuracy: "97.1%" }`. */
export type ProgressFields = Record<string, number | string>;

/** What a {@linkcode ProgressLine} shows, and where. */
export interface ProgressOptions {
  /** How many units there are to do, a non-negative integer; undefined if nobody knows. */
  total: number | undefined;
  /** The text in front, such as `"Epoch 1/5"`. Default: none. */
  label?: string | undefined;
  /** What is counted, in the plural: the rate is shown as `unit/s`. Default: `"samples"`. */
  unit?: string | undefined;
  /** Where to write. Default: `Deno.stderr`, so that a program's results can be piped on. */
  stream?: ProgressStream | undefined;
  /** Whether to colour the bar on a terminal. Default: unless the user has set `NO_COLOR`. */
  color?: boolean | undefined;
  /** The least time between two drawings, in milliseconds. Default: 100. */
  intervalMs?: number | undefined;
  /** The terminal's width in characters. Default: asked at each drawing, or else 80. */
  columns?: number | undefined;
  /** A clock in milliseconds. Default: `performance.now`. */
  now?: (() => number) | undefined;
}

const widestBar = 24;
const narrowestBar = 6;

/**
 * A progress line: label, bar, percentage, count, fields, rate, time spent and time left.
 *
 *     Epoch 1/5 [=========>              ]  40% 24000/60000 loss 0.2931 53.2K images/s 0.5s ETA
 * 0.7s
 *
 * It is drawn when `update` is called, never by a timer: a synchronous training loop would not let
 * one run. On a terminal the line is redrawn in place, and never wraps: the bar takes the room
 * that is left, and text too long for the terminal is cut. Elsewhere (a file, a pipe, CI) nothing
 * is written until `finish`, and then one plain line. No permission is needed. `using` finishes
 * the line when its block is left, by an error too.
 *
 * The rate is the mean since construction, done / elapsed; the time left is
 * elapsed * (total - done) / done. Where the total is unknown, neither bar, percentage nor time
 * left are shown.
 */
export class ProgressLine implements Disposable {
  readonly #total: number | undefined;
  readonly #label: string;
  readonly #unit: string;
  readonly #stream: ProgressStream;
  readonly #terminal: boolean;
  readonly #color: boolean;
  readonly #intervalMs: number;
  readonly #columns: number | undefined;
  readonly #now: () => number;
  readonly #start: number;
  #drawn = -Infinity;
  #done = 0;
  #fields: ProgressFields = {};
  #finished = false;

  /**
   * Starts the clock; writes nothing yet.
   *
   * @throws ArgumentError when `total` is not a non-negative integer.
   */
  constructor(options: ProgressOptions) {
    const { total } = options;
    if (total !== undefined && (!Number.isSafeInteger(total) || total < 0)) {
      throw new ArgumentError(
        `ProgressLine: found total ${total}, expected a non-negative integer`,
      );
    }
    this.#total = total;
    this.#label = options.label ?? "";
    this.#unit = options.unit ?? "samples";
    this.#stream = options.stream ?? Deno.stderr;
    this.#terminal = this.#stream.isTerminal();
    this.#color = options.color ?? !Deno.noColor;
    this.#intervalMs = options.intervalMs ?? 100;
    this.#columns = options.columns;
    this.#now = options.now ?? (() => performance.now());
    this.#start = this.#now();
  }

  /**
   * Says that `done` units are done, and what the fields are now. Redraws the line on a terminal,
   * unless that was done less than `intervalMs` ago. Does nothing after `finish`.
   *
   * @throws ArgumentError when `done` is negative or not a number.
   */
  update(done: number, fields: ProgressFields = {}): void {
    if (!(done >= 0)) {
      throw new ArgumentError(`ProgressLine: found ${done} done, expected 0 or more`);
    }
    if (this.#finished) return;
    this.#done = done;
    this.#fields = fields;
    if (!this.#terminal) return;
    const now = this.#now();
    if (now - this.#drawn < this.#intervalMs) return;
    this.#drawn = now;
    this.#draw(now, "");
  }

  /**
   * Draws the line a last time, with `fields` added to those of the last update, and ends it.
   * Further calls do nothing.
   */
  finish(fields: ProgressFields = {}): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#fields = { ...this.#fields, ...fields };
    const now = this.#now();
    if (this.#terminal) this.#draw(now, "\n");
    else this.#write(`${printable(`${this.#label} ${this.#text(now)}`).trimStart()}\n`);
  }

  /** The same as `finish()`. */
  [Symbol.dispose](): void {
    this.finish();
  }

  #draw(now: number, end: string) {
    const label = printable(this.#label);
    const text = printable(this.#text(now));
    // The last column stays free: a character in it makes some terminals wrap.
    const room = (this.#columns ?? terminalColumns()) - 1;
    const left = room - cells(`${label} ${text}`) - " []".length;
    const line = left >= narrowestBar && this.#total !== undefined
      ? `${label} ${this.#bar(Math.min(left, widestBar))} ${text}`.trimStart()
      : cut(`${label} ${text}`.trimStart(), room);
    this.#write(`\r${line}\x1b[K${end}`); // ESC [ K clears what a longer line has left
  }

  #bar(width: number): string {
    const full = Math.floor(this.#share() * width);
    const head = full < width ? ">" : "";
    const bar = "=".repeat(full) + head;
    const rest = " ".repeat(width - bar.length);
    return this.#color ? `[\x1b[32m${bar}\x1b[0m${rest}]` : `[${bar}${rest}]`;
  }

  #text(now: number): string {
    const total = this.#total;
    const percent = `${Math.floor(this.#share() * 100)}%`.padStart(4);
    const parts = total === undefined ? [`${this.#done}`] : [percent, `${this.#done}/${total}`];
    for (const [name, value] of Object.entries(this.#fields)) {
      parts.push(`${name} ${typeof value === "number" ? formatNumber(value) : value}`);
    }
    const seconds = Math.max(0, now - this.#start) / 1000;
    if (this.#done > 0 && seconds > 0) {
      parts.push(`${rateFormat.format(this.#done / seconds)} ${this.#unit}/s`);
    }
    parts.push(formatSeconds(seconds));
    if (total !== undefined && this.#done > 0 && this.#done < total && !this.#finished) {
      parts.push(`ETA ${formatSeconds(seconds * (total - this.#done) / this.#done)}`);
    }
    return parts.join(" ");
  }

  /** The share that is done, at most 1. */
  #share(): number {
    const total = this.#total ?? 0;
    return total === 0 ? 1 : Math.min(1, this.#done / total);
  }

  #write(text: string) {
    let bytes = new TextEncoder().encode(text);
    try {
      while (bytes.length > 0) {
        const written = this.#stream.writeSync(bytes);
        if (written <= 0) return;
        bytes = bytes.subarray(written);
      }
    } catch {
      // The terminal is gone or takes no more: no reason to end hours of training.
    }
  }
}

const rateFormat = new Intl.NumberFormat("en", {
  notation: "compact",
  maximumSignificantDigits: 3,
});

/** A number in few characters, and in as many each time where that is possible. */
function formatNumber(value: number): string {
  if (Number.isSafeInteger(value) || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2);
  return value.toFixed(size < 100 ? 4 : 1);
}

/** `4.2s`, `42s`, `1:05` or `2:03:04`. */
function formatSeconds(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const two = (n: number) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return (hours > 0 ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(whole % 60)}`;
}

function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns || 80; // some pseudo-terminals say 0
  } catch {
    return 80;
  }
}

/** Puts a space for each control character: a line break or an escape would spoil the line. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, " ").trimEnd();
}

const wide =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/u;

/** How many terminal cells a text takes: two for a wide character, none for a combining mark. */
function cells(text: string): number {
  let sum = 0;
  for (const char of text) sum += /[\p{M}\p{Cf}]/u.test(char) ? 0 : wide.test(char) ? 2 : 1;
  return sum;
}

/** As much of the text as fits into so many cells. */
function cut(text: string, room: number): string {
  let kept = "";
  let left = room;
  for (const char of text) {
    left -= cells(char);
    if (left < 0) break;
    kept += char;
  }
  return kept;
}
