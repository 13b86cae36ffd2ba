// cuDNN's pooling, relu and batch normalisation, forward, on memory of its own: its functions are
// called from here, and so is the driver. Images are [n, h, w, c] in memory.
import type { DType } from "../../mod.ts";
import { median } from "../timing.ts";

// A pointer that is no buffer of ours is a number.
const [i, d, at, host] = ["i32", "f64", "u64", "buffer"] as const;
const status = <const A extends Deno.NativeType[]>(...parameters: A) => ({
  parameters,
  result: "i32" as const,
});
const driverFunctions = {
  cuMemAlloc_v2: status(host, at),
  cuMemFree_v2: status(at),
  cuMemsetD8_v2: status(at, "u8", at),
  cuEventCreate: status(host, i),
  cuEventRecord: status(at, at),
  cuEventSynchronize: status(at),
  cuEventElapsedTime: status(host, at, at),
};
const cudnnFunctions = {
  cudnnCreate: status(host),
  cudnnCreateTensorDescriptor: status(host),
  cudnnSetTensor4dDescriptor: status(at, i, i, i, i, i, i),
  cudnnCreatePoolingDescriptor: status(host),
  cudnnSetPooling2dDescriptor: status(at, i, i, i, i, i, i, i, i),
  cudnnPoolingForward: status(at, at, host, at, at, host, at, at),
  cudnnCreateActivationDescriptor: status(host),
  cudnnSetActivationDescriptor: status(at, i, i, d),
  cudnnActivationForward: status(at, at, host, at, at, host, at, at),
  cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize: status(
    ...[at, i, i, at, at, at, at, at, host] as const,
  ),
  cudnnGetBatchNormalizationTrainingExReserveSpaceSize: status(at, i, i, at, at, host),
  cudnnBatchNormalizationForwardTrainingEx: status(
    ...[at, i, i, host, host, at, at, at, at, at, at] as const,
    ...[at, at, at, d, at, at, d, at, at, at, at, at, at, at] as const,
  ),
  cudnnBatchNormalizationForwardInference: status(
    ...[at, i, host, host, at, at, at, at, at, at, at, at, at, d] as const,
  ),
};

/** [n, c, h, w]. */
export type Images = readonly [n: number, c: number, h: number, w: number];

/** Pooling by square windows. */
export interface Pooling {
  readonly kind: "maxPool2d" | "avgPool2d";
  readonly kernelSize: number;
  readonly stride: number;
  readonly padding: number;
}

/** What is measured. */
export type Layer =
  | { readonly kind: "relu" | "batchNorm training" | "batchNorm inference" }
  | Pooling;

const NONE = 0n; // a null pointer, the default stream
const [NHWC, RELU, SPATIAL, SPATIAL_PERSISTENT, PROPAGATE_NAN] = [1, 1, 1, 2, 1];
const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
const codes: Partial<Record<DType, number>> = { float32: 0, float16: 2, bfloat16: 9 };

function check(status: number): void {
  if (status !== 0) throw new Error(`cuDNN or the driver returned status ${status}`);
}

/** What a function writes to the buffer it is given. */
function made(make: (to: BigUint64Array<ArrayBuffer>) => number): bigint {
  const to = new BigUint64Array(1);
  check(make(to));
  return to[0]!;
}

/** cuDNN of a folder. The thread's context of CUDA must be there. */
export class Cudnn {
  readonly #cuda = Deno.dlopen("libcuda.so.1", driverFunctions).symbols;
  readonly #cudnn;
  readonly #handle: bigint;
  #memory: bigint[] = [];

  constructor(folder: string) {
    // It ends the process where it does not find its parts.
    for (const part of ["graph", "ops"]) Deno.dlopen(`${folder}/libcudnn_${part}.so.9`, {});
    this.#cudnn = Deno.dlopen(`${folder}/libcudnn.so.9`, cudnnFunctions).symbols;
    this.#handle = made((to) => this.#cudnn.cudnnCreate(to));
  }

