// What a function does on the device, noted call by call while it runs, so that a program can do it
// again.
import { programmable, symbols } from "../native/symbols.ts";
import { trace } from "../native/arguments.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Differentiable } from "./node.ts";

/** Memory that was made while recording. */
export interface Local {
  readonly bytes: number;
  /** The first and the last call that were given it; the last is the end where it outlives them. */
  first: number;
  last: number;
  /** The handles on it that live: the place of each. */
  readonly handles: Map<number, Piece>;
  /** Which one of the recording's it is. */
  readonly number: number;
}

/** A part of memory that was made while recording, or a tensor from before. */
export interface Piece {
  readonly local: Local | undefined;
  /** Of the tensor from before. */
  readonly handle: number;
  readonly offset: number;
  /** -1 for the whole of a tensor from before. */
  readonly bytes: number;
}

/** The whole of a tensor from before. */
export function outside(handle: number): Piece {
  return { local: undefined, handle, offset: 0, bytes: -1 };
}

/** An argument: a number, a tensor's memory, a list of those, an array's bytes, or nothing. */
export type Operand = number | bigint | Piece | readonly Piece[] | Uint8Array<ArrayBuffer> | null;

/** A call. */
export interface Entry {
  readonly name: string;
  readonly args: readonly Operand[];
}

type Symbols = typeof symbols;
const parametersOf = (name: string): readonly string[] =>
  (symbols as Record<string, Symbols[keyof Symbols]>)[name]!.parameters;

let current: Recording | undefined;

/** The recording under way. */
export function recording(): Recording | undefined {
  return current;
}

/**
 * Has `fn` called before a captured step, which is being recorded, runs again: it brings what the
 * step goes by onto the device, or says why what was recorded is out of date.
 */
export function beforeReplay(fn: () => string | undefined): void {
  current?.before.push(fn);
}

/** Has `fn` called after so many replays, for what JavaScript counts at each step. */
export function eachReplay(fn: (times: number) => void): void {
  current?.after.push(fn);
}

/** Runs `fn`, whose calls are not part of what is recorded. */
export function unrecorded<T>(fn: () => T): T {
  const before = trace(undefined);
  try {
    return fn();
  } finally {
    trace(before);
  }
}

/** A device, as far as it matters here. */
interface Place {
  readonly device: string;
}

/** One run of a function. */
export class Recording {
  /** On which. */
  readonly backend: Place;
  readonly entries: Entry[] = [];
  readonly locals: Local[] = [];
  /** What is called before and after the replays. */
  readonly before: (() => string | undefined)[] = [];
  readonly after: ((times: number) => void)[] = [];
  /** The leaves that backward() gave gradients. */
  readonly leaves: Set<Differentiable> = new Set();
  /** Why it cannot be captured, if it cannot. */
  refused: string | undefined;
  readonly #tolerant: boolean;
  readonly #pieces = new Map<number, Piece>(); // by handles made here
  #pending: (() => void) | undefined; // until a handle is there

  /** On a device. One that is not tolerant throws at once what stands against capturing. */
  constructor(backend: Place, tolerant: boolean) {
    this.backend = backend;
    this.#tolerant = tolerant;
  }

  /** Runs `fn` and notes what it does. */
  run<T>(fn: () => T): T {
    if (current) throw new ArgumentError("capture: a step is being captured already");
    current = this;
    const before = trace((name, args, handles) => this.#told(name, args, handles));
    const { random } = Math;
    Math.random = () => {
      this.refuse(
        "Math.random() would be drawn while the step is recorded only; use rand() and where()",
      );
      return random();
    };
    try {
      return fn();
    } finally {
      Math.random = random;
      this.#settle();
      trace(before);
      current = undefined;
    }
  }

  /** Says that it cannot be captured. */
  refuse(reason: string): void {
    this.refused ??= reason;
    if (!this.#tolerant) throw new ArgumentError(`capture: ${reason}`);
  }

  #settle(): void {
    this.#pending?.();
    this.#pending = undefined;
  }

  #told(name: string, args: readonly unknown[], handles?: readonly number[]): void {
    this.#settle();
    if (this.refused !== undefined) return;
    switch (name) {
      case "cdn_alloc":
        return this.#allocated(args as [Uint32Array, Place, number]);
      case "cdn_view":
        return this.#viewed(args as [Uint32Array, unknown, number, number], handles);
      case "cdn_free":
        return this.#freed(args[0] as number);
      case "cdn_freeze":
        return;
      case "cdn_write":
        return this.#written(args, handles![0]!);
    }
    if (programmable[name] === undefined) return this.refuse(refusal(name));
    let next = 0;
    const entry = parametersOf(name).map((type, i): Operand => {
      const x = args[i];
      if (type === "u32") return this.#use(handles ? handles[next++]! : x as number);
      if (type !== "buffer") return x as number | bigint;
      if (x === null || x === undefined) return null;
      if (x instanceof Uint32Array) return Array.from(x, (handle) => this.#use(handle));
      return bytesOf(x as ArrayBufferView);
    });
    this.entries.push({ name, args: entry });
  }

  #allocated([out, backend, bytes]: [Uint32Array, Place, number]): void {
    if (backend !== this.backend) return this.refuse(`it works on ${backend.device} too; ${one}`);
    this.#pending = () => {
      const local: Local = {
        ...{ bytes, first: this.entries.length, last: -1 },
        ...{ handles: new Map(), number: this.locals.length },
      };
      this.locals.push(local);
      this.#name(out[0]!, { local, handle: 0, offset: 0, bytes });
    };
  }

  #viewed(
    [out, x, offset, bytes]: [Uint32Array, unknown, number, number],
    handles: readonly unknown[] = [x],
  ): void {
    const of = this.#pieces.get(handles[0] as number) ?? outside(handles[0] as number);
    const piece = { ...of, offset: of.offset + Number(offset), bytes: Number(bytes) };
    this.#pending = () => this.#name(out[0]!, piece);
  }

  #name(handle: number, piece: Piece): void {
    this.#pieces.set(handle, piece);
    if (piece.local) piece.local.handles.set(handle, piece);
  }

  #freed(handle: number): void {
    this.#pieces.get(handle)?.local?.handles.delete(handle);
    this.#pieces.delete(handle);
  }

  // What JavaScript gives is kept on the device, and copied from there.
  #written([, host, offset, bytes]: readonly unknown[], handle: number): void {
    const data = bytesOf(host as ArrayBufferView).subarray(0, Number(bytes));
    const name = "cdn_write";
    this.entries.push({ name, args: [this.#use(handle), data, Number(offset), Number(bytes)] });
  }

  #use(handle: number): Piece {
    const piece = this.#pieces.get(handle) ?? outside(handle);
    if (piece.local) piece.local.last = this.entries.length;
    return piece;
  }
}

