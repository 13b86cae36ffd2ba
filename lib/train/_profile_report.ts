// A profile as a table, as sentences, and in Chrome's format.
import type { ProfileRecorder } from "./_profile_recorder.ts";
import type { Cost, OpCost, ProfileData, TraceEvent } from "./profile.ts";

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
const us = (time: number) => `${time.toFixed(1)} µs`;
const MB = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;
const titleOf = ({ op, layer, phase }: OpCost) =>
  `${op}${layer ? ` in ${layer}` : ""}${phase === "other" ? "" : ` (${phase})`}`;

/** The text of a table with columns that are as wide as their widest cell. */
function aligned(rows: readonly (readonly string[])[], left: number): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const cell = (text: string, i: number) =>
    i < left ? text.padEnd(widths[i]!) : text.padStart(widths[i]!);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

function cells({ calls, launches, time, idle, bytes, flops, ...cost }: Cost, busy: number) {
  const rate = (amount: number | undefined) =>
    amount === undefined || time === 0 ? "-" : (amount / time / 1000).toFixed(1); // giga a second
  const share = (of: number | undefined) => of === undefined ? "-" : percent(of);
  return [
    ...[`${calls}`, `${launches}`, time.toFixed(1), percent(busy > 0 ? time / busy : 0)],
    ...[idle.toFixed(1), bytes === undefined ? "?" : (bytes / 1e6).toFixed(3)],
    ...[flops === undefined ? "?" : (flops / 1e6).toFixed(3), rate(bytes), rate(flops)],
    ...[share(cost.bandwidthShare), share(cost.computeShare)],
  ];
}

const heads = ["calls", "launches", "µs", "time", "idle µs", "MB", "MFLOP", "GB/s", "GFLOP/s"];
const shares = ["of bandwidth", "of compute"];

export function tableOf(data: ProfileData): string {
  const { device, span, busy, host, ops, layers, launches, memory, leftOut, unmeasured } = data;
  const parts = [
    `${device}: ${us(span)}, of which ${percent(span > 0 ? busy / span : 0)} busy; ` +
    `${launches.length} launches; the host took ${us(host)}`,
    aligned([
      ["op", "layer", "phase", ...heads, ...shares],
      ...ops.map((op) => [op.op, op.layer, op.phase, ...cells(op, busy)]),
    ], 3),
  ];
  if (layers.length > 0) {
    const rows = layers.map((layer) => [layer.layer, ...cells(layer, busy)]);
    parts.push(aligned([["layer", ...heads, ...shares], ...rows], 1));
  }
  const owners = memory.owners.slice(0, 5).map(({ owner, bytes }) => `${owner} ${MB(bytes)}`);
  parts.push(`memory: at most ${MB(memory.peak)}: ${owners.join("; ")}`);
  if (leftOut > 0) parts.push(`${leftOut} launches beyond the limit are not timed`);
  if (unmeasured > 0) {
    parts.push(`${unmeasured} calls started no kernel that is timed (copies, vendors' libraries)`);
  }
  return [...parts, ...explained(data)].join("\n\n");
}

// Below this a kernel's time is mostly that of starting it.
const SHORT_US = 10;

/** A sentence for each of the three largest costs. */
export function explained(data: ProfileData): string[] {
  const { ops, span, busy, launches, device } = data;
  if (span === 0) return ["No work of the device's was seen."];
  const idle = span - busy;
  const found = ops.filter(({ time }) => time > 0).map((op) => ({
    time: op.time,
    text: `${percent(op.time / span)} is ${titleOf(op)}: ${reason(op, data)}.`,
  }));
  const waits = launches.filter((launch) => launch.idle > 0).length;
  if (idle > 0) {
    const whom = device === "cpu" ? "between calls" : "the device waited for the host";
    found.push({
      time: idle,
      text: `${percent(idle / span)} is idle: ${whom}, ${us(idle / waits)} each of ${waits} times` +
        "; larger batches, fewer and fused operations, and no reads in between give it more to do.",
    });
  }
  return found.sort((a, b) => b.time - a.time).slice(0, 3).map(({ text }) => text);
}

function reason(op: OpCost, { device, peaks }: ProfileData): string {
  const { launches, time, bytes, flops, bandwidthShare = 0, computeShare = 0 } = op;
  const each = time / launches;
  const what = `${launches} ${launches === 1 ? "launch" : "launches"}, ${us(each)} each`;
  if (device !== "cpu" && each < SHORT_US) {
    return `${what}, which is little more than starting them; larger batches or fused operations ` +
      "cost hardly more";
  }
  if (bytes === undefined || flops === undefined) {
    return `${what}; its bytes or FLOPs are not known`;
  }
  const intensity = `${(flops / Math.max(bytes, 1)).toFixed(1)} FLOPs a byte`;
  if (!peaks) return `${what}; ${intensity}, and { peaks: true } tells what the device can do`;
  const at = `${percent(bandwidthShare)} of the bandwidth and ${
    percent(computeShare)
  } of the compute`;
  if (Math.max(bandwidthShare, computeShare) < 0.5) {
    return `${what}, at ${at}: neither is the limit, as where shapes are small or awkward`;
  }
  return bandwidthShare > computeShare
    ? `${what}, at ${at}: memory is the limit; 16-bit floats or fusing it with its neighbours help`
    : `${what}, at ${at}: arithmetic is the limit; 16-bit floats or fewer operations help`;
}

/** Layers and calls by the host's clock, kernels by the device's, and memory. */
export function traceOf(
  { device, host, launches }: ProfileData,
  { runs, calls }: ProfileRecorder,
): { traceEvents: TraceEvent[] } {
  const threads = ["layers", "calls", device];
  const event = (ph: string, tid: number, name: string, rest: TraceEvent): TraceEvent => (
    { ph, pid: 0, tid, name, ...rest }
  );
  const whole = (tid: number, name: string, ts: number, dur: number, args: TraceEvent = {}) =>
    event("X", tid, name, { ts, dur, args });
  const next = (i: number) => calls[i + 1]?.at ?? host;
  return {
    traceEvents: [
      ...threads.map((name, tid) => event("M", tid, "thread_name", { args: { name } })),
      ...runs.map(({ layer, at, duration }) => whole(0, layer, at, duration)),
      ...calls.map(({ name, op, layer, phase, at, bytes, flops }, i) =>
        whole(1, name, at, next(i) - at, { op, layer, phase, bytes, flops })
      ),
      ...launches.map(({ kernel, op, layer, phase, begin, duration, blocks, threads }) =>
        whole(2, op, begin, duration, { kernel, layer, phase, blocks, threads })
      ),
      ...calls.map(({ at, live }) => event("C", 0, "memory", { ts: at, args: { bytes: live } })),
    ],
  };
}
