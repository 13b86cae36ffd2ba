// Structures of tensors: a tensor, or arrays and plain objects of structures.
import { formatValue } from "./core/describe.ts";
import { isTensor, refuse } from "./core/options.ts";
import { formatShape } from "./core/shape.ts";
import { ArgumentError, ShapeError } from "./native/errors.ts";
import type { Tensor } from "./tensor.ts";

const deepest = 100;

/** The items of an array or plain object by their keys; undefined for anything else. */
export function itemsOf(value: unknown): [key: string, item: unknown][] | undefined {
  if (Array.isArray(value)) return value.map((item, i) => [String(i), item]);
  if (typeof value !== "object" || value === null) return undefined;
  const kind = Object.getPrototypeOf(value);
  return kind === Object.prototype || kind === null ? Object.entries(value) : undefined;
}

/** A structure with what fn makes of its leaves; fn gets their place, such as `.image` or `[0]`. */
export function mapLeaves(
  value: unknown,
  isLeaf: (value: unknown) => boolean,
  fn: (leaf: unknown, place: string) => unknown,
  place = "",
  depth = 0,
): unknown {
  if (isLeaf(value)) return fn(value, place);
  const items = itemsOf(value);
  if (!items) return fn(value, place);
  if (depth === deepest) throw new ArgumentError(`a batch is nested ${deepest} deep`);
  const array = Array.isArray(value);
  const made = items.map(([key, item]) => {
    const at = array ? `${place}[${key}]` : `${place}.${key}`;
    return [key, mapLeaves(item, isLeaf, fn, at, depth + 1)] as const;
  });
  return array ? made.map(([, item]) => item) : Object.fromEntries(made);
}

/** A structure of what fn makes of its tensors. */
export function mapTensors<S>(structure: S, fn: (x: Tensor, place: string) => Tensor): S {
  return mapLeaves(structure, isTensor, (x, place) => fn(x as Tensor, place)) as S;
}

/** The tensors of a structure; throws for a structure that has other leaves, or none. */
export function tensorsIn(op: string, name: string, structure: unknown): Tensor[] {
  if (isTensor(structure)) return [structure as Tensor]; // in most cases, once a step
  const found: Tensor[] = [];
  mapLeaves(structure, isTensor, (leaf, place) => {
    if (!isTensor(leaf)) refuse(op, name + place, leaf, wanted);
    found.push(leaf as Tensor);
    return leaf;
  });
  if (found.length === 0) refuse(op, name, structure, wanted);
  return found;
}

const wanted = "a tensor, or an array or plain object of tensors";

/** How many samples a structure is of: the first axis of its tensors. */
export function samplesIn(op: string, name: string, structure: unknown): number {
  const [first, ...others] = tensorsIn(op, name, structure);
  for (const x of [first!, ...others]) {
    if (x.rank > 0 && x.shape[0] === first!.shape[0]) continue;
    throw new ShapeError(
      `${op}: ${name} has tensors ${formatShape(first!.shape)} and ${formatShape(x.shape)}; all ` +
        "must have one entry a sample",
    );
  }
  return first!.shape[0]!;
}

/** Two structures in step: fn of each pair of tensors. Throws where they differ. */
export function zipTensors<S>(
  op: string,
  name: string,
  a: S,
  b: S,
  fn: (a: Tensor, b: Tensor, place: string) => Tensor,
): S {
  const others = tensorsIn(op, name, b);
  const places: string[] = [];
  mapTensors(b, (x, place) => (places.push(place), x));
  let at = 0;
  const zipped = mapTensors(a, (x, place) => {
    if (places[at] !== place) {
      throw new ArgumentError(
        `${op}: ${name} are ${formatValue(a)} and ${formatValue(b)}; they must be built alike`,
      );
    }
    return fn(x, others[at++]!, name + place);
  });
  if (at !== others.length) throw new ArgumentError(`${op}: ${name} must be built alike`);
  return zipped;
}