const one = "a captured step is of one device";

function refusal(name: string): string {
  if (/read/.test(name)) {
    return "it reads a tensor on the host (item(), data(), toString() or the like), which would " +
      "wait for the device at each step; return the tensor, and read it outside";
  }
  if (/stage|write/.test(name)) {
    return "it brings data from the host beside the computation (copyFromAsync() or a loader); " +
      "do that outside, and pass the tensor";
  }
  return `${opOf(name)} cannot be captured; do it outside`;
}

/** A function of the library as users know it. */
export function opOf(name: string): string {
  return name.slice("cdn_".length).replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
}

function bytesOf(x: ArrayBufferView | ArrayBuffer): Uint8Array<ArrayBuffer> {
  const view = x instanceof ArrayBuffer
    ? new Uint8Array(x)
    : new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  return Uint8Array.from(view);
}

/** In what a run differs from the one before, in the user's words; undefined where in nothing. */
export function differenceOf(first: Recording, then: Recording): string | undefined {
  const [a, b] = [first.entries, then.entries];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]];
    if (x?.name !== y?.name) {
      const [was, is] = [x, y].map((entry) => entry ? opOf(entry.name) : "its end");
      return `operation ${i + 1} is ${is}, and was ${was} the time before: what JavaScript ` +
        "decides must be decided alike each time";
    }
    const k = x!.args.findIndex((arg, k) => !sameOperand(arg, y!.args[k]!));
    if (k < 0) continue;
    return `${opOf(x!.name)}, operation ${i + 1}, has another ${nameOf(x!.name, k)} than the ` +
      `time before: ${changed(x!.args[k]!, y!.args[k]!)}`;
  }
  return undefined;
}

function nameOf(name: string, argument: number): string {
  if (name === "cdn_write") return argument === 1 ? "source" : "target";
  return programmable[name]!.split(" ")[argument]!;
}

const isPiece = (x: Operand): x is Piece => typeof x === "object" && x !== null && "local" in x;

function sameOperand(a: Operand, b: Operand): boolean {
  if (a === b) return true;
  if (typeof a === "number" || typeof a === "bigint") {
    return typeof b === typeof a ? Object.is(a, b) : Number(a) === Number(b as number);
  }
  if (a === null || b === null || typeof b !== "object") return false;
  if (isPiece(a)) return isPiece(b) && samePiece(a, b);
  if (isPiece(b) || a.length !== b.length) return false;
  if (a instanceof Uint8Array) return a.every((byte, i) => byte === (b as Uint8Array)[i]);
  return a.every((piece, i) => samePiece(piece, (b as Piece[])[i]!));
}

function samePiece(a: Piece, b: Piece): boolean {
  if (a.offset !== b.offset || a.bytes !== b.bytes) return false;
  return a.handle === b.handle && a.local?.number === b.local?.number &&
    a.local?.bytes === b.local?.bytes;
}

function changed(a: Operand, b: Operand): string {
  const isNumber = (x: Operand) => typeof x === "number" || typeof x === "bigint";
  if (isNumber(a) && isNumber(b)) {
    return `${b}, and was ${a}. A number that changes must be a tensor, filled before the call ` +
      "(copyFrom(), fill()) and passed to it, or an optimizer's or a schedule's learning rate";
  }
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return "numbers that JavaScript makes anew each time (a shape that changes, a tensor of " +
      "Math.random() or of a counter); pass them as a tensor, or draw them by rand()";
  }
  return "another tensor each time. A state that goes on from step to step must stay in its " +
    "place: state.copyFrom(next), not state = next";
}
