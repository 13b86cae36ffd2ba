// Operators that run graphs of their node.
import { concat, reshape, select, split, stack } from "../../ops/shape/mod.ts";
import { elementType } from "../_elements.ts";
import type { GraphValue } from "../graph.ts";
import { Value } from "../value.ts";
import type { Context, Family, Operator } from "./_operator.ts";

/** What a body gives step by step, along a new axis; of no steps as the body's output says. */
function stacked(c: Context, list: readonly Value[], output: GraphValue, axis = 0): Value {
  const [first] = list;
  if (!first) {
    const shape = (output.shape ?? []).map((n) => typeof n === "number" ? n : 0);
    return c.host(output.type ?? "float32", shape.toSpliced(axis, 0, 0), []);
  }
  if (axis === 0 && list.every(({ small }) => small)) {
    const data = list.flatMap((value) => Array.from(value.numbers()));
    return c.host(first.type, [list.length, ...first.shape], data);
  }
  return c.as(first.type, stack(list.map((value) => value.tensor()), axis));
}

// Runs a body while it is asked for: `step` says what it gets besides the carried values, if there
// is a step, and takes what comes after `heads` results and the carried ones.
function steps(
  c: Context,
  carried: readonly Value[],
  heads: number,
  step: (i: number, head: readonly Value[]) => [Value[], Value[]] | undefined,
): [Value[], Value[][]] {
  const body = c.graph("body");
  const stays = new Set<unknown>(); // a state may be one of the scan outputs as well
  const scans = body.outputs.slice(heads + carried.length).map((): Value[] => []);
  let state = [...carried];
  let head: Value[] = [];
  for (let i = 0;; i++) {
    const more = step(i, head);
    if (!more) return [state, scans];
    const results = c.run(body, [...more[0], ...state, ...more[1]]);
    const old = [...state, ...head].filter(({ tensors }) => !tensors.some((x) => stays.has(x)));
    [head, state] = [results.slice(0, heads), results.slice(heads, heads + state.length)];
    scans.forEach((list, k) => {
      const value = results[heads + state.length + k]!;
      list.push(value);
      for (const x of value.tensors) stays.add(x);
    });
    c.free(old, results);
  }
}

const loop: Operator = (c) => {
  const count = c.has(0) ? c.number(0) : Infinity;
  const asked = !c.has(1) || c.number(1) !== 0;
  const carried = c.inputs.slice(2).map((_, i) => c.value(i + 2));
  const [state, scans] = steps(c, carried, 1, (i, [condition]) => {
    if (i >= count || !(condition ? condition.numbers()[0] : asked)) return undefined;
    return [[c.host("int64", [], [i]), c.host("bool", [], [1])], []];
  });
  const { outputs } = c.graph("body");
  return [...state, ...scans.map((list, k) => stacked(c, list, outputs[1 + state.length + k]!))];
};

const scan: Operator = (c) => {
  const count = c.int("num_scan_inputs");
  const all = c.inputs.map((_, i) => c.value(i));
  const [carried, scanned] = [all.slice(0, -count), all.slice(-count)];
  const axes = c.ints("scan_input_axes", scanned.map(() => 0));
  const back = c.ints("scan_input_directions", scanned.map(() => 0));
  const axisOf = (k: number) => axes[k]! < 0 ? axes[k]! + scanned[k]!.shape.length : axes[k]!;
  const length = scanned[0]!.shape[axisOf(0)]!;
  if (!scanned.every(({ shape }, k) => shape[axisOf(k)] === length)) {
    c.fail(`the scan inputs are not of ${length} steps all`);
  }
  const [state, scans] = steps(c, carried, 0, (i) =>
    i === length ? undefined : [
      [],
      scanned.map((value, k) =>
        c.as(value.type, select(value.tensor(), axisOf(k), back[k] ? length - 1 - i : i))
      ),
    ]);
  const outAxes = c.ints("scan_output_axes", scans.map(() => 0));
  const outBack = c.ints("scan_output_directions", scans.map(() => 0));
  const { outputs } = c.graph("body");
  const made = scans.map((list, k) => {
    const rank = (list[0]?.shape ?? outputs[state.length + k]!.shape ?? []).length + 1;
    const axis = outAxes[k]! < 0 ? outAxes[k]! + rank : outAxes[k]!;
    return stacked(c, outBack[k] ? list.toReversed() : list, outputs[state.length + k]!, axis);
  });
  return [...state, ...made];
};

const sequence = (c: Context, items: readonly Value[], type = items[0]?.type ?? "float32") =>
  Value.sequence(c.place, type, items);
const itemsOf = (c: Context) => c.value(0).items ?? c.fail("it takes a sequence");

// The place that an input names, from the front, or the default; it may be behind the last one.
function placeIn(c: Context, i: number, or: number, length: number, behind = 0): number {
  const at = c.number(i, or);
  const place = at < 0 ? at + length : at;
  return place >= 0 && place < length + behind
    ? place
    : c.fail(`place ${at} is outside of ${length}`);
}

const splitToSequence: Operator = (c) => {
  const [x, axis] = [c.x, c.axis("axis", 0, c.value(0).shape.length)];
  const extent = x.shape[axis]!;
  const given = c.has(1) ? c.numbers(1) : [1];
  const each = c.has(1) && c.value(1).shape.length > 0 ? undefined : given[0]!;
  const parts = split(x, each ?? given, axis);
  const flat = !c.has(1) && c.int("keepdims", 1) === 0;
  const items = extent === 0 && each ? [] : parts;
  const shape = x.shape.toSpliced(axis, 1);
  return sequence(c, items.map((y) => c.as(c.type, flat ? reshape(y, shape) : y)), c.type);
};

const concatFromSequence: Operator = (c) => {
  const items = itemsOf(c);
  const fresh = c.int("new_axis", 0) !== 0;
  const axis = c.axis("axis", undefined, (items[0]?.shape.length ?? 0) + Number(fresh));
  return c.as(c.type, (fresh ? stack : concat)(items.map((item) => item.tensor()), axis));
};

/** If, Loop, Scan; sequences, and optional values that are there. */
export const control: Family = {
  If: (c) => c.run(c.graph(c.number(0) ? "then_branch" : "else_branch")),
  Loop: loop,
  Scan: { 9: scan },
  SequenceEmpty: (c) => sequence(c, [], elementType(c.int("dtype", 1))),
  SequenceConstruct: (c) => sequence(c, c.inputs.map((_, i) => c.value(i))),
  SequenceLength: (c) => c.host("int64", [], [itemsOf(c).length]),
  SequenceAt: (c) => itemsOf(c)[placeIn(c, 1, 0, itemsOf(c).length)]!,
  SequenceErase: (c) => {
    const items = itemsOf(c);
    return sequence(c, items.toSpliced(placeIn(c, 1, -1, items.length), 1), c.type);
  },
  SequenceInsert: (c) => {
    const items = itemsOf(c);
    const at = placeIn(c, 2, items.length, items.length, 1);
    return sequence(c, items.toSpliced(at, 0, c.value(1)), c.value(1).type);
  },
  SplitToSequence: splitToSequence,
  ConcatFromSequence: concatFromSequence,
  Optional: (c) => c.value(0),
  OptionalGetElement: (c) => c.value(0),
  OptionalHasElement: (c) => c.host("bool", [], [Number(c.has(0))]),
};
