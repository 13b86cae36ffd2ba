// A convolution to be measured: its shape and arithmetic, its inputs, and its limits.
import {
  type DeviceInfo,
  type DType,
  type MatmulOptions,
  noGrad,
  randn,
  type Tensor,
} from "../../mod.ts";
import { convolved, inputGradient, weightGradient } from "../../lib/ops/conv/_convolution.ts";
import { shapesOf } from "../../lib/ops/conv/_shapes.ts";
import { floorUs, type Unit } from "../peaks.ts";
import { type PeerLine, runPeer } from "../timing.ts";

/** Images [n, c, h, w] by k square filters of taps x taps. */
export interface Layer {
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly k: number;
  readonly taps: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
}

/** What is computed in, under the name that rows have. */
export interface Method {
  readonly name: string;
  readonly dtype: DType;
  readonly precision: NonNullable<MatmulOptions["precision"]>;
  readonly unit: Unit;
  /** Products of the unit's in place of one. */
  readonly products: number;
}

/** The methods, float32 alone on the CPU. */
export function methodsOn({ device }: DeviceInfo): Method[] {
  const all: Method[] = [
    { name: "float32", dtype: "float32", precision: "float32", unit: "half", products: 3 },
    { name: "tf32", dtype: "float32", precision: "tf32", unit: "tf32", products: 1 },
    { name: "bfloat16", dtype: "bfloat16", precision: "float32", unit: "half", products: 1 },
  ];
  return device === "cpu" ? all.slice(0, 1) : all;
}

/** y, or a gradient. */
export const directions = ["forward", "input", "weight"] as const;

/** One of the things measured. */
export interface Task {
  readonly name: string;
  readonly layer: Layer;
  readonly method: Method;
  readonly direction: typeof directions[number];
}

/** All directions of layers in all methods; a network's first layer has no input's gradient. */
export function tasksOf(layers: readonly Layer[], methods: readonly Method[]): Task[] {
  return methods.flatMap((method) =>
    layers.flatMap((layer) =>
      directions.filter((direction) => direction !== "input" || layer.c > 3)
        .map((direction): Task => ({
          name: `${method.name} ${nameOf(layer)} ${direction}`,
          ...{ layer, method, direction },
        }))
    )
  );
}

/** What keeps the size where the stride is 1. */
export const samePadding = (taps: number, dilation: number): number => dilation * (taps - 1) >> 1;

/** As rows name it. */
export function nameOf({ n, c, h, w, k, taps, stride, padding, dilation, groups }: Layer): string {
  const usual = padding === samePadding(taps, dilation);
  return `${n}x${c}x${h}x${w} ${k} ${taps}x${taps} s${stride}` +
    (usual ? "" : ` p${padding}`) + (dilation > 1 ? ` d${dilation}` : "") +
    (groups > 1 ? ` g${groups}` : "") + (groups > 1 && groups === c ? " depthwise" : "");
}

// On the CPU a sixteenth of the images, for time's sake.
const imagesOn = ({ device }: DeviceInfo, n: number) => device === "cpu" ? Math.max(1, n >> 4) : n;

/** PyTorch's times of tasks, by name. */
export async function peersOf(
  tasks: readonly Task[],
  info: DeviceInfo,
  python: string,
): Promise<Map<string, PeerLine>> {
  const lines = await runPeer("torch_conv.py", python, [
    info.device.replace(/:.*/, ""),
    JSON.stringify(tasks.map(({ name, layer, method, direction }) => {
      const { n, c, h, w, k, taps, stride, padding, dilation, groups } = layer;
      return {
        ...{ name, dtype: method.dtype, tf32: method.name === "tf32", direction },
        ...{ x: [imagesOn(info, n), c, h, w], w: [k, c / groups, taps, taps] },
        ...{ stride, padding, dilation, groups },
      };
    })),
  ]);
  return new Map(lines.map((line) => [line.name, line]));
}

/** The inputs of a task, which a scope must own, and what computes it by a variant. */
export function workOf(
  { layer, method, direction }: Task,
  info: DeviceInfo,
): { run(variant: string): Tensor; floor: number | null; flops: number } {
  const { n, c, h, w, k, taps, groups } = layer;
  const { dtype, precision, unit, products } = method;
  const made = (...shape: number[]) => randn(shape, { dtype }).to({ format: "channelsLast" });
  const x = made(imagesOn(info, n), c, h, w), weight = made(k, c / groups, taps, taps);
  const { stride, padding, dilation } = layer;
  const options = { stride, padding, dilation, groups, precision };
  const dy = made(...shapesOf("conv2d", x, weight, null, options).output);
  const flops = 2 * (dy.size * c / groups) * taps * taps;
  const bytes = (x.size + dy.size + weight.size) * (dtype === "bfloat16" ? 2 : 4);
  return {
    flops,
    floor: floorUs(info.name, unit, products * flops, bytes),
    run(variant) {
      const shapes = shapesOf("conv2d", x, weight, null, { ...options, variant });
      return noGrad(() =>
        direction === "forward"
          ? convolved(x, weight, shapes)
          : direction === "input"
          ? inputGradient(dy, weight, shapes)
          : weightGradient(dy, x, shapes)
      );
    },
  };
}
