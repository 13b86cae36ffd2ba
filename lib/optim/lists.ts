import { isTensor, refuse } from "../core/options.ts";
import type { Backend } from "../core/backend.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/**
 * The handles of tensors, as the library takes lists of them, in a list that is given; in the memory
 * formats of those that they belong to, by default their own. Throws for one that was disposed.
 */
export function handlesOf(
  tensors: readonly Tensor[],
  list: Uint32Array<ArrayBuffer> = new Uint32Array(tensors.length),
  owners = tensors,
): Uint32Array<ArrayBuffer> {
  for (let i = 0; i < tensors.length; i++) list[i] = tensors[i]!.stored(owners[i]!.format).handle;
  return list;
}

/** The element counts of tensors, as the library takes them. */
export function sizesOf(tensors: readonly Tensor[]): BigInt64Array<ArrayBuffer> {
  return BigInt64Array.from(tensors, (x) => BigInt(x.size));
}

/** Tensors of one device and dtype: what one call of the library takes. */
export interface Alike {
  readonly backend: Backend;
  readonly code: number;
  readonly tensors: Tensor[];
}

/** Parts tensors by device and dtype. */
export function alike(tensors: Iterable<Tensor>): Alike[] {
  const parts = new Map<string, Alike>();
  for (const x of tensors) {
    const key = `${x.device} ${x.dtype}`;
    const part = parts.get(key);
    if (part) part.tensors.push(x);
    else parts.set(key, { backend: x.backend, code: x.code, tensors: [x] });
  }
  return [...parts.values()];
}

/** The parameters, or groups of them, that a user gave; a model has them, and is none. */
export function listOf<T>(op: string, name: string, given: Iterable<T>): T[] {
  if (typeof given === "object" && typeof given?.[Symbol.iterator] === "function") {
    return [...given];
  }
  const hint = isModel(given) ? "; write model.parameters()" : "";
  return refuse(op, name, given, `parameters, an array of tensors${hint}`);
}

const isModel = (x: unknown) =>
  typeof (x as { parameters?: unknown } | null)?.parameters === "function";

/** The gradients of parameters, a single one or several; those without are left out. */
export function gradientsOf(op: string, parameters: Tensor | Iterable<Tensor>): Tensor[] {
  const list = isTensor(parameters)
    ? [parameters as Tensor]
    : listOf(op, "what is clipped", parameters as Iterable<Tensor>);
  return list.flatMap((p) => {
    checkTensor(op, p);
    return p.grad ? [p.grad as Tensor] : [];
  });
}

/** y += weight (x - y), in place and pair by pair; y is of the dtype that x's is computed in. */
export function lerpAll(ys: readonly Tensor[], xs: readonly Tensor[], weight: number): void {
  const keys = xs.map((x) => `${x.device} ${x.dtype}`);
  for (const key of new Set(keys)) {
    const part = (list: readonly Tensor[]) => list.filter((_, i) => keys[i] === key);
    const [to, from] = [part(ys), part(xs)];
    const { backend, code } = from[0]!;
    const { cdn_list_lerp } = backend.functions;
    backend.check(
      cdn_list_lerp(
        handlesOf(to),
        handlesOf(from, undefined, to),
        sizesOf(to),
        to.length,
        weight,
        code,
      ),
    );
  }
}
