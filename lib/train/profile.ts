import { type Backend, backendFor, type DeviceName, synchronize } from "../core/backend.ts";
import { settled } from "../core/device_time.ts";
import { checkFunction, checkInteger, checkOptions } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { zeros } from "../create.ts";
import { replaceFile } from "../io/_files.ts";
import { call } from "../native/call.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkModule } from "../nn/_check.ts";
import type { AnyModule } from "../nn/module.ts";
import { summary, type TimedLaunch } from "./_profile_costs.ts";
import { type Peaks, peaksOf } from "./_profile_peaks.ts";
import { type Owner, type Phase, ProfileRecorder } from "./_profile_recorder.ts";
import { explained, tableOf, traceOf } from "./_profile_report.ts";

/** Options of {@linkcode profile}. */
export interface ProfileOptions {
  /** The device whose work is timed. By default that of init(). */
  device?: DeviceName | undefined;
  /** The model, or models, whose layers are told apart. */
  model?: AnyModule | readonly AnyModule[] | undefined;
  /** Launches that are timed; later ones are counted. Default 20000. */
  limit?: number | undefined;
  /** Measure what the device can do first, once a program, to give shares of it. Default false. */
  peaks?: boolean | undefined;
}

/** A kernel's run, or on the CPU a call's. Times are microseconds since the profile began. */
export interface LaunchTime {
  /** The kernel; on the CPU the function of cudeno.h. */
  readonly kernel: string;
  /** The operation that it was for. */
  readonly op: string;
  /** The layer, by name and class; empty outside of the model's. */
  readonly layer: string;
  /** In which part of a step; `"other"` is an optimizer's, for one. */
  readonly phase: Phase;
  /** When it began. */
  readonly begin: number;
  /** How long it took. */
  readonly duration: number;
  /** Since when the device had nothing to do, before it. */
  readonly idle: number;
  /** Blocks of the grid; 1 on the CPU. */
  readonly blocks: number;
  /** Threads of a block; 1 on the CPU. */
  readonly threads: number;
}

/** What some of the work costs: microseconds, bytes and operations of all its calls together. */
export interface Cost {
  /** Native calls. */
  calls: number;
  /** Kernels. */
  launches: number;
  /** The kernels' time. */
  time: number;
  /** How long the device waited before them. */
  idle: number;
  /** What they have to read and write at least; undefined where it is not known. */
  bytes: number | undefined;
  /** Their arithmetic, a multiply-add being two; undefined where it is not known. */
  flops: number | undefined;
  /** bytes / time, of the device's; where peaks were asked for. */
  bandwidthShare?: number | undefined;
  /** flops / time, of the device's; where peaks were asked for. */
  computeShare?: number | undefined;
}

/** The cost of an operation in a layer, forward or backward. */
export interface OpCost extends Cost {
  /** The operation, or the native function where it is none's. */
  readonly op: string;
  /** The layer, by name and class; empty outside of the model's. */
  readonly layer: string;
  /** In which part of a step. */
  readonly phase: Phase;
}

/** The cost of a layer, forward and backward. */
export interface LayerCost extends Cost {
  /** The layer, by name and class. */
  readonly layer: string;
}

/** The bytes of tensors over time. */
export interface MemoryProfile {
  /** The most that was seen, before a call. */
  readonly peak: number;
  /** Who had it then, largest first. */
  readonly owners: readonly Owner[];
  /** Bytes at each call; microseconds of the host's clock since the profile began. */
  readonly timeline: readonly { readonly at: number; readonly live: number }[];
}

/** The plain fields of a {@linkcode Profile}. */
export interface ProfileData {
  /** The device. */
  readonly device: DeviceName;
  /** Microseconds until the host had queued all. */
  readonly host: number;
  /** Microseconds from the first kernel's begin to the last one's end, without profiling's own. */
  readonly span: number;
  /** Of those, with a kernel running. */
  readonly busy: number;
  /** By operation, layer and phase, the largest time first. */
  readonly ops: readonly OpCost[];
  /** By layer, the largest time first. */
  readonly layers: readonly LayerCost[];
  /** Each kernel in its order. */
  readonly launches: readonly LaunchTime[];
  /** Launches beyond the limit, without a time. */
  readonly leftOut: number;
  /** Calls that started no kernel of the library's: copies, vendors' libraries. */
  readonly unmeasured: number;
  /** The memory. */
  readonly memory: MemoryProfile;
  /** What the device can do, where that was asked for. */
  readonly peaks: Peaks | undefined;
}

/** An event of a Chrome trace. */
export type TraceEvent = Readonly<Record<string, unknown>>;

/**
 * What {@linkcode profile} found. Printing it prints the table.
 *
 * ```ts
 * import { profile, randn } from "@cudeno/cudeno";
 * const x = randn([64, 64]);
 * const { data } = await profile(() => x.matmul(x).relu());
 * for (const { op, time, flops } of data.ops) console.log(op, time, flops);
 * ```
 */
export class Profile {
  /** The figures. */
  readonly data: ProfileData;
  readonly #recorder: ProfileRecorder;

  /** Made by {@linkcode profile}. */
  constructor(data: ProfileData, recorder: ProfileRecorder) {
    this.data = data;
    this.#recorder = recorder;
  }

