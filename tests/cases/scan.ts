import {
  argsort,
  cumprod,
  cumsum,
  type CumulateOptions,
  type Shape,
  sort,
  type Tensor,
  topK,
} from "../../mod.ts";
import { alongAxis, build, elementAt, type Grid, sizeOf } from "../reference.ts";
import {
  anything,
  awayFromZero,
  type Case,
  line,
  numbers,
  roundings,
  row,
  rows,
  type Special,
  spiked,
  whole,
} from "./case.ts";

const lasts: readonly Shape[] = [
  [1],
  [5],
  [3, 31],
  [3, 32],
  [2, 33],
  [2, 64],
  [2, 65],
  [3, 129],
  [2, 1023],
  [2, 1025],
  [2, 2049],
  [3, 4097],
  [1, 70_001],
  [2000, 3],
  [300, 40],
  [0, 4],
  [4, 0],
  [2, 3, 4],
  [1, 2, 1, 2, 1, 2, 1, 3],
];
const firsts: readonly Shape[] = [[4, 3], [129, 1], [33, 65], [1025, 3], [3, 4099], [20_001, 2], [
  7,
  5,
  3,
], [0, 3]];
const middles: readonly Shape[] = [[2, 3, 4], [3, 257, 65], [2, 5000, 2], [2, 0, 3], [1, 129, 1]];
const byAxis: readonly [number, readonly Shape[], readonly Shape[]][] = [
  [-1, lasts, [[4], [2, 3]]],
  [0, firsts, [[3, 2]]],
  [1, middles, [[2, 3, 2]]],
];
const listed = (shapes: readonly Shape[]) => shapes.map((shape) => [shape]);

function running(terms: readonly number[]): number[] {
  let [sum, lost] = [0, 0];
  return terms.map((term) => { // Neumaier's sum, of which each step is looked at
    const next = sum + term;
    if (Number.isFinite(next)) {
      lost += Math.abs(sum) >= Math.abs(term) ? sum - next + term : term - next + sum;
    }
    sum = next;
    return sum + lost;
  });
}
const sizes = (terms: readonly number[]) => running(terms.map(Math.abs));

// As whole numbers do, 32 bits wide.
function products(terms: readonly number[]): number[] {
  const whole = terms.every(Number.isInteger);
  let product = 1;
  return terms.map((x) => product = whole ? Math.imul(product, x) : product * x);
}

type Running = (terms: readonly number[]) => number[];
const changed =
  (of: Running, first: number, { reverse, exclusive }: CumulateOptions): Running => (terms) => {
    const list = reverse ? terms.toReversed() : terms;
    const found = exclusive ? [first, ...of(list)].slice(0, list.length) : of(list);
    return reverse ? found.toReversed() : found;
  };
const ways: readonly CumulateOptions[] = [
  {},
  { reverse: true },
  { exclusive: true },
  { reverse: true, exclusive: true },
];

function cumulating(
  name: "cumsum" | "cumprod",
  options: CumulateOptions,
  more: Partial<Case>,
): Case[] {
  const op = { cumsum, cumprod }[name];
  const adds = name === "cumsum";
  const of = changed(adds ? running : products, adds ? 0 : 1, options);
  const asked = Object.keys(options).map((key) => `, ${key}`).join("");
  return byAxis.map(([axis, shapes, gradShapes]): Case => ({
    name: `${name}(${axis}${asked})`,
    call: (x: Tensor) => op(x, axis, options),
    also: () => [{ name: `x.${name}()`, call: (x: Tensor) => x[name](axis, options) }],
    reference: (x) => alongAxis(x!, axis, of, adds ? changed(sizes, 0, options) : undefined),
    shapes: listed(asked ? shapes.filter((shape) => sizeOf(shape) < 20_000) : shapes),
    gradShapes: listed(gradShapes),
    dtypes: numbers,
    fill: [adds ? spiked(-1, 1) : awayFromZero(0.99, 1.01)],
    tolerance: adds ? roundings(2, 64) : roundings(2, 2048),
    flops: ([x]) => sizeOf(x!),
    ...more,
    specials: axis === -1 && !asked ? more.specials : undefined,
  }));
}

const stays = (last: number): Special => ({
  name: "NaN and infinity stay",
  inputs: [rows([1, NaN, 1], [1, Infinity, 1], [Infinity, -last, 1])],
  expected: rows([1, NaN, NaN], [1, Infinity, Infinity], [Infinity, NaN, NaN]),
});

const cumulative: Case[] = ways.flatMap((options) => [
  ...cumulating("cumsum", options, {
    specials: [
      stays(Infinity),
      {
        name: "cancellation that float32 would not survive",
        inputs: [line(2 ** 40, 1, 1, -(2 ** 40), 1)],
        expected: line(2 ** 40, 2 ** 40, 2 ** 40, 2, 3),
        dtypes: ["float32", "bfloat16"],
      },
      {
        name: "wraps",
        inputs: [line(2 ** 31 - 1, 1, 1)],
        expected: line(2 ** 31 - 1, -(2 ** 31), 1 - 2 ** 31),
        dtypes: ["int32"],
      },
    ],
  }),
  ...cumulating("cumprod", options, {
    steps: 2,
    specials: [stays(0), {
      name: "wraps",
      inputs: [line(2 ** 16, 2 ** 15, 2, 5)],
      expected: line(2 ** 16, -(2 ** 31), 0, 0),
      dtypes: ["int32"],
    }],
  }),
  // Gradients where one element of a line is 0, or two.
  ...cumulating("cumprod", options, {
    fill: [(random, i) => i % 3 === 1 ? 0 : 0.5 + random()],
    dtypes: ["float64"],
  }).map((c) => ({ ...c, name: `${c.name} with zeros`, specials: undefined })),
  ...(["cumsum", "cumprod"] as const).flatMap((name) =>
    cumulating(name, options, { dtypes: ["uint8"], output: "int32", gradShapes: undefined })
      .map((c) => ({ ...c, name: `${c.name} of uint8`, specials: undefined }))
  ),
]);

