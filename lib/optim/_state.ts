import { computeDType, type DType } from "../core/dtype.ts";
import { checkInteger, checkNumber, checkState } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { ParameterState } from "./batch.ts";
import type { Group, OptimizerState } from "./optimizer.ts";

type Groups = readonly Group<object>[];

/** What Optimizer.stateDict() returns. */
export function saveState(groups: Groups, states: Map<Tensor, ParameterState>): OptimizerState {
  const saved: OptimizerState = { tensors: {}, numbers: {}, groups: [] };
  let index = 0;
  for (const { params, ...options } of groups) {
    saved.groups.push({ ...cloned(options), params: params.map((_, i) => index + i) });
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

/**
 * The state of each parameter and the options of each group, in tensors of their own; throws before
 * it makes any.
 */
export function loadState<O>(
  op: string,
  saved: OptimizerState,
  groups: readonly Group<O>[],
  checkGroup: (options: Group<O>) => void,
): { states: Map<Tensor, ParameterState>; options: Partial<Group<O>>[] } {
  checkState(op, saved);
  checkState(`${op}: tensors`, saved.tensors);
  checkState(`${op}: numbers`, saved.numbers);
  if (!Array.isArray(saved.groups) || !saved.groups.every((x) => Array.isArray(x?.["params"]))) {
    throw new ArgumentError(
      `${op}: the state's groups must be an array of { params: [0, 1, …], … }`,
    );
  }
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
  const options = saved.groups.map(({ params: _, ...rest }) => cloned(rest) as Partial<Group<O>>);
  groups.forEach((group, i) => checkGroup({ ...group, ...options[i] }));
  const place = (key: string): [Tensor, string] => {
    const [, index, name] = key.match(/^(\d+)\.(.+)$/) ?? [];
    const p = params[Number(index)];
    if (!p) throw new ArgumentError(`${op}: the state has an entry ${key}, of no parameter`);
    return [p, name!];
  };
  for (const [key, x] of Object.entries(saved.tensors)) {
    const { shape } = place(key)[0];
    checkTensor(`${op}: ${key}`, x);
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
    if (name === "step") checkInteger(op, key, value, 0);
    else checkNumber(op, key, value);
    if (name === "step") stateOf(p).step = value;
    else stateOf(p).numbers[name] = value;
  }
  const copies = scope(() =>
    Object.entries(saved.tensors).map(([key, x]) => {
      const [p] = place(key);
      return [key, copyLike(x, p, computeDType(p.dtype))] as const;
    })
  );
  for (const [key, x] of copies) {
    const [p, name] = place(key);
    stateOf(p).tensors[name] = keep(x);
  }
  return { states, options };
}

function cloned<T>(options: T): T {
  try {
    return structuredClone(options);
  } catch (cause) {
    throw new ArgumentError("optimizer: options must be plain data, so that they can be saved", {
      cause,
    });
  }
}

/** The elements of `x` in a tensor of its own with the shape and device of `like`. */
export function copyLike(x: Tensor, like: Tensor, dtype: DType): Tensor {
  return scope(() => {
    const { shape, format } = like;
    return like.make(shape, dtype, format).copyFrom(x.detach().to(dtype).to(like.device));
  });
}
