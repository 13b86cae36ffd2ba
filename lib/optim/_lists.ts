import { zeroGrad } from "../core/autograd.ts";
import type { Backend } from "../core/backend.ts";
import { isClass } from "../core/describe.ts";
import { checkOptions, isTensor, refuse } from "../core/options.ts";
import { told } from "../native/arguments.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { ZeroGradOptions } from "./optimizer.ts";

/**
 * The handles of tensors, as the library takes lists of them, in a list that is given; in the
 * memory formats of those that they belong to, by default their own. Throws for one that was
 * disposed.
 */
export function handlesOf(
  tensors: readonly Tensor[],
  list: Uint32Array<ArrayBuffer> = new Uint32Array(tensors.length),
  owners: readonly Tensor[] = tensors,
): Uint32Array<ArrayBuffer> {
  for (let i = 0; i < tensors.length; i++) list[i] = tensors[i]!.stored(owners[i]!.format).handle;
  return list;
}

/** The element counts of tensors, as the library takes them. */
export function sizesOf(tensors: readonly Tensor[]): BigInt64Array<ArrayBuffer> {
  return BigInt64Array.from(tensors, (x) => BigInt(x.size));
}

/** The parameters, or groups of them, that a user gave; a model has them, and is none. */
export function listOf<T>(op: string, name: string, given: Iterable<T>): T[] {
  if (typeof given === "object" && typeof given?.[Symbol.iterator] === "function") {
    return [...given];
  }
  const hint = isModel(given)
    ? "; write model.parameters()"
    : typeof given === "function" && !isClass(given)
    ? "; call it: model.parameters()"
    : "";
  return refuse(op, name, given, `parameters, an array of tensors${hint}`);
}

const isModel = (x: unknown) =>
  typeof (x as { parameters?: unknown } | null)?.parameters === "function";

/** Gradients of one device and dtype: what one call of the library takes. */
export interface Gradients {
  readonly backend: Backend;
  readonly code: number;
  readonly params: Tensor[];
  handles: Uint32Array<ArrayBuffer>;
  sizes: BigInt64Array<ArrayBuffer>;
}

// The lists for the same parameters, as long as the same ones have gradients.
class GradientLists {
  readonly parts: Gradients[] = [];
  readonly #all: readonly Tensor[];
  readonly #places: ([part: Gradients, index: number] | null)[];

  constructor(op: string, parameters: readonly Tensor[]) {
    this.#all = [...parameters];
    this.#places = this.#all.map((p) => {
      checkTensor(op, p);
      if (!p.grad) return null;
      const { backend, code } = p.grad as Tensor;
      let part = this.parts.find((part) => part.backend === backend && part.code === code);
      if (!part) {
        const none = { handles: new Uint32Array(), sizes: new BigInt64Array() };
        this.parts.push(part = { backend, code, params: [], ...none });
      }
      return [part, part.params.push(p) - 1];
    });
    for (const part of this.parts) {
      part.handles = new Uint32Array(part.params.length);
      part.sizes = sizesOf(part.params.map((p) => p.grad as Tensor));
    }
  }

  // Fills in the handles; false where the lists no longer serve.
  fill(parameters: readonly Tensor[]): boolean {
    if (parameters.length !== this.#all.length) return false;
    for (let i = 0; i < parameters.length; i++) {
      if (parameters[i] !== this.#all[i]) return false;
      const grad = parameters[i]!.grad, place = this.#places[i]!;
      if (!grad || !place) {
        if (grad || place) return false;
        continue;
      }
      const [part, index] = place;
      if (grad.backend !== part.backend || grad.code !== part.code) return false;
      if (BigInt(grad.size) !== part.sizes[index]) return false;
      part.handles[index] = (grad as Tensor).stored((grad as Tensor).format).handle;
    }
    return true;
  }
}

const kept = new WeakMap<Tensor, GradientLists>(); // by the first parameter

/** The gradients of parameters, a single one or several; those without are left out. */
export function gradientsOf(
  op: string,
  parameters: Tensor | Iterable<Tensor>,
): readonly Gradients[] {
  const list = isTensor(parameters)
    ? [parameters as Tensor]
    : Array.isArray(parameters)
    ? parameters as Tensor[]
    : listOf(op, "what is clipped", parameters as Iterable<Tensor>);
  const [first] = list;
  if (!first) return [];
  let lists = isTensor(first) ? kept.get(first) : undefined;
  if (!lists?.fill(list)) {
    lists = new GradientLists(op, list);
    lists.fill(list);
    kept.set(first, lists);
  }
  return lists.parts;
}

/** What the zeroGrad() of modules and optimizers do. */
export function zeroGradients(parameters: readonly Tensor[], options: ZeroGradOptions): void {
  checkOptions("zeroGrad", options, ["setToNone"]);
  if (options.setToNone ?? true) return zeroGrad(parameters);
  for (const { backend, code, handles, sizes } of gradientsOf("zeroGrad", parameters)) {
    told?.("cdn_list_zero", [handles, sizes, handles.length, code]);
    backend.check(backend.functions.cdn_list_zero(handles, sizes, handles.length, code));
  }
}
