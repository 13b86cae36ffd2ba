// What the times of kernels come to, by operation and layer.
import type { Backend } from "../core/backend.ts";
import type { Peaks } from "./_profile_peaks.ts";
import type { CallRecord, ProfileRecorder } from "./_profile_recorder.ts";
import type { Cost, LaunchTime, ProfileData } from "./profile.ts";

/** A kernel as the library tells of it. */
export interface TimedLaunch {
  readonly kernel: string;
  readonly begin: number;
  readonly duration: number;
  readonly note: number;
  readonly blocks: number;
  readonly threads: number;
}

// Events follow one another at once where the device did not wait.
const WAITED_US = 2;
// What events tell apart.
const CLOCK_US = 0.5;

/** The figures of a profile: of each kernel, and by operation and layer. */
export function summary(
  backend: Backend,
  recorder: ProfileRecorder,
  timed: readonly TimedLaunch[],
  { host, leftOut, peaks, overhead }: {
    host: number;
    leftOut: number;
    peaks: Peaks | undefined;
    overhead: number;
  },
): ProfileData {
  const launches: (LaunchTime & { call: CallRecord })[] = [];
  let last = timed[0]?.begin ?? 0;
  for (const { note, ...launch } of timed) {
    const call = recorder.calls[note];
    if (!call) continue;
    const waited = launches.length === 0 || launch.begin - last > WAITED_US;
    const cut = waited ? Math.max(0, Math.min(overhead, launch.duration - CLOCK_US)) : 0;
    const begin = launch.begin + cut, duration = launch.duration - cut;
    const { op, layer, phase, name } = call;
    const kernel = launch.kernel || `cdn_${name}`;
    const noting = call === launches.at(-1)?.call ? 0 : call.cost;
    const idle = Math.max(0, launch.begin - last - noting);
    launches.push({ ...launch, kernel, op, layer, phase, begin, duration, idle, call });
    last = Math.max(last, begin + duration);
  }
  const idle = launches.reduce((sum, launch) => sum + launch.idle, 0);
  const busy = launches.reduce((sum, { duration }) => sum + duration, 0);
  const costs = <T>(keyOf: (call: CallRecord) => T) => costsBy(recorder, launches, keyOf, peaks);
  const withLaunch = new Set(launches.map(({ call }) => call));
  return {
    device: backend.device,
    ...{ host, span: busy + idle, busy },
    ops: costs(({ op, layer, phase }) => ({ op, layer, phase })),
    layers: costs(({ layer }) => ({ layer })).filter(({ layer }) => layer !== ""),
    launches: launches.map(({ call: _call, ...launch }) => launch),
    leftOut,
    unmeasured: leftOut > 0 ? 0 : recorder.calls.filter((call) => !withLaunch.has(call)).length,
    memory: {
      peak: recorder.calls.reduce((most, { live }) => Math.max(most, live), 0),
      owners: recorder.owners(),
      timeline: recorder.calls.map(({ at, live }) => ({ at, live })),
    },
    peaks,
  };
}

function costsBy<T>(
  recorder: ProfileRecorder,
  launches: readonly (LaunchTime & { call: CallRecord })[],
  keyOf: (call: CallRecord) => T,
  peaks: Peaks | undefined,
): (T & Cost)[] {
  const found = new Map<string, T & Cost & { least: number }>();
  const of = (call: CallRecord) => {
    const key = keyOf(call), text = JSON.stringify(key);
    let cost = found.get(text);
    if (!cost) {
      const none = { calls: 0, launches: 0, time: 0, idle: 0, bytes: 0, flops: 0, least: 0 };
      found.set(text, cost = { ...key, ...none });
    }
    return cost;
  };
  const plus = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? undefined : a + b;
  for (const call of recorder.calls) {
    const cost = of(call);
    cost.calls++;
    cost.bytes = plus(cost.bytes, call.bytes);
    cost.flops = plus(cost.flops, call.flops);
    const rate = peaks?.[/16$/.test(call.dtype) ? "half" : "float32"] ?? Infinity;
    cost.least += (call.flops ?? 0) / rate; // seconds
  }
  for (const { call, duration, idle } of launches) {
    const cost = of(call);
    cost.launches++;
    cost.time += duration;
    cost.idle += idle;
  }
  return Array.from(found.values(), ({ least, ...cost }) => {
    const seconds = cost.time / 1e6;
    if (!peaks || seconds === 0) return cost as unknown as T & Cost;
    const { bytes, flops } = cost;
    return {
      ...cost as unknown as T & Cost,
      bandwidthShare: bytes === undefined ? undefined : bytes / seconds / peaks.bandwidth,
      computeShare: flops === undefined ? undefined : least / seconds,
    };
  }).sort((a, b) => b.time - a.time);
}
