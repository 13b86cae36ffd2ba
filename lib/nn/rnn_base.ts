import { uniform } from "./_uniform.ts";
import { formatCall } from "../core/describe.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions, type Complete } from "../core/options.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ShapeError } from "../native/errors.ts";
import { concat } from "../ops/shape/concat.ts";
import { dropout } from "../ops/random/dropout.ts";
import { probabilityOf } from "../ops/random/_probability.ts";
import { type Lengths, lengthsOf, type RecurrentWeights } from "../ops/recurrent/_plan.ts";
import { slice } from "../ops/shape/slice.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode LSTM} and {@linkcode GRU}. */
export interface RNNBaseOptions {
  /** Layers, one on top of the other. Default 1. */
  numLayers?: number | undefined;
  /** Whether to add biases. Default true. */
  bias?: boolean | undefined;
  /**
   * Sequences are [n, steps, in] instead of [steps, n, in]; states stay as they are. Default false.
   */
  batchFirst?: boolean | undefined;
  /**
   * The share of a layer's outputs that are zeroed in training before the next layer takes them.
   * Default 0.
   */
  dropout?: number | undefined;
  /** Walk each sequence in both directions, and give both outputs side by side. Default false. */
  bidirectional?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** Options of a run of {@linkcode RNN}, {@linkcode LSTM} or {@linkcode GRU}. */
export interface SequenceOptions {
  /**
   * How many steps each sequence of a batch has, where they are padded at their ends, as
   * data.padSequence() does it: whole numbers, or an int32 tensor [n]. As if each ran alone:
   * outputs past an end are 0, last states are those at the ends, the other direction starts there,
   * and padding has no gradient, whatever it is. As PyTorch's pack_padded_sequence with
   * enforce_sorted=False. Default all.
   */
  lengths?: Lengths | undefined;
}

const keys = ["numLayers", "bias", "batchFirst", "dropout", "bidirectional", "device", "dtype"];

/**
 * One layer and direction: the output and the last states, from the initial ones if any are given.
 */
type Step = (
  x: Tensor,
  weights: RecurrentWeights,
  states: readonly Tensor[],
  further: { reverse: boolean; lengths: Tensor | undefined },
) => [output: Tensor, ...last: Tensor[]];

/**
 * What {@linkcode RNN}, {@linkcode LSTM} and {@linkcode GRU} share: parameters by PyTorch's names,
 * `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then those of layer 1, and `_reverse`
 * behind the names of the other direction; uniform in ±1/sqrt(hiddenSize). `forward(x)` gives the
 * output alone, so that a layer has its place in a Sequential; `run(x, state)` of each class takes
 * and gives states too. Both take the lengths of padded sequences, in a last argument.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * const layer: nn.RNNBase = new nn.GRU(3, 8, { numLayers: 2, bidirectional: true });
 * console.log(layer.weight_ih_l1_reverse!.shape); // [24, 16]
 * ```
 */
export abstract class RNNBase extends Module {
  /** The parameters, by name. */
  [parameter: `${"weight" | "bias"}_${"ih" | "hh"}_l${string}`]: Tensor;

  /** The features of an input. */
  readonly inputSize: number;
  /** The units of a layer and direction. */
  readonly hiddenSize: number;
  readonly #options: Complete<Omit<RNNBaseOptions, "device" | "dtype">>;

  /** Makes the parameters of as many gates a unit. */
  constructor(
    name: string,
    gates: number,
    inputSize: number,
    hiddenSize: number,
    options: RNNBaseOptions,
    furtherKeys: readonly string[] = [],
  ) {
    super();
    checkInteger(name, "inputSize", inputSize, 1);
    checkInteger(name, "hiddenSize", hiddenSize, 1);
    checkOptions(name, options, [...keys, ...furtherKeys]);
    const { numLayers = 1 } = options;
    checkInteger(name, "numLayers", numLayers, 1);
    const dropout = probabilityOf(name, options.dropout ?? 0, "dropout");
    const { bias = true, batchFirst = false, bidirectional = false } = options;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.#options = { numLayers, bias, batchFirst, dropout, bidirectional };
    const width = gates * hiddenSize;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    for (let layer = 0; layer < numLayers; layer++) {
      const features = layer === 0 ? inputSize : this.#directions * hiddenSize;
      for (let direction = 0; direction < this.#directions; direction++) {
        const suffix = suffixOf(layer, direction);
        const make = (name: "weight_ih" | "weight_hh" | "bias_ih" | "bias_hh", shape: number[]) => {
          this[`${name}_${suffix}`] = uniform(shape, hiddenSize, options);
        };
        make("weight_ih", [width, features]);
        make("weight_hh", [width, hiddenSize]);
        if (!bias) continue;
        make("bias_ih", [width]);
        make("bias_hh", [width]);
      }
    }
    undo.move();
  }

