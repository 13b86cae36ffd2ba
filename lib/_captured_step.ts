// A function of tensors that is recorded while it runs, until it has done the same twice, and from
// then on is done by the device alone.
import { keep, ownAs, syncScope } from "./core/scope.ts";
import { parametersChanged } from "./core/autocast.ts";
import { type Backend, backendFor } from "./core/backend.ts";
import { zeroGrad } from "./core/autograd.ts";
import type { Differentiable } from "./core/node.ts";
import { isTensor } from "./core/options.ts";
import { Program } from "./core/program.ts";
import { type RandomPlace, randomPlace, setRandomPlace, withRandomThere } from "./core/random.ts";
import { differenceOf, type Entry, outside, Recording } from "./core/recording.ts";
import { formatShape, sameShape } from "./core/shape.ts";
import { call } from "./native/call.ts";
import { ArgumentError, OutOfMemoryError } from "./native/errors.ts";
import { mapLeaves } from "./_structure.ts";
import { empty } from "./_empty.ts";
import type { Tensor } from "./tensor.ts";

// The first run makes what is there from then on; if it is the second that does, there is a third.
const mostRuns = 4;

/** A leaf's gradient where the step begins and where it ends. */
interface Gradient {
  readonly leaf: Differentiable;
  readonly before: boolean;
  /** Another handle on it; none where it is gone by then. */
  readonly after: Differentiable | undefined;
}

/** What a run has given. */
interface Ready {
  readonly program: Program;
  readonly recording: Recording;
  /** What it returned, with tensors of our own. */
  readonly result: unknown;
  readonly gradients: readonly Gradient[];
  /** Random blocks that it takes. */
  readonly taken: bigint;
}

/** Options of a {@linkcode CapturedStep}. */
export interface CapturedStepOptions {
  /** Where it works; default: where the tensors are that it is given. */
  backend?: Backend | undefined;
  /** Go on without capturing where that is not possible, instead of an error. */
  tolerant?: boolean | undefined;
}

/** A step that is captured as it is called. */
export class CapturedStep<In extends readonly unknown[], Out> implements Disposable {
  readonly #fn: (...inputs: In) => Out;
  readonly #tolerant: boolean;
  #backend: Backend | undefined;
  #inputs: In | undefined; // where the tensors of each call are copied to
  #runs = 0;
  #last: Recording | undefined;
  #ready: Ready | undefined;
  #state: Tensor | undefined; // of random numbers: a seed and an offset, int64
  #place: Pick<RandomPlace, "seed" | "drawn"> | undefined; // what the state says
  #refused: string | undefined;

  /** Of a function. */
  constructor(fn: (...inputs: In) => Out, options: CapturedStepOptions = {}) {
    this.#fn = fn;
    this.#backend = options.backend;
    this.#tolerant = options.tolerant ?? false;
  }

  /** Whether it has been captured. */
  get captured(): boolean {
    return this.#ready !== undefined;
  }

  /** The tensors that it reads, once it was called. */
  get inputs(): In | undefined {
    return this.#inputs;
  }

  /** Why it was not captured, where it is not going to be. */
  get refused(): string | undefined {
    return this.#refused;
  }

