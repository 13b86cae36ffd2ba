// A recording as the library does it again by one call.
import { programmable, symbols } from "../native/symbols.ts";
import { listening, traced } from "../native/arguments.ts";
import { call } from "../native/call.ts";
import { DisposedError } from "../native/errors.ts";
import type { Backend } from "./backend.ts";
import {
  type Entry,
  type Local,
  type Operand,
  outside,
  type Piece,
  type Recording,
} from "./recording.ts";

const numbers = new Map(Object.keys(programmable).map((name, i) => [name, i]));
const alignment = 256; // of the memory of tensors
const badHandle = 2; // CDN_BAD_HANDLE of cudeno.h
const out = new Uint32Array(1);

interface Placed {
  readonly local: Local;
  readonly offset: number;
}

/**
 * Where in one arena the memory lies that a recording takes for a time, and how large that is: what
 * is in use at once has places of its own, the largest first.
 */
export function plan(locals: readonly Local[]): { places: Map<Local, number>; bytes: number } {
  const places = new Map<Local, number>(), placed: Placed[] = [];
  let bytes = 0;
  for (const local of locals.toSorted((a, b) => b.bytes - a.bytes)) {
    let offset = 0;
    for (const other of placed) { // in the order of their places
      if (other.local.last < local.first || other.local.first > local.last) continue;
      if (other.offset - offset >= local.bytes) break;
      offset = Math.max(offset, other.offset + roundUp(other.local.bytes));
    }
    const at = placed.findIndex((other) => other.offset > offset);
    placed.splice(at < 0 ? placed.length : at, 0, { local, offset });
    places.set(local, offset);
    bytes = Math.max(bytes, offset + roundUp(local.bytes));
  }
  return { places, bytes };
}

const roundUp = (bytes: number) => Math.max(1, Math.ceil(bytes / alignment)) * alignment;

// Bytes that calls find by their place.
class Data {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  #size = 0;

  add(bytes: Uint8Array<ArrayBuffer>): bigint {
    const at = this.#size;
    this.#parts.push(bytes);
    this.#size += Math.ceil(bytes.length / 8) * 8;
    return BigInt(at);
  }

  joined(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += Math.ceil(part.length / 8) * 8;
    }
    return all;
  }
}

const bits = new DataView(new ArrayBuffer(8));
const bitsOf = (x: number): bigint => {
  bits.setFloat64(0, x);
  return bits.getBigInt64(0);
};

/** A program of the library's. */
export class Program implements Disposable {
  readonly #backend: Backend;
  readonly #handle: number;
  readonly #owned: number[] = []; // handles
  readonly #done = new BigInt64Array(1);
  readonly #names: string[] = []; // of the functions
  /** The bytes of its arena. */
  readonly bytes: number;

