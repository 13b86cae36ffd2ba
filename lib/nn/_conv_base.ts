import type { DeviceName } from "../core/backend.ts";
import { formatCall } from "../core/describe.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions, refuse } from "../core/options.ts";
import type { Pair } from "../ops/_pair.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";
import { uniform } from "./_uniform.ts";

/** Options that layers of convolution share. */
export interface ConvLayerOptions {
  /** Groups of channels, each seen by its share of the filters. Default 1. */
  groups?: number | undefined;
  /** Whether to add a bias. Default true. */
  bias?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** (kernelSize, options) as PyTorch has them, or options with a kernelSize. */
export function optionsOf<O extends { kernelSize?: Pair | undefined }>(
  name: string,
  kernelSize: Pair | O,
  options: O,
  known: readonly string[],
): O & { kernelSize: Pair } {
  if (typeof options !== "object") checkOptions(name, options, known); // a stride, say
  const given = typeof kernelSize === "number" || Array.isArray(kernelSize)
    ? { ...options, kernelSize: kernelSize as Pair }
    : kernelSize as O;
  if (typeof given !== "object" || given === null || given.kernelSize === undefined) {
    refuse(name, "kernelSize", given, "a number, [height, width], or { kernelSize, … }");
  }
  checkOptions(name, given, ["kernelSize", "groups", "bias", "device", "dtype", ...known]);
  return given as O & { kernelSize: Pair };
}

/**
 * What the layers have in common: filters and a bias, which start uniform in ±1/sqrt(fan in), as
 * torch.nn's do.
 */
export abstract class ConvBase<O extends ConvLayerOptions> extends Module {
  /** The filters. */
  weight: Tensor;
  /** [out], or null. */
  bias: Tensor | null;
  /** As they were given. */
  readonly options: Readonly<O & { kernelSize: Pair }>;
  readonly #channels: readonly [number, number];

  protected constructor(
    channels: readonly [number, number],
    options: O & { kernelSize: Pair },
    taps: readonly number[],
    transposed: boolean,
  ) {
    super();
    const name = new.target.name;
    const [inChannels, outChannels] = channels;
    const { groups = 1 } = options;
    checkInteger(name, "inChannels", inChannels, 1);
    checkInteger(name, "outChannels", outChannels, 1);
    checkInteger(name, "groups", groups, 1);
    for (
      const [key, count] of [["inChannels", inChannels], ["outChannels", outChannels]] as const
    ) {
      if (count % groups !== 0) refuse(name, key, count, `a multiple of the ${groups} groups`);
    }
    const [first, second] = transposed ? channels : [outChannels, inChannels];
    const shape = [first!, second! / groups, ...taps];
    const fanIn = shape.slice(1).reduce((product, extent) => product * extent);
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = uniform(shape, fanIn, options);
    this.bias = options.bias ?? true ? uniform([outChannels], fanIn, options) : null;
    this.options = options;
    this.#channels = channels;
    undo.move();
  }

  /** As PyTorch prints it, with the options that were given. */
  override describe(): string {
    const { kernelSize, device: _device, dtype: _dtype, ...others } = this.options;
    const bias = this.bias ? undefined : false;
    return formatCall(this.constructor.name, [...this.#channels, kernelSize], { ...others, bias });
  }
}
