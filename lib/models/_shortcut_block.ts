import { inOrder, isChain } from "../nn/_fused.ts";
import type { Module } from "../nn/module.ts";
import { type NamedModules, Sequential } from "../nn/sequential.ts";
import type { Tensor } from "../tensor.ts";

/** What a {@linkcode ShortcutBlock} does besides. */
interface Shortcut {
  /** What x goes through to the sum, where its shape is to change. */
  downsample?: Module | undefined;
  /** Whether relu() follows. */
  relu?: boolean;
}

/** Modules in order, to whose result x is added. */
export class ShortcutBlock extends Sequential {
  /** What x goes through to the sum; else it is added as it is. */
  readonly downsample: Module | undefined;
  readonly #relu: boolean;

  constructor(modules: NamedModules, { downsample, relu = false }: Shortcut = {}) {
    super(modules);
    this.downsample = downsample;
    this.#relu = relu;
  }

  override forward(x: Tensor): Tensor {
    const residual = this.downsample?.forward(x) ?? x;
    return inOrder(this.entries(), x, { residual, activation: this.#relu ? "relu" : undefined });
  }
}

isChain(ShortcutBlock);
