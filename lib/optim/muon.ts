import { formatValue } from "../core/describe.ts";
import { computeDType } from "../core/dtype.ts";
import { checkInteger, type Complete } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { direct } from "../native/arguments.ts";
import { call } from "../native/call.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { add, div, maximum, mul } from "../ops/elementwise/binary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { matmul } from "../ops/linalg/matmul.ts";
import { transpose } from "../ops/shape/movement.ts";
import { norm } from "../ops/reduce/norm.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import { checkRates, checkShare } from "./_check.ts";
import { handlesOf, sizesOf } from "./_lists.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode Muon}. */
export interface MuonOptions {
  /** The learning rate; default 1e-3. */
  lr?: number | undefined;
  /** Decoupled, as AdamW's; default 0.1. */
  weightDecay?: number | undefined;
  /** Default 0.95. */
  momentum?: number | undefined;
  /** Look ahead along the momentum. Default true. */
  nesterov?: boolean | undefined;
  /** The least norm to divide by; default 1e-7. */
  eps?: number | undefined;
  /** Newton-Schulz steps; default 5. */
  nsSteps?: number | undefined;
  /** Their coefficients; default [3.4445, -4.7750, 2.0315]. */
  nsCoefficients?: readonly [number, number, number] | undefined;
  /**
   * The dtype of their products; default float32, or float64 for parameters of float64. PyTorch's
   * is bfloat16.
   */
  nsDType?: "float32" | "float64" | "bfloat16" | null | undefined;
  /**
   * How the rate of a [rows, cols] matrix differs from lr: by sqrt(max(1, rows / cols))
   * (`"original"`, the default), or by
   * 0.2 sqrt(max(rows, cols)) (`"match_rms_adamw"`), so that rates found for AdamW serve.
   */
  adjustLrFn?: "original" | "match_rms_adamw" | undefined;
}

/**
 * Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon; rates: Liu et al. 2025,
 * https://arxiv.org/abs/2502.16982), as torch.optim.Muon: momentum whose update, a matrix, is made
 * orthogonal. For matrices, the hidden layers' weights; leave biases, embeddings and the last layer
 * to AdamW.
 *
 *     b = b + (1 - momentum) (grad - b)
 *     U = orthogonal(nesterov ? grad + momentum (b - grad) : b)
 *     p = (1 - lr weightDecay) p - lr adjustment U
 *
 * orthogonal() brings the singular values near to 1 by Newton-Schulz steps on X = U / |U|: with A =
 * X X^T, X becomes a X + (b A + c A^2) X.
 *
 * ```ts
 * import { nn, optim } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(8, 16), new nn.ReLU(), new nn.Linear(16, 4));
 * const hidden = model.parameters().filter((p) => p.rank === 2);
 * const others = model.parameters().filter((p) => p.rank !== 2);
 * const optimizers = [new optim.Muon(hidden, { lr: 0.02 }), new optim.AdamW(others)];
 * console.log(optimizers.map((optimizer) => optimizer.groups[0]!.params.length)); // 2, 2
 * ```
 */