  /** Microseconds of a layer, and the bytes that it takes besides inputs and result. */
  measure(layer: Layer, x: Images, y: Images, dtype: DType): { us: number; workspace: number } {
    try {
      const { run, workspace } = "kernelSize" in layer
        ? this.#pooling(layer, x, y, dtype)
        : layer.kind === "relu"
        ? this.#relu(x, dtype)
        : this.#batchNorm(layer.kind === "batchNorm training", x, dtype);
      return { us: this.#timed(run), workspace };
    } finally {
      for (const address of this.#memory.splice(0)) this.#cuda.cuMemFree_v2(address);
    }
  }

  #tensor([n, c, h, w]: Images, dtype: DType): bigint {
    const tensor = made((to) => this.#cudnn.cudnnCreateTensorDescriptor(to));
    check(this.#cudnn.cudnnSetTensor4dDescriptor(tensor, NHWC, codes[dtype]!, n, c, h, w));
    return tensor;
  }

  #bytes(bytes: bigint): bigint {
    if (bytes === 0n) return NONE;
    const address = made((to) => this.#cuda.cuMemAlloc_v2(to, bytes));
    this.#memory.push(address);
    check(this.#cuda.cuMemsetD8_v2(address, 0x3d, bytes)); // about 0.05 in either float
    return address;
  }

  #data([n, c, h, w]: Images, dtype: DType): bigint {
    return this.#bytes(BigInt(n * c * h * w * (dtype === "float32" ? 4 : 2)));
  }

  #relu(x: Images, dtype: DType) {
    const relu = made((to) => this.#cudnn.cudnnCreateActivationDescriptor(to));
    check(this.#cudnn.cudnnSetActivationDescriptor(relu, RELU, PROPAGATE_NAN, 0));
    const [of, from, to] = [this.#tensor(x, dtype), this.#data(x, dtype), this.#data(x, dtype)];
    const run = () =>
      this.#cudnn.cudnnActivationForward(this.#handle, relu, one, of, from, zero, of, to);
    return { run, workspace: 0 };
  }

  #pooling(layer: Pooling, x: Images, y: Images, dtype: DType) {
    const { kind, kernelSize, stride, padding } = layer;
    const pooling = made((to) => this.#cudnn.cudnnCreatePoolingDescriptor(to));
    const mode = kind === "maxPool2d" ? 0 : 1; // the largest, or the average with padding
    check(this.#cudnn.cudnnSetPooling2dDescriptor(
      ...[
        pooling,
        mode,
        PROPAGATE_NAN,
        kernelSize,
        kernelSize,
        padding,
        padding,
        stride,
        stride,
      ] as const,
    ));
    const [ofX, ofY] = [this.#tensor(x, dtype), this.#tensor(y, dtype)];
    const [from, to] = [this.#data(x, dtype), this.#data(y, dtype)];
    const run = () =>
      this.#cudnn.cudnnPoolingForward(this.#handle, pooling, one, ofX, from, zero, ofY, to);
    return { run, workspace: 0 };
  }

  #batchNorm(training: boolean, x: Images, dtype: DType) {
    const cudnn = this.#cudnn, handle = this.#handle;
    const channels: Images = [1, x[1], 1, 1];
    const [of, ofChannels] = [this.#tensor(x, dtype), this.#tensor(channels, "float32")];
    const [from, to] = [this.#data(x, dtype), this.#data(x, dtype)];
    const [scale, bias, mean, variance, saved, inverse] = Array.from(
      { length: 6 },
      () => this.#data(channels, "float32"),
    ) as [bigint, bigint, bigint, bigint, bigint, bigint];
    const eps = 1e-5;
    if (!training) {
      const run = () =>
        cudnn.cudnnBatchNormalizationForwardInference(
          ...[handle, SPATIAL, one, zero, of, from, of, to] as const,
          ...[ofChannels, scale, bias, mean, variance, eps] as const,
        );
      return { run, workspace: 0 };
    }
    const kind = [handle, SPATIAL_PERSISTENT, 0] as const;
    const workBytes = made((to) =>
      cudnn.cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
        ...[...kind, of, NONE, of, ofChannels, NONE, to] as const,
      )
    );
    const keptBytes = made((to) =>
      cudnn.cudnnGetBatchNormalizationTrainingExReserveSpaceSize(...kind, NONE, of, to)
    );
    const [work, kept] = [this.#bytes(workBytes), this.#bytes(keptBytes)];
    const run = () =>
      cudnn.cudnnBatchNormalizationForwardTrainingEx(
        ...[...kind, one, zero, of, from, NONE, NONE, of, to, ofChannels, scale, bias] as const,
        ...[
          0.1,
          mean,
          variance,
          eps,
          saved,
          inverse,
          NONE,
          work,
          workBytes,
          kept,
          keptBytes,
        ] as const,
      );
    return { run, workspace: Number(workBytes + keptBytes) };
  }

  // Of a call among many: layers are so large that the host queues them in less time.
  #timed(run: () => number): number {
    const event = () => made((to) => this.#cuda.cuEventCreate(to, 0));
    const [start, end, calls, ms] = [event(), event(), 50, new Float32Array(1)];
    const round = () => {
      check(this.#cuda.cuEventRecord(start, NONE));
      for (let call = 0; call < calls; call++) check(run());
      check(this.#cuda.cuEventRecord(end, NONE));
      check(this.#cuda.cuEventSynchronize(end));
      check(this.#cuda.cuEventElapsedTime(ms, start, end));
      return ms[0]! * 1000 / calls;
    };
    round();
    return median(Array.from({ length: 7 }, round));
  }
}
