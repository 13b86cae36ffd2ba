// GPT-2's blocks, with the names and layouts of Hugging Face's files.
import { formatCall } from "../core/describe.ts";
import type { FusedActivation } from "../core/node.ts";
import { keep } from "../core/scope.ts";
import { zeros } from "../create.ts";
import { attend } from "../nn/_attend.ts";
import { Dropout } from "../nn/dropout.ts";
import * as init from "../nn/init.ts";
import type { KVCache } from "../nn/kv_cache.ts";
import type { LinearOptions } from "../nn/linear.ts";
import { Module } from "../nn/module.ts";
import { LayerNorm } from "../nn/row_norm.ts";
import { linear } from "../ops/linalg/linear.ts";
import type { Tensor } from "../tensor.ts";

type Place = Pick<LinearOptions, "device" | "dtype">;

interface Sizes {
  readonly dModel: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly dropout: number;
  readonly eps: number;
}

interface Attending {
  readonly mask: Tensor | undefined;
  readonly cache: KVCache | undefined;
}

/** x w + b, with w [in, out]. */
class Conv1D extends Module {
  weight: Tensor;
  bias: Tensor;
  readonly #activation: FusedActivation | undefined;

  constructor(
    inFeatures: number,
    outFeatures: number,
    std: number,
    place: Place,
    activation?: FusedActivation,
  ) {
    super();
    const learned = { ...place, requiresGrad: true };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = init.normal(keep(zeros([inFeatures, outFeatures], learned)), { std });
    this.bias = keep(zeros([outFeatures], learned));
    this.#activation = activation;
    undo.move();
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias, {
      activation: this.#activation,
      transposeWeight: true,
    });
  }

  override describe(): string {
    return formatCall("Conv1D", this.weight.shape, { activation: this.#activation });
  }
}

class Attention extends Module {
  c_attn: Conv1D;
  c_proj: Conv1D;
  readonly #heads: number;
  readonly #dropout: number;

  constructor({ dModel, heads, dropout }: Sizes, std: number, place: Place) {
    super();
    this.#heads = heads;
    this.#dropout = dropout;
    using undo = new DisposableStack();
    undo.defer(() => super.dispose());
    this.c_attn = new Conv1D(dModel, 3 * dModel, 0.02, place);
    this.c_proj = new Conv1D(dModel, dModel, std, place);
    undo.move();
  }

  override forward(x: Tensor, attending?: Attending): Tensor {
    const { mask, cache } = attending ?? { mask: undefined, cache: undefined };
    const width = x.shape[2]!, heads = this.#heads, all = this.c_attn.forward(x);
    const found = attend([0, 1, 2].map((i) => ({ x: all, column: i * width })), {
      ...{ heads, kvHeads: heads, width, batchFirst: true, mask, causal: true, cache },
      dropout: this.training ? this.#dropout : 0,
    });
    return this.c_proj.forward(found);
  }
}

/** x + attention of its normalisation, and then likewise with a multilayer perceptron. */
export class GPTBlock extends Module {
  /** Before attention. */
  ln_1: LayerNorm;
  /** Causal attention. */
  attn: Attention;
  /** Before the perceptron. */
  ln_2: LayerNorm;
  /** Its two layers. */
  mlp: { c_fc: Conv1D; c_proj: Conv1D };
  /** On both ways. */
  drop: Dropout;

  constructor(sizes: Sizes, std: number, place: Place) {
    super();
    const { dModel, feedForward, dropout, eps } = sizes;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    const own = <M extends Module>(module: M) => undo.adopt(module, (module) => module.dispose());
    this.ln_1 = own(new LayerNorm(dModel, { ...place, eps }));
    this.attn = own(new Attention(sizes, std, place));
    this.ln_2 = own(new LayerNorm(dModel, { ...place, eps }));
    this.mlp = {
      c_fc: own(new Conv1D(dModel, feedForward, 0.02, place, "geluTanh")),
      c_proj: own(new Conv1D(feedForward, dModel, std, place)),
    };
    this.drop = new Dropout({ p: dropout });
    undo.move();
  }

  /** x [batch, positions, dModel]. */
  override forward(x: Tensor, attending?: Attending): Tensor {
    const { ln_1, attn, ln_2, mlp, drop } = this;
    x = drop.forward(attn.forward(ln_1.forward(x), attending), x);
    return drop.forward(mlp.c_proj.forward(mlp.c_fc.forward(ln_2.forward(x))), x);
  }
}