  get #directions(): number {
    return this.#options.bidirectional ? 2 : 1;
  }

  #weights(layer: number, direction: number): RecurrentWeights {
    const suffix = suffixOf(layer, direction);
    return {
      weightIh: this[`weight_ih_${suffix}`]!,
      weightHh: this[`weight_hh_${suffix}`]!,
      biasIh: this[`bias_ih_${suffix}`],
      biasHh: this[`bias_hh_${suffix}`],
    };
  }

  /**
   * All layers and directions by `step`: the output, and the last states in the order of the
   * initial ones.
   *
   * @ignore
   */
  protected through(
    x: Tensor,
    initial: Readonly<Record<string, Tensor>>,
    options: SequenceOptions,
    step: Step,
  ): [output: Tensor, ...last: Tensor[]] {
    const { numLayers, batchFirst, dropout: p } = this.#options;
    this.#check(x, initial);
    checkOptions(this.constructor.name, options, ["lengths"]);
    const single = x.rank === 2; // a sequence alone
    let y = single ? x.unsqueeze(1) : batchFirst ? x.transpose(0, 1) : x;
    const [steps, n] = y.shape as [number, number];
    const lengths = options.lengths === undefined
      ? undefined
      : lengthsOf(this.constructor.name, y, options.lengths, steps, n);
    const states = Object.values(initial).map((state) => single ? state.unsqueeze(1) : state);
    const last: Tensor[][] = [];
    for (let layer = 0; layer < numLayers; layer++) {
      const outputs: Tensor[] = [];
      for (let direction = 0; direction < this.#directions; direction++) {
        const at = layer * this.#directions + direction;
        const own = states.map((state) => slice(state, 0, at, at + 1));
        const [output, ...ends] = step(y, this.#weights(layer, direction), own, {
          reverse: direction === 1,
          lengths,
        });
        outputs.push(output);
        ends.forEach((state, k) => (last[k] ??= []).push(state));
      }
      y = joined(outputs, 2);
      if (p > 0 && layer < numLayers - 1) y = dropout(y, { p, training: this.training });
    }
    if (single) y = y.squeeze(1);
    else if (batchFirst) y = y.transpose(0, 1);
    return [y, ...last.map((list) => single ? joined(list, 0).squeeze(1) : joined(list, 0))];
  }

  #check(x: Tensor, initial: Readonly<Record<string, Tensor>>): void {
    const { numLayers, batchFirst } = this.#options;
    const name = this.constructor.name;
    for (const tensor of [x, ...Object.values(initial)]) checkTensor(name, tensor);
    if ((x.rank !== 2 && x.rank !== 3) || x.shape.at(-1) !== this.inputSize) {
      const batched = batchFirst ? "n, steps" : "steps, n";
      throw new ShapeError(
        `${name}: input is ${
          formatShape(x.shape)
        }; it must be [${batched}, ${this.inputSize}] or ` +
          `[steps, ${this.inputSize}]`,
      );
    }
    const n = x.rank === 2 ? [] : [x.shape[batchFirst ? 0 : 1]!];
    const wanted = [numLayers * this.#directions, ...n, this.hiddenSize];
    for (const [key, state] of Object.entries(initial)) {
      if (sameShape(state.shape, wanted)) continue;
      throw new ShapeError(
        `${name}: state ${key} is ${formatShape(state.shape)}; it must be ${
          formatShape(wanted)
        }, ` +
          "[layers * directions, n, hidden]",
      );
    }
  }

  /** `LSTM(10, 20, { numLayers: 2 })`. */
  override describe(): string {
    const { bias, ...rest } = this.#options;
    const plain = { numLayers: 1, dropout: 0 } as Record<string, unknown>;
    const told = Object.entries(rest).filter(([key, value]) => value !== (plain[key] ?? false));
    if (!bias) told.push(["bias", false]);
    const sizes = [this.inputSize, this.hiddenSize];
    return formatCall(this.constructor.name, sizes, Object.fromEntries(told));
  }
}

const suffixOf = (layer: number, direction: number) =>
  `l${layer}${direction ? "_reverse" : ""}` as const;

const joined = (list: Tensor[], axis: number) => list.length === 1 ? list[0]! : concat(list, axis);