  static {
    const value = this.prototype.toString;
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), { value });
  }

  /** Why it is slow: a sentence for each of the three largest costs. */
  explain(): string[] {
    return explained(this.data);
  }

  /** The table, the memory's owners, and {@linkcode explain}. */
  toString(): string {
    return tableOf(this.data);
  }

  /** The figures, and `explain`. */
  toJSON(): ProfileData & { readonly explain: readonly string[] } {
    return { ...this.data, explain: this.explain() };
  }

  /** Layers, calls, kernels, memory in Chrome's format: for chrome://tracing, ui.perfetto.dev. */
  trace(): { readonly traceEvents: readonly TraceEvent[] } {
    return traceOf(this.data, this.#recorder);
  }

  /** Writes trace() to a file, which is replaced; needs --allow-read and --allow-write. */
  async save(path: string | URL): Promise<void> {
    await replaceFile(path, new TextEncoder().encode(JSON.stringify(this.trace())));
  }
}

let running = false;

/**
 * Runs `fn`, to its end if it is async, and says where the time goes: by operation and layer, with
 * bytes, arithmetic, memory, and why it is slow. Tensors made in `fn` are freed. The first run of
 * an operation takes longer than the next: run `fn` once before.
 *
 * On GPUs each kernel is timed by events before and after it, which keep it from overlapping the
 * next; what an empty kernel takes by them is deducted where the device had waited. So short
 * kernels are known to about a microsecond. On the CPU a call's time is that of its work.
 *
 * PyTorch's counterpart is `torch.profiler.profile`.
 *
 * @throws {ArgumentError} when a profile is under way.
 *
 * ```ts
 * import { nn, profile, randn } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(64, 64), new nn.ReLU(), new nn.Linear(64, 8));
 * const x = randn([32, 64]);
 * const found = await profile(() => model.forward(x).sum().backward(), { model });
 * console.log(`${found}`); // a table
 * console.log(found.explain()[0]);
 * ```
 */
export async function profile(
  fn: () => unknown,
  options: ProfileOptions = {},
): Promise<Profile> {
  checkOptions("profile", options, ["device", "model", "limit", "peaks"]);
  checkFunction("profile", "fn", fn);
  const { model = [], limit = 20000 } = options;
  checkInteger("profile", "limit", limit, 1);
  const models = (Array.isArray(model) ? model : [model]) as AnyModule[];
  for (const each of models) checkModule("profile", "model", each as never);
  if (running) {
    throw new ArgumentError("profile: one is under way; await it before the next");
  }
  running = true;
  const backend = backendFor(options.device);
  try {
    const peaks = options.peaks ? await peaksOf(backend.device) : undefined;
    const overhead = backend.device === "cpu" ? 0 : await overheadOf(backend);
    await begin(backend, limit);
    const recorder = new ProfileRecorder(backend);
    await recorder.run(models, () => scope(() => settled(fn())));
    const host = recorder.now();
    const { launches, leftOut } = await end(backend);
    return new Profile(
      summary(backend, recorder, launches, { host, leftOut, peaks, overhead }),
      recorder,
    );
  } finally {
    backend.functions.cdn_profile_read(null, null, null, 0n); // forgets what an error has left
    running = false;
  }
}

async function begin(backend: Backend, limit: number): Promise<void> {
  await synchronize(backend.device);
  backend.check(backend.functions.cdn_profile_begin(backend.index, BigInt(limit)));
}

const NAME_BYTES = 256;

async function end(backend: Backend): Promise<{ launches: TimedLaunch[]; leftOut: number }> {
  await synchronize(backend.device); // so that asking below holds up nobody
  const { functions } = backend;
  const counts = new BigInt64Array(2);
  backend.check(functions.cdn_profile_stop(counts));
  const [count, leftOut] = Array.from(counts, Number) as [number, number];
  const names = new Uint8Array(NAME_BYTES * count), times = new Float64Array(2 * count);
  const facts = new BigInt64Array(3 * count);
  backend.check(functions.cdn_profile_read(names, times, facts, counts[0]!));
  const launches = Array.from({ length: count }, (_, i): TimedLaunch => {
    const name = names.subarray(NAME_BYTES * i, NAME_BYTES * (i + 1));
    const [note, blocks, threads] = Array.from(facts.subarray(3 * i, 3 * i + 3), Number);
    return {
      kernel: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
      begin: times[2 * i]!,
      duration: times[2 * i + 1]!,
      ...{ note: note!, blocks: blocks!, threads: threads! },
    };
  });
  return { launches, leftOut };
}

const PROBES = 15;

// What events say of a kernel that does next to nothing, on a device that waits for it.
async function overheadOf(backend: Backend): Promise<number> {
  using x = zeros([1], { device: backend.device });
  await begin(backend, PROBES);
  for (let i = 0; i < PROBES; i++) {
    call("cdn_fill", x, 1, 0, x.code);
    backend.check(backend.functions.cdn_sync(backend.index));
  }
  const { launches } = await end(backend);
  return launches.map(({ duration }) => duration).sort((a, b) => a - b)[PROBES >> 1]!;
}
