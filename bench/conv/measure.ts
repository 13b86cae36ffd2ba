// A convolution by several variants in turn, beside PyTorch's: time, floor, memory.
import { type DeviceInfo, memory, resetPeakMemory, scope, type Tensor } from "../../mod.ts";
import {
  deviceUsEach,
  type DeviceUsOptions,
  type PeerLine,
  rounded,
  type Row,
  row,
  runs,
} from "../timing.ts";
import { type Task, workOf } from "./layer.ts";

/** A row of bench/results/<machine>/conv.json; the peer is PyTorch. */
export interface ConvRow extends Row {
  tflops: number;
  /** Bytes that the call takes besides its inputs and result. */
  workspace: number;
  /** The vendor's library as our variant, measured in turn with ours; null where it is missing. */
  cudnn_us?: number | null;
  cudnn_workspace?: number | null;
}

/** Bytes that something takes besides its inputs and result. */
export function workspaceOf(run: () => Tensor): number {
  resetPeakMemory();
  const y = run();
  const { peak, live } = memory();
  y.dispose();
  return peak - live;
}

/** The rows of those of the variants that take it, under the task's name and theirs. */
export async function measure(
  task: Task,
  variants: readonly string[],
  info: DeviceInfo,
  peer: PeerLine | undefined,
  timing: DeviceUsOptions = {},
): Promise<ConvRow[]> {
  return await scope(async () => {
    const work = workOf(task, info);
    const taking = variants.filter((variant) =>
      runs(() => work.run(variant).dispose(), `${variant}, ${task.method.name}`)
    );
    const workspaces = taking.map((variant) => workspaceOf(() => work.run(variant)));
    const times = await deviceUsEach(
      taking.map((variant) => () => work.run(variant).dispose()),
      info.device,
      timing,
    );
    return taking.map((variant, i): ConvRow => ({
      ...row(
        `${task.name} ${variant}`,
        times[i]!,
        peer?.peer ?? "none",
        peer?.us ?? null,
        work.floor,
      ),
      tflops: rounded(work.flops / times[i]! / 1e6),
      workspace: workspaces[i]!,
    }));
  });
}

/** The default's row, with what the vendor's library takes where there is such a variant. */
export async function compare(
  task: Task,
  variants: readonly string[],
  info: DeviceInfo,
  peer: PeerLine | undefined,
  timing: DeviceUsOptions = {},
): Promise<ConvRow> {
  const tried = ["default", "cudnn"].filter((variant) => variants.includes(variant));
  const [ours, cudnn] = await measure(task, tried, info, peer, timing);
  return {
    ...ours!,
    name: task.name,
    cudnn_us: cudnn?.ours_us ?? null,
    cudnn_workspace: cudnn?.workspace ?? null,
  };
}

/** A line for reading. */
export function line(r: ConvRow): string {
  const number = (x: number | null | undefined, digits = 2) => x?.toFixed(digits) ?? "";
  return [
    r.name.padEnd(60),
    number(r.ours_us).padStart(11),
    String(Number(r.tflops.toPrecision(3))).padStart(10),
    number(r.peer_us).padStart(11),
    number(r.ratio).padStart(7),
    number(r.cudnn_us).padStart(11),
    number(r.floor_us === null ? null : r.floor_us / r.ours_us).padStart(7),
    number(r.workspace / 2 ** 20, 1).padStart(9),
  ].join("");
}

/** What stands above such lines. */
export const heading = [
  "".padEnd(60),
  "us".padStart(11),
  "TFLOP/s".padStart(10),
  "PyTorch".padStart(11),
  "ratio".padStart(7),
  "cudnn".padStart(11),
  "floor".padStart(7),
  "MiB more".padStart(9),
].join("");