export class Muon extends Optimizer<MuonOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<MuonOptions>, options: MuonOptions = {}) {
    super("Muon", params, options, {
      lr: 1e-3,
      weightDecay: 0.1,
      momentum: 0.95,
      nesterov: true,
      eps: 1e-7,
      nsSteps: 5,
      nsCoefficients: [3.4445, -4.775, 2.0315],
      nsDType: null,
      adjustLrFn: "original",
    });
  }

  /** @ignore */
  protected override check(options: Complete<MuonOptions>): void {
    checkRates("Muon", options, ["lr", "weightDecay", "eps"]);
    checkShare("Muon", "momentum", options.momentum);
    checkInteger("Muon", "nsSteps", options.nsSteps, 1);
    const { nsCoefficients, nsDType, adjustLrFn } = options;
    if (nsCoefficients.length !== 3 || !nsCoefficients.every(Number.isFinite)) {
      throw new ArgumentError(
        `Muon: nsCoefficients is ${formatValue(nsCoefficients)}; it must be three finite numbers`,
      );
    }
    if (![null, "float32", "float64", "bfloat16"].includes(nsDType)) {
      throw new ArgumentError(
        `Muon: nsDType is ${formatValue(nsDType)}; it must be float32, float64 or bfloat16`,
      );
    }
    if (adjustLrFn !== "original" && adjustLrFn !== "match_rms_adamw") {
      throw new ArgumentError(
        `Muon: adjustLrFn is ${formatValue(adjustLrFn)}; it must be original or match_rms_adamw`,
      );
    }
  }

  /** @ignore */
  protected override checkParameter({ rank, shape }: Tensor): void {
    if (rank === 2) return;
    throw new ShapeError(
      `Muon: a parameter is ${
        formatShape(shape)
      }; it must be a matrix: give others, such as biases, to AdamW`,
    );
  }

  /** @ignore */
  protected override update(batch: Batch<Group<MuonOptions>>): void {
    const { code, group, params, skip } = batch;
    const handles = batch.state("momentumBuffer"), sizes = batch.sizes();
    lerp(batch, handles, batch.grads(), sizes, 1 - group.momentum, skip);
    const buffers = batch.tensors("momentumBuffer");
    const updates = params.map((p, i) => scope(() => updateOf(p, buffers[i]!, group)));
    // SGD's step without momentum: its weight decay comes to the same as a decoupled one.
    call(
      "cdn_sgd_step",
      batch.handles(),
      handlesOf(updates),
      null,
      sizes,
      params.length,
      batch.clock(),
      skip,
      0,
      group.weightDecay,
      0,
      0,
      code,
    );
  }
}

// y += weight (x - y), where no flag says to leave it out; x is of the dtype that is named.
function lerp(
  { backend, code }: Pick<Tensor, "backend" | "code">,
  ys: Uint32Array<ArrayBuffer>,
  xs: Uint32Array<ArrayBuffer>,
  sizes: BigInt64Array<ArrayBuffer>,
  weight: number,
  skip?: Tensor | null,
): void {
  // there may be no tensor, of which call() wants one
  const { cdn_list_lerp } = direct(backend.functions);
  const flag = skip?.handle ?? 0;
  backend.check(cdn_list_lerp(ys, xs, sizes, ys.length, 0, flag, weight, weight, code));
}

function updateOf(p: Tensor, buffer: Tensor, group: Group<MuonOptions>): Tensor {
  if (p.size === 0) return p.grad!;
  const { momentum, nesterov, adjustLrFn } = group;
  const [rows, cols] = p.shape as [number, number];
  let update = buffer;
  if (nesterov) {
    update = cast(p.grad!, buffer.dtype).clone();
    lerp(buffer, handlesOf([update]), handlesOf([buffer]), sizesOf([buffer]), momentum);
  }
  const adjustment = adjustLrFn === "original"
    ? Math.sqrt(Math.max(1, rows / cols))
    : 0.2 * Math.sqrt(Math.max(rows, cols));
  return cast(mul(cast(orthogonal(update, group), buffer.dtype), adjustment), p.dtype);
}

function orthogonal(matrix: Tensor, group: Group<MuonOptions>): Tensor {
  const { nsSteps, nsCoefficients: [a, b, c], eps, nsDType } = group;
  const wide = computeDType(matrix.dtype);
  // A X^T, whichever side is shorter, makes the smaller products.
  const tall = matrix.shape[0]! > matrix.shape[1]!;
  let x = cast(tall ? transpose(matrix) : matrix, wide);
  x = cast(div(x, maximum(norm(x), eps)), nsDType ?? wide);
  for (let step = 0; step < nsSteps; step++) {
    const gram = matmul(x, x, { transposeB: true });
    const polynomial = add(mul(gram, b), mul(matmul(gram, gram), c));
    x = add(mul(x, a), matmul(polynomial, x));
  }
  return tall ? transpose(x) : x;
}
