import { checkTensor } from "../ops/operands.ts";
import { noGrad } from "../core/autograd.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { ShapeError } from "../native/errors.ts";
import { zeros } from "../create.ts";
import { cast } from "../ops/cast.ts";
import { eq } from "../ops/compare.ts";
import { mul } from "../ops/binary.ts";
import { argmax, sum } from "../ops/reduce.ts";
import type { Tensor } from "../tensor.ts";

/** A metric that trainers know by name. */
export type MetricName = "accuracy";

/** A sum that stays on the device, so that adding to it waits for nothing. */
class DeviceSum {
  #total: Tensor;

  constructor(like: Tensor, dtype: "float32" | "float64" | "int32") {
    this.#total = keep(zeros([], { dtype, device: like.device }));
  }

  add(value: Tensor): void {
    const before = this.#total;
    this.#total = keep(before.plus(value));
    before.dispose();
  }

  read(): Promise<number> {
    return this.#total.item();
  }

  dispose(): void {
    this.#total.dispose();
  }
}

/** The running mean loss and accuracy over some batches. */
export class Meter {
  readonly #accuracy: boolean;
  #samples = 0;
  #loss: DeviceSum | undefined;
  #correct: DeviceSum | undefined;

  /** Measures the loss, and the metrics named. */
  constructor(metrics: readonly MetricName[]) {
    this.#accuracy = metrics.includes("accuracy");
  }

  /** Adds a batch: the mean loss over it, the model's output and the targets. */
  add(loss: Tensor, output: Tensor, target: Tensor): void {
    checkTensor("Trainer: the loss", loss);
    if (loss.size !== 1) {
      throw new ShapeError(
        `Trainer: the loss is ${
          formatShape(loss.shape)
        }; it must be one number, the mean over the batch`,
      );
    }
    const n = target.shape[0]!;
    this.#samples += n;
    noGrad(() =>
      scope(() => {
        this.#loss ??= new DeviceSum(loss, "float64");
        this.#loss.add(mul(cast(loss.detach(), "float64"), n));
        if (!this.#accuracy) return;
        this.#correct ??= new DeviceSum(loss, "int32");
        this.#correct.add(
          sum(cast(eq(argmax(output.detach(), -1), cast(target, "int32")), "int32")),
        );
      })
    );
  }

  /** The means so far; waits for the device. */
  async read(): Promise<{ loss: number; accuracy?: number | undefined }> {
    const loss = this.#loss ? await this.#loss.read() / this.#samples : NaN;
    if (!this.#correct) return { loss };
    return { loss, accuracy: await this.#correct.read() / this.#samples };
  }

  /** Frees the sums. */
  dispose(): void {
    this.#loss?.dispose();
    this.#correct?.dispose();
  }

  /** As dispose(). */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