  /** Does the step with these inputs. */
  run(...inputs: In): Out {
    const own = this.#refused === undefined ? this.#filled(inputs) : inputs;
    if (this.#refused !== undefined) return this.#fn(...own);
    if (!this.#current()) return this.#record(own);
    this.#replay(1, Infinity);
    return aliases(this.#ready!.result) as Out;
  }

  /**
   * Does it so many times with the inputs of the last call, or fewer where that takes more
   * milliseconds; returns how many times. Only once it is captured.
   */
  repeat(times: number, milliseconds: number): number {
    return this.#current() ? this.#replay(times, milliseconds) : 0;
  }

  /** In what the step differed from what was captured, as verify() last found, if it did. */
  difference: string | undefined;

  /**
   * Does the step as JavaScript says, to see whether that is still what was captured; if not, it
   * is captured anew.
   */
  verify(...inputs: In): Out {
    if (!this.#ready) return this.run(...inputs);
    const before = this.#ready.recording;
    return this.#record(this.#filled(inputs), (now) => {
      this.difference = now.refused ?? differenceOf(before, now);
      return this.difference === undefined;
    });
  }

  // Whether what was captured can be done again; where it is out of date that is an error, or it is
  // forgotten.
  #current(): boolean {
    const ready = this.#ready;
    if (!ready) return false;
    const stale = staleBy(ready);
    if (stale === undefined) return true;
    if (!this.#tolerant) {
      throw new ArgumentError(`capture: ${stale} since the step was captured; capture it anew`);
    }
    this.#forget();
    return false;
  }

  #forget(): void {
    this.#ready?.program[Symbol.dispose]();
    dispose(this.#ready?.result);
    for (const { after } of this.#ready?.gradients ?? []) dispose(after);
    this.#ready = this.#last = undefined;
    this.#runs = 0;
  }

  #record(inputs: In, holds?: (now: Recording) => boolean): Out {
    const backend = this.#backend ??= backendFor(undefined);
    const recording = new Recording(backend, this.#tolerant);
    parametersChanged(); // casts of parameters are part of the step
    const state = this.#state ??= keep(empty("capture", [2], {
      dtype: "float64",
      device: backend.device,
    }));
    this.#place = undefined;
    this.#bringPlace();
    const had = new Set(this.#last?.leaves);
    for (const leaf of had) if (!leaf.grad) had.delete(leaf);
    const { result, taken } = recording.run(() =>
      withRandomThere(state, () => syncScope(() => aliases(this.#fn(...inputs))))
    );
    this.#place = undefined; // the device's state stood still
    if (result instanceof Promise) {
      result.catch(() => {});
      throw new ArgumentError("capture: the function is async; what is captured must not wait");
    }
    if (holds?.(recording)) return result as Out;
    if (holds) this.#forget();
    const before = this.#last;
    this.#last = recording;
    this.#runs++;
    if (recording.refused !== undefined) return this.#refuse(recording.refused, result);
    const difference = before ? differenceOf(before, recording) : "it ran once only";
    if (difference === undefined) this.#build(recording, result, had, taken, state);
    else if (this.#runs >= mostRuns) return this.#refuse(difference, result);
    return result as Out;
  }

  #refuse(reason: string, result: unknown): Out {
    if (!this.#tolerant) throw new ArgumentError(`capture: ${reason}`);
    this.#refused = reason;
    this.#last = undefined;
    return result as Out;
  }

  #build(
    recording: Recording,
    result: unknown,
    had: ReadonlySet<Differentiable>,
    taken: bigint,
    state: Tensor,
  ): void {
    const advance: Entry = {
      name: "cdn_random_advance",
      args: [outside(state.handle), taken],
    };
    const backend = this.#backend!;
    const make = () => new Program(backend, recording, taken > 0n ? [advance] : []);
    let program: Program;
    try {
      program = make();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      backend.check(backend.functions.cdn_memory_trim(backend.index));
      program = make();
    }
    // Leaves of the step's own are gone, and their gradients with them.
    const leaves = [...recording.leaves].filter((leaf) => !leaf.disposed);
    const gradients = leaves.map((leaf) => ({
      leaf,
      before: had.has(leaf),
      after: leaf.grad ? keep(leaf.grad.alias()) : undefined,
    }));
    const own = mapLeaves(result, isTensor, (x) => isTensor(x) ? keep((x as Tensor).alias()) : x);
    this.#ready = { program, recording, result: own, gradients, taken };
    this.#last = undefined;
  }

  #replay(times: number, milliseconds: number): number {
    const { program, recording, gradients, taken } = this.#ready!;
    if (taken > 0n) this.#bringPlace();
    const done = program.run(times, milliseconds);
    if (taken > 0n) {
      const { seed, drawn } = randomPlace();
      this.#place = { seed, drawn: drawn + taken * BigInt(done) };
      setRandomPlace(this.#place);
    }
    for (const { leaf, after } of gradients) {
      if (!after) {
        if (leaf.grad) zeroGrad([leaf]);
      } else if (!leaf.grad || leaf.grad.disposed) leaf.grad = ownAs(after.alias(), leaf);
    }
    parametersChanged();
    for (const fn of recording.after) fn(done);
    return done;
  }

  // Has the device's random numbers go on where the process's do.
  #bringPlace(): void {
    const { seed, drawn } = randomPlace();
    if (this.#place?.seed === seed && this.#place.drawn === drawn) return;
    call("cdn_write", this.#state, BigInt64Array.of(seed, drawn), 0, 16);
    this.#place = { seed, drawn };
  }

  // The inputs where the step finds them: those of the first call, with the numbers of this one.
  #filled(inputs: In): In {
    const given = leavesOf(inputs);
    if (!this.#inputs) {
      const [first] = given.filter(([x]) => isTensor(x)) as [Tensor, string][];
      this.#backend ??= first?.[0].backend;
      this.#inputs = mapLeaves(inputs, isTensor, (x) => isOwn(x) ? keep(x.clone()) : x) as In;
      return this.#inputs;
    }
    const own = leavesOf(this.#inputs);
    if (own.length !== given.length) {
      throw new ArgumentError(
        `capture: ${given.length} inputs were given, and ${own.length} the time before`,
      );
    }
    given.forEach(([x, place], i) => {
      const [to] = own[i]!;
      if (!isOwn(x) || !isTensor(to)) {
        if (Object.is(x, to)) return;
        throw new ArgumentError(
          `capture: input${place} is not what it was the time before; only tensors, of one ` +
            "shape, may change: capture another step for it",
        );
      }
      const fixed = to as Tensor;
      if (x.dtype !== fixed.dtype || !sameShape(x.shape, fixed.shape)) {
        const [now, then] = [x, fixed].map(({ dtype, shape }) => `${dtype} ${formatShape(shape)}`);
        throw new ArgumentError(
          `capture: input${place} is ${now}, and was ${then}: a captured step is of one shape; ` +
            "capture another step for another one",
        );
      }
      fixed.copyFrom(x);
    });
    return this.#inputs;
  }

  /** Frees what it holds. */
  [Symbol.dispose](): void {
    this.#forget();
    if (this.#inputs) {
      for (const [x] of leavesOf(this.#inputs)) if (isOwn(x)) x.dispose();
    }
    this.#inputs = undefined;
    this.#state?.dispose();
    this.#state = undefined;
  }
}

// A tensor whose numbers are an input; one with requiresGrad is a parameter, and used as it is.
const isOwn = (x: unknown): x is Tensor => isTensor(x) && !(x as Tensor).requiresGrad;

function leavesOf(structure: unknown): [unknown, string][] {
  const found: [unknown, string][] = [];
  mapLeaves(structure, isTensor, (x, place) => void found.push([x, place]));
  return found;
}

function staleBy({ recording, gradients }: Ready): string | undefined {
  for (const { leaf, before } of gradients) {
    if (!leaf.requiresGrad) return "requiresGrad of a parameter was set to false";
    if ((leaf.grad !== null) !== before) {
      return before
        ? "gradients were freed, by zeroGrad() perhaps,"
        : "gradients came to parameters that had none, by a missing zeroGrad() perhaps,";
    }
  }
  for (const look of recording.before) {
    const reason = look();
    if (reason) return reason;
  }
  return undefined;
}

// Handles of their own, which know nothing of how they were made.
function aliases(result: unknown): unknown {
  return mapLeaves(result, isTensor, (x) => isTensor(x) ? (x as Tensor).alias() : x);
}

function dispose(result: unknown): void {
  for (const [x] of leavesOf(result)) if (isTensor(x)) (x as Tensor).dispose();
}
