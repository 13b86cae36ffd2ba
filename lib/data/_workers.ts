// Workers that make batches, for as long as there are some to make.
import { ArgumentError, DataError } from "../native/errors.ts";
import { type HostBatch, hostTensors } from "./_collate.ts";
import type { Prepared } from "./_feed.ts";

/** What a Worker is told first. */
export interface Begin {
  op: string;
  module: string;
  args: unknown;
  /** Of the data set as the main thread has it. */
  length: number;
  classes: boolean;
  /** Is 1 once the Worker is to do no more. */
  stop: Int32Array;
}

/** A batch to make. */
export interface Job {
  id: number;
  numbers: Int32Array;
  /** Where the first of them is in the epoch's order. */
  at: number;
  seed: bigint;
  /** Is 1 once nobody waits for it. */
  cancelled: Int32Array;
  /** Memory of earlier ones, to be filled again. */
  spare: ArrayBuffer[];
}

/** What becomes of it. */
export interface Reply {
  id: number;
  host?: HostBatch;
  error?: { message: string; stack: string | undefined; sample: number | undefined };
}

// Workers keep a program from ending; those with nothing to do end after a while.
const IDLE_MS = 2000;

interface Waiting {
  size: number;
  resolve(batch: Prepared): void;
  reject(error: Error): void;
}

class Hand {
  readonly worker = new Worker(new URL("./_worker.ts", import.meta.url), { type: "module" });
  readonly jobs = new Map<number, Waiting>();
  readonly spare: ArrayBuffer[] = [];
}

/** Makes batches in several Workers, which start when they are needed. */
export class WorkerPool {
  readonly #begin: Omit<Begin, "stop">;
  readonly #count: number;
  #hands: Hand[] = [];
  #stop = new Int32Array(new SharedArrayBuffer(4));
  #jobs = 0; // so far
  #idle: ReturnType<typeof setTimeout> | undefined;

  /** Of up to `count` Workers. */
  constructor(begin: Omit<Begin, "stop">, count: number) {
    this.#begin = begin;
    this.#count = count;
  }

  /** Has the one with the least to do make a batch. */
  make(job: Omit<Job, "id" | "spare">): Promise<Prepared> {
    clearTimeout(this.#idle);
    const free = this.#hands.reduce(
      (least, hand) => least && least.jobs.size <= hand.jobs.size ? least : hand,
      undefined as Hand | undefined,
    );
    const start = !free || (free.jobs.size > 0 && this.#hands.length < this.#count);
    const hand = start ? this.#start() : free;
    const id = this.#jobs++;
    const made = new Promise<Prepared>((resolve, reject) => {
      hand.jobs.set(id, { size: job.numbers.length, resolve, reject });
    });
    const spare = hand.spare.splice(0);
    hand.worker.postMessage({ ...job, id, spare }, spare);
    return made;
  }

  #start(): Hand {
    const hand = new Hand();
    hand.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#done(hand, data);
    const ended = (event: Event) => {
      event.preventDefault();
      const { message = "it sent what cannot be copied" } = event as ErrorEvent;
      this.#hands = this.#hands.filter((other) => other !== hand);
      hand.worker.terminate();
      this.#fail(hand, new DataError(this.#says("a worker", message)));
    };
    hand.worker.onerror = hand.worker.onmessageerror = ended;
    hand.worker.postMessage({ ...this.#begin, stop: this.#stop });
    this.#hands.push(hand);
    return hand;
  }

  #says(what: string, message: string): string {
    const { op, module } = this.#begin;
    return `${op}: ${what} of ${module} failed: ${message}`;
  }

  #done(hand: Hand, { id, host, error }: Reply): void {
    const { size, resolve, reject } = hand.jobs.get(id)!;
    hand.jobs.delete(id);
    this.#rest();
    if (host) {
      const used = () => hand.spare.push(...hostTensors(host).map(({ data }) => data.buffer));
      return resolve({ host, size, used });
    }
    if (!error) return reject(new ArgumentError("cancelled"));
    const { message, stack, sample } = error;
    const cause = Object.assign(new Error(message), { stack });
    const what = sample === undefined ? "a batch" : `sample ${sample}`;
    reject(new DataError(this.#says(what, message), { cause }));
  }

  #fail(hand: Hand, error: Error): void {
    for (const { reject } of hand.jobs.values()) reject(error);
    hand.jobs.clear();
    this.#rest();
  }

  #rest(): void {
    if (this.#hands.some(({ jobs }) => jobs.size > 0)) return;
    clearTimeout(this.#idle);
    if (this.#hands.length > 0) this.#idle = setTimeout(() => this.dispose(), IDLE_MS);
  }

  /** Ends the Workers. One that is within a sample finishes that first. */
  dispose(): void {
    const hands = this.#hands;
    this.#hands = [];
    Atomics.store(this.#stop, 0, 1);
    this.#stop = new Int32Array(new SharedArrayBuffer(4));
    clearTimeout(this.#idle);
    for (const hand of hands) {
      hand.worker.terminate();
      this.#fail(hand, new ArgumentError(`${this.#begin.op}: the loader was disposed meanwhile`));
    }
  }
}