  /** Of a recording, and what is to be called at its end. */
  constructor(backend: Backend, recording: Recording, last: readonly Entry[] = []) {
    const { locals } = recording;
    this.#backend = backend;
    // What outlives the run stays where it is, so that who holds it sees what is new.
    const whole = new Map<Local, number>();
    const passing: Local[] = [];
    for (const local of locals) {
      if (local.handles.size === 0) {
        if (local.last >= 0) passing.push(local);
        continue;
      }
      const kept = [...local.handles].find(([, { bytes }]) => bytes === local.bytes)?.[0];
      if (kept === undefined) {
        local.last = recording.entries.length;
        passing.push(local);
      } else whole.set(local, kept);
    }
    const { places, bytes } = plan(passing);
    this.bytes = bytes;
    const arena = bytes > 0 ? this.#allocate(bytes) : 0;
    const used = new Set<number>(), views = new Map<string, number>();
    const handleOf = (piece: Piece): number => {
      const { local, offset, bytes } = piece;
      if (!local && piece.handle !== 0) used.add(piece.handle);
      if (bytes < 0) return piece.handle;
      const key = `${local ? local.number : piece.handle + "outside"} ${offset} ${bytes}`;
      let view = views.get(key);
      if (view === undefined) {
        const kept = local ? whole.get(local) : piece.handle;
        const base = kept === undefined ? places.get(local!)! : 0;
        views.set(key, view = this.#view(kept ?? arena, base + offset, bytes));
      }
      return view;
    };
    const words: bigint[] = [], data = new Data();
    const add = (name: string, args: readonly Operand[]) => {
      this.#names.push(name);
      words.push(BigInt(numbers.get(name)!));
      const { parameters } = (symbols as Record<string, { parameters: readonly string[] }>)[name]!;
      parameters.forEach((type, i) => {
        const x = args[i]!;
        if (type === "u32") words.push(BigInt(handleOf(x as Piece)));
        else if (type === "f64") words.push(bitsOf(x as number));
        else if (type !== "buffer") words.push(BigInt(x as number | bigint));
        else if (x === null) words.push(-1n);
        else if (x instanceof Uint8Array) words.push(data.add(x as Uint8Array<ArrayBuffer>));
        else {
          const list = Uint32Array.from(x as Piece[], handleOf);
          words.push(data.add(new Uint8Array(list.buffer)));
        }
      });
    };
    for (const { name, args } of [...recording.entries, ...last]) {
      if (name === "cdn_write") add("cdn_copy", this.#constant(args));
      else add(name, args);
    }
    // Of what is in the arena and held, copies go to its holders.
    for (const local of passing) {
      for (const [handle, part] of local.handles) {
        const to = outside(this.#view(handle, 0, part.bytes));
        add("cdn_copy", [to, part, 0, 0, part.bytes]);
      }
    }
    const bytesOfData = data.joined(), uses = Uint32Array.from(used);
    backend.check(backend.functions.cdn_program_create(
      ...[out, backend.index, BigInt64Array.from(words), BigInt(words.length)] as const,
      ...[bytesOfData, BigInt(bytesOfData.length), uses, BigInt(uses.length)] as const,
    ));
    this.#handle = out[0]!;
  }

  #view(handle: number, offset: number, bytes: number): number {
    call("cdn_view", out, { handle, backend: this.#backend }, offset, bytes);
    return this.#own();
  }

  #allocate(bytes: number): number {
    const { functions, index } = this.#backend;
    this.#backend.check(functions.cdn_alloc(out, index, BigInt(bytes)));
    return this.#own();
  }

  #own(): number {
    this.#owned.push(out[0]!);
    return out[0]!;
  }

  // The arguments of a copy that does what a write from the host did.
  #constant([target, data, offset, bytes]: readonly Operand[]): readonly Operand[] {
    const handle = this.#allocate(bytes as number);
    const to = { handle, backend: this.#backend };
    call("cdn_write", to, data as Uint8Array<ArrayBuffer>, 0, bytes as number);
    return [target!, outside(handle), offset!, 0, bytes!];
  }

  /**
   * Does it so many times, or fewer where they take more than so many milliseconds; how many times
   * it was done.
   */
  run(times: number, milliseconds: number): number {
    const { functions } = this.#backend, profile = listening();
    traced?.("cdn_program_run", []);
    let most = BigInt(times);
    if (profile && most > 0n) { // which has a note for each call of one run
      for (const name of this.#names) profile(name, [], []);
      most = 1n;
    }
    const status = functions.cdn_program_run(this.#done, this.#handle, most, milliseconds);
    try {
      this.#backend.check(status);
    } catch (error) {
      if (status !== badHandle) throw error;
      throw new DisposedError(
        "capture: a tensor that the step uses was disposed of since it was captured; capture it " +
          "anew",
        { cause: error },
      );
    }
    return Number(this.#done[0]);
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    const { functions } = this.#backend;
    if (this.#handle) this.#backend.check(functions.cdn_program_destroy(this.#handle));
    for (const handle of this.#owned.splice(0)) this.#backend.check(functions.cdn_free(handle));
  }
}
