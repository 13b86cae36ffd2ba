// A flag on the device that is set by the first step whose loss or gradients are not finite, and
// has it and all later ones change nothing; so the host can look when it looks at the losses.
import { keep, scope } from "../core/scope.ts";
import { ones, zeros } from "../create.ts";
import { call } from "../native/call.ts";
import { eq } from "../ops/elementwise/compare.ts";
import { gradientsOf } from "../optim/_lists.ts";
import { internals } from "../optim/_internals.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Tensor } from "../tensor.ts";

interface Flag {
  /** 1 once a gradient was not finite. */
  flag: Tensor;
  /** Steps that were good. */
  good: Tensor;
  one: Tensor;
}

/** Steps an optimizer as long as gradients are finite. */
export class Guard {
  readonly #optimizer: Optimizer;
  readonly #flags: Flag[] = []; // one on each device

  /** Of an optimizer. */
  constructor(optimizer: Optimizer) {
    this.#optimizer = optimizer;
  }

  /** Looks at the gradients; before they are clipped, which may hide what they were. */
  check(): void {
    const parts = gradientsOf("fit", internals.parametersOf(this.#optimizer));
    for (const { handles, sizes, code, params } of parts) {
      const { flag, one } = this.#on(params[0]!);
      call("cdn_list_unscale", handles, flag, one, sizes, handles.length, code);
    }
  }

  /** Looks at a loss, one number. */
  checkLoss(loss: Tensor): void {
    scope(() => {
      const { flag, one } = this.#on(loss);
      const copy = loss.clone(); // it is divided by 1 in place
      const sizes = BigInt64Array.of(1n), handles = Uint32Array.of(copy.handle);
      call("cdn_list_unscale", handles, flag, one, sizes, 1, copy.code);
    });
  }

  /** A step of the optimizer, if they were finite. */
  step(): void {
    internals.stepUnless(this.#optimizer, this.#flags.map(({ flag }) => flag));
    for (const { flag, good } of this.#flags) {
      scope(() => good.copyFrom(good.plus(eq(flag, 0).to("float64"))));
    }
  }

  /** How many steps were good before one that was not; undefined where all were. Waits. */
  async read(): Promise<number | undefined> {
    const found = await Promise.all(this.#flags.map(async ({ flag, good }) => {
      return [await flag.item(), await good.item()] as const;
    }));
    const counts = found.filter(([flag]) => flag !== 0).map(([, good]) => good);
    return counts.length > 0 ? Math.min(...counts) : undefined;
  }

  /** Counts good steps from 0. */
  restart(): void {
    for (const { good } of this.#flags) good.fill(0);
  }

  #on(x: Tensor): Flag {
    const found = this.#flags.find(({ flag }) => flag.backend === x.backend);
    if (found) return found;
    const place = { dtype: "float64", device: x.device } as const;
    const made = {
      flag: keep(zeros([], place)),
      good: keep(zeros([], place)),
      one: keep(ones([], place)),
    };
    this.#flags.push(made);
    return made;
  }

  /** Frees what it holds. */
  dispose(): void {
    for (const { flag, good, one } of this.#flags.splice(0)) {
      flag.dispose();
      good.dispose();
      one.dispose();
    }
  }
}
