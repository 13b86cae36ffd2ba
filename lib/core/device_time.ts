import { type Backend, backendFor, type DeviceName, synchronize } from "./backend.ts";
import { checkFunction, checkOptions } from "./options.ts";
import { scope } from "./scope.ts";

/** Options of {@linkcode deviceTime}. */
export interface DeviceTimeOptions {
  /** Whose time. By default that of init(). */
  device?: DeviceName | undefined;
}

/**
 * The microseconds that a device takes for the work that `fn` queues, by the device's own clock:
 * from when it has done all that was queued before until it has done the last of `fn`'s. Tensors
 * made in `fn` are freed. An async `fn` is awaited.
 *
 * A device that has nothing else to do waits for the host between short operations, and that counts
 * too: to measure what they take back to back, queue work that keeps the device busy first, and let
 * `fn` repeat them. The first run of an operation takes longer than the next. On the CPU, where
 * work is done at once, it is the time of the calls.
 *
 * PyTorch's counterpart is a pair of `torch.cuda.Event(enable_timing=True)`.
 *
 * @throws {ArgumentError} when `fn` is no function.
 *
 * ```ts
 * import { deviceTime, randn } from "@cudeno/cudeno";
 * const a = randn([256, 256]), b = randn([256, 256]);
 * a.matmul(b).dispose(); // the first run
 * const times = 10;
 * const microseconds = await deviceTime(() => {
 *   for (let i = 0; i < times; i++) a.matmul(b).dispose();
 * });
 * console.log(`${(microseconds / times).toFixed(1)} µs each`);
 * ```
 */
export async function deviceTime(
  fn: () => unknown,
  options: DeviceTimeOptions = {},
): Promise<number> {
  checkOptions("deviceTime", options, ["device"]);
  checkFunction("deviceTime", "fn", fn);
  const backend = backendFor(options.device);
  const { functions } = backend;
  const events: number[] = [];
  try {
    events.push(newEvent(backend), newEvent(backend));
    const [first, last] = events as [number, number];
    backend.check(functions.cdn_event_record(first));
    const done = scope(() => settled(fn()));
    if (done) await done;
    backend.check(functions.cdn_event_record(last));
    await synchronize(backend.device); // so that asking below holds up nobody
    const elapsed = new Float64Array(1);
    backend.check(functions.cdn_event_elapsed(elapsed, first, last));
    return elapsed[0]!;
  } finally {
    for (const event of events) functions.cdn_event_destroy(event);
  }
}

function newEvent(backend: Backend): number {
  const event = new Uint32Array(1);
  backend.check(backend.functions.cdn_event_create(event, backend.index));
  return event[0]!;
}

/** What there is to wait for; not the result, so that a scope frees the tensors in it. */
export function settled(result: unknown): Promise<void> | undefined {
  return result instanceof Promise ? result.then(() => {}) : undefined;
}
