// From a batch on the host to one on the device.
import { backendFor, type DeviceName } from "../core/backend.ts";
import { memory } from "../core/memory.ts";
import { scope } from "../core/scope.ts";
import { stage } from "../core/transfer.ts";
import { empty } from "../_empty.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import { type HostBatch, type HostTensor, isHost } from "./_collate.ts";
import { mapLeaves, mapTensors, tensorsIn } from "../_structure.ts";

/**
 * A batch on its way to the device, in the dtypes that it had on the host. The copy runs beside
 * what is computed.
 */
export function sent(op: string, batch: HostBatch, device: DeviceName | undefined): Batch {
  const put = (x: unknown) => {
    const { data, shape, dtype } = x as HostTensor;
    const y = empty(op, shape, { dtype, device });
    stage(y, data);
    return y;
  };
  const { input, target, weight } = batch;
  return scope(() => ({
    input: mapLeaves(input, isHost, put) as Tensor,
    target: mapLeaves(target, isHost, put) as Tensor,
    ...(weight && { weight: put(weight) }),
  }));
}

/**
 * What a model takes of it: as in a TensorDataset inputs of uint8 become float32 in 0..1, and
 * targets of uint8 int32.
 */
export function finished({ input, target, ...others }: Batch): Batch {
  const instead = (x: Tensor, make: (x: Tensor) => Tensor) => {
    if (x.dtype !== "uint8") return x;
    const y = make(x);
    x.dispose();
    return y;
  };
  return {
    ...others,
    input: mapTensors(input, (x) => instead(x, () => x.to("float32").mul(1 / 255))),
    target: mapTensors(target, (x) => instead(x, () => x.to("int32"))),
  };
}

/** The tensors of a batch. */
export function batchTensors(op: string, batch: Batch<unknown, unknown>): Tensor[] {
  const { input, target, weight } = batch;
  const found = [...tensorsIn(op, "input", input), ...tensorsIn(op, "target", target)];
  return weight ? [...found, weight] : found;
}

/** The bytes of a device's memory that batches may take before they are asked for. */
export function roomAhead(device: DeviceName | undefined): number {
  const { limit, live, cached } = memory(device);
  const { freeMemory } = backendFor(device).info();
  return Math.min(limit - live, freeMemory + cached) / 4;
}