/** The places of a line's elements in order: NaN is the largest, equal ones stay as they are. */
function order(terms: readonly number[], descending: boolean): number[] {
  const rank = (x: number) => Number.isNaN(x) ? Infinity : x === Infinity ? Number.MAX_VALUE : x;
  const compare = (a: number, b: number) => a === b ? 0 : a < b ? -1 : 1;
  return terms.map((_, i) => i).sort((i, j) =>
    compare(rank(terms[i]!), rank(terms[j]!)) * (descending ? -1 : 1) || i - j
  );
}

// The first k along the axis: their places, or the elements there.
function firstOf(
  x: Grid,
  axis: number,
  k: number | undefined,
  descending: boolean,
  places: boolean,
) {
  const at = (axis + x.shape.length) % x.shape.length;
  const sorted = alongAxis(x, at, (terms) => {
    const found = order(terms, descending);
    return places ? found : found.map((i) => terms[i]!);
  });
  return build(x.shape.with(at, k ?? x.shape[at]!), (index) => elementAt(sorted, index));
}

// Rows of 6 times some columns, so that each way to choose and to sort meets them.
const awkward = [1, 25, 1400].map((times): Grid =>
  rows(
    ...[
      [1, NaN, 3, 3, -0, 0],
      [Infinity, NaN, NaN, -Infinity, 1, Infinity],
      [0, -0, 0, -0, -1, 1],
      row(6, NaN),
      row(6, 2),
    ].map((terms) => Array<number[]>(times).fill(terms).flat()),
  )
);
// Around the sizes at which the way to choose changes.
const choices: readonly Shape[] = [
  [5, 64],
  [5, 65],
  [3, 1000],
  [2, 1024],
  [2, 2048],
  [1, 4096],
  [
    2,
    8191,
  ],
  [1, 8193],
  [2, 50_257],
];

interface Ordering {
  name: string;
  axis: number;
  k?: number;
  more?: readonly Shape[];
  descending: boolean;
  values?: (x: Tensor) => Tensor;
  places: (x: Tensor) => Tensor;
  methods: [values: (x: Tensor) => Tensor, places: (x: Tensor) => Tensor];
}

// The values, which have gradients where no two are equal, and the places, which tell equal ones
// apart.
function ordering(
  { name, axis, k, more = [], descending, values, places, methods }: Ordering,
): Case[] {
  const of = (x: Grid, wanted: boolean) => firstOf(x, axis, k, descending, wanted);
  const [, shapes, gradShapes] = byAxis.find(([a]) => a === axis)!;
  const fits = (list: readonly Shape[]) =>
    listed(list.filter((shape) => shape.at(axis)! >= (k ?? 0)));
  const specials = (wanted: boolean): Special[] | undefined =>
    axis === -1
      ? awkward.filter(({ shape }) => shape[1]! >= (k ?? 0)).map((grid) => ({
        name: "NaN, infinity and zeros",
        inputs: [grid],
        expected: of(grid, wanted),
        exact: true,
      }))
      : undefined;
  const shared = { shapes: fits([...shapes, ...more]), dtypes: anything };
  const found: Case[] = [{
    ...shared,
    name: `${name}.indices`,
    call: places,
    also: () => [{ name: "as a method", call: methods[1] }],
    reference: (x) => of(x!, true),
    fill: [whole(-20, 20)],
    output: "int32",
    specials: specials(true),
  }];
  if (values) {
    found.push({
      ...shared,
      name: `${name}.values`,
      call: values,
      also: () => [{ name: "as a method", call: methods[0] }],
      reference: (x) => of(x!, false),
      gradShapes: fits(gradShapes),
      fill: [spiked(-100, 100, 2)],
      specials: specials(false),
    });
  }
  return found;
}

function topping(k: number, axis: number, largest: boolean): Case[] {
  const options = axis === -1 && largest ? {} : { axis, largest };
  return ordering({
    name: `topK(${k}, axis ${axis}${largest ? "" : ", smallest"})`,
    axis,
    k,
    more: axis === -1 ? choices : [],
    descending: largest,
    values: (x) => topK(x, k, options).values,
    places: (x) => topK(x, k, options).indices,
    methods: [(x) => x.topK(k, options).values, (x) => x.topK(k, options).indices],
  });
}

function sorting(axis: number, descending: boolean): Case[] {
  const options = axis === -1 && !descending ? {} : { axis, descending };
  return ordering({
    name: `sort(axis ${axis}${descending ? ", descending" : ""})`,
    axis,
    descending,
    values: (x) => sort(x, options).values,
    places: (x) => sort(x, options).indices,
    methods: [(x) => x.sort(options).values, (x) => x.sort(options).indices],
  });
}

export const scanCases: readonly Case[] = [
  ...cumulative,
  ...topping(1, -1, true),
  ...topping(3, -1, true),
  ...topping(3, -1, false),
  ...topping(50, -1, true),
  ...topping(512, -1, false),
  ...topping(1024, -1, true),
  ...topping(1025, -1, true),
  ...topping(2, 0, true),
  ...topping(2, 1, false),
  ...topping(0, -1, true),
  ...sorting(-1, false),
  ...sorting(-1, true),
  ...sorting(0, true),
  ...sorting(1, false),
  ...ordering({
    name: "argsort(axis -1, descending)",
    axis: -1,
    descending: true,
    places: (x) => argsort(x, { descending: true }),
    methods: [(x) => x, (x) => x.argsort({ descending: true })],
  }),
];
