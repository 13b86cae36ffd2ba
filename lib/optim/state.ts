import { computeDType, type DType } from "../core/dtype.ts";
import { keep } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { ParameterState } from "./batch.ts";
import type { Group } from "./optimizer.ts";

/**
 * An optimizer's state. Parameters are numbered through all groups from 0. The tensors can go to a .safetensors file,
 * the rest is plain JSON:
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1], { requiresGrad: true });
 * const optimizer = new optim.Adam([w]);
 * w.sum().backward();
 * optimizer.step();
 * const { tensors, numbers, groups } = optimizer.stateDict();
 * console.log(Object.keys(tensors), numbers, groups); // ["0.expAvg", "0.expAvgSq"], { "0.step": 1 }, [{ lr: 0.001, … }]
 * ```
 */
export interface OptimizerState {
  /** State tensors by parameter and name: `0.expAvg`. */
  tensors: Record<string, Tensor>;
  /** Numbers of state by parameter and name: `0.step`. */
  numbers: Record<string, number>;
  /** Each group's options, and the numbers of its parameters as `params`. */
  groups: Record<string, unknown>[];
}

type Groups = readonly Group<object>[];

/** What Optimizer.stateDict() returns. */
export function saveState(groups: Groups, states: Map<Tensor, ParameterState>): OptimizerState {
  const saved: OptimizerState = { tensors: {}, numbers: {}, groups: [] };
  let index = 0;
  for (const { params, ...options } of groups) {
    saved.groups.push({ ...structuredClone(options), params: params.map((_, i) => index + i) });
    for (const p of params) {
      const state = states.get(p);
      if (state) {
        saved.numbers[`${index}.step`] = state.step;
        for (const [name, x] of Object.entries(state.tensors)) {
          saved.tensors[`${index}.${name}`] = x;
        }
        for (const [name, x] of Object.entries(state.numbers)) {
          saved.numbers[`${index}.${name}`] = x;
        }
      }
      index++;
    }
  }
  return saved;
}

/** The state of each parameter and the options of each group, in tensors of their own; throws before it makes any. */
export function loadState<O>(
  op: string,
  saved: OptimizerState,
  groups: readonly Group<O>[],
  checkGroup: (options: Group<O>) => void,
): { states: Map<Tensor, ParameterState>; options: Partial<Group<O>>[] } {
  const params = groups.flatMap((group) => group.params);
  const counts = (list: readonly unknown[][]) =>
    `[${list.map((group) => group.length).join(", ")}]`;
  const wanted = counts(groups.map((group) => [...group.params]));
  const found = counts(saved.groups.map((group) => group["params"] as number[]));
  if (wanted !== found) {
    throw new ArgumentError(
      `${op}: the state is of groups with ${found} parameters; the optimizer has ${wanted}`,
    );
  }
  const options = saved.groups.map(({ params: _, ...rest }) =>
    structuredClone(rest) as Partial<Group<O>>
  );
  groups.forEach((group, i) => checkGroup({ ...group, ...options[i] }));
  const place = (key: string): [Tensor, string] => {
    const [, index, name] = key.match(/^(\d+)\.(.+)$/) ?? [];
    const p = params[Number(index)];
    if (!p) throw new ArgumentError(`${op}: the state has an entry ${key}, of no parameter`);
    return [p, name!];
  };
  for (const [key, x] of Object.entries(saved.tensors)) {
    const { shape } = place(key)[0];
    if (!sameShape(x.shape, shape)) {
      throw new ShapeError(
        `${op}: the state's ${key} is ${formatShape(x.shape)}; the parameter is ${
          formatShape(shape)
        }`,
      );
    }
    void x.handle; // throws for one that was disposed
  }
  const states = new Map<Tensor, ParameterState>();
  const stateOf = (p: Tensor): ParameterState => {
    let state = states.get(p);
    if (!state) states.set(p, state = { step: 0, tensors: {}, numbers: {} });
    return state;
  };
  for (const [key, value] of Object.entries(saved.numbers)) {
    const [p, name] = place(key);
    if (name === "step") stateOf(p).step = value;
    else stateOf(p).numbers[name] = value;
  }
  for (const [key, x] of Object.entries(saved.tensors)) {
    const [p, name] = place(key);
    stateOf(p).tensors[name] = copyLike(x, p, computeDType(p.dtype));
  }
  return { states, options };
}

/** The elements of `x` in a tensor of its own with the shape and device of `like`, outside of scopes. */
export function copyLike(x: Tensor, like: Tensor, dtype: DType): Tensor {
  const source = x.detach();
  const cast = source.to(dtype);
  const here = cast.to(like.device);
  const copy = keep(like.make(like.shape, dtype).copyFrom(here));
  for (const temporary of new Set([source, cast, here])) temporary.dispose();
  return copy;
}
