import { formatCall } from "../core/describe.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ShapeError } from "../native/errors.ts";
import type { RecurrentWeights } from "../ops/recurrent/_plan.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";
import { uniform } from "./_uniform.ts";

/** Options of {@linkcode LSTMCell} and {@linkcode GRUCell}. */
export interface RNNCellBaseOptions {
  /** Whether to add biases. Default true. */
  bias?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/**
 * What {@linkcode RNNCell}, {@linkcode LSTMCell} and {@linkcode GRUCell} share: parameters by
 * PyTorch's names, uniform in ±1/sqrt(hiddenSize). A cell is one step: for whole sequences the
 * layers are faster.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * const cell: nn.RNNCellBase = new nn.LSTMCell(3, 8);
 * console.log(cell.weight_hh.shape); // [32, 8]
 * ```
 */
export abstract class RNNCellBase extends Module {
  /** [gates * hidden, in]. */
  weight_ih: Tensor;
  /** [gates * hidden, hidden]. */
  weight_hh: Tensor;
  /** [gates * hidden], or null. */
  bias_ih: Tensor | null;
  /** [gates * hidden], or null. */
  bias_hh: Tensor | null;

  /** Makes the parameters of as many gates a unit. */
  constructor(
    name: string,
    gates: number,
    inputSize: number,
    hiddenSize: number,
    options: RNNCellBaseOptions,
    furtherKeys: readonly string[] = [],
  ) {
    super();
    checkInteger(name, "inputSize", inputSize, 1);
    checkInteger(name, "hiddenSize", hiddenSize, 1);
    checkOptions(name, options, ["bias", "device", "dtype", ...furtherKeys]);
    const { bias = true } = options;
    const make = (...shape: number[]) => uniform(shape, hiddenSize, options);
    const width = gates * hiddenSize;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight_ih = make(width, inputSize);
    this.weight_hh = make(width, hiddenSize);
    this.bias_ih = bias ? make(width) : null;
    this.bias_hh = bias ? make(width) : null;
    undo.move();
  }

  /**
   * One step as a sequence of one: x and states [n, ...] or [...] as `step` wants them, its states
   * back in their shape.
   *
   * @ignore
   */
  protected single(
    x: Tensor,
    states: readonly Tensor[],
    step: (x: Tensor, weights: RecurrentWeights, states: readonly Tensor[]) => Tensor[],
  ): Tensor[] {
    const [features, hidden] = [this.weight_ih.shape[1]!, this.weight_hh.shape[1]!];
    const name = this.constructor.name;
    for (const tensor of [x, ...states]) checkTensor(name, tensor);
    if ((x.rank !== 1 && x.rank !== 2) || x.shape.at(-1) !== features) {
      throw new ShapeError(
        `${name}: input is ${formatShape(x.shape)}; it must be [n, ${features}] or [${features}]`,
      );
    }
    const wanted = [...x.shape.slice(0, -1), hidden];
    for (const state of states) {
      if (sameShape(state.shape, wanted)) continue;
      throw new ShapeError(
        `${name}: a state is ${formatShape(state.shape)}; it must be ${formatShape(wanted)}`,
      );
    }
    const n = x.rank === 1 ? 1 : x.shape[0]!;
    const weights = {
      weightIh: this.weight_ih,
      weightHh: this.weight_hh,
      biasIh: this.bias_ih,
      biasHh: this.bias_hh,
    };
    const rows = states.map((state) => state.reshape([1, n, hidden]));
    return step(x.reshape([1, n, features]), weights, rows).map((state) => state.reshape(wanted));
  }

  /** `GRUCell(10, 20)`. */
  override describe(): string {
    const sizes = [this.weight_ih.shape[1], this.weight_hh.shape[1]];
    return formatCall(this.constructor.name, sizes, { bias: this.bias_ih ? undefined : false });
  }
}
