// What is fitted to the columns of tables: numbers to a common scale, categories to numbers.
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  data,
  type DType,
  DTypeError,
  scope,
  ShapeError,
  tensor,
  zeros,
} from "../../mod.ts";

const { CategoryEncoder, Normalizer } = data;

// Means that are no floats, missing numbers, a constant whose mean is rounded, nothing at all.
const rows = [[1, 1e6, 0.1, NaN, 7], [2, NaN, 0.1, NaN, -7], [4, 1e6 + 3, 0.1, NaN, 1]];
const columns = rows[0]!.map((_, c) => rows.map((row) => row[c]!).filter((v) => !isNaN(v)));

Deno.test("Normalizer: by column, without what is missing; back again", () => {
  for (const method of ["standard", "minMax"] as const) {
    const wanted = columns.map((column, c) => {
      if (c === 3) return [0, 1];
      if (c === 2) return [0.1, 1];
      if (method === "minMax") {
        return [Math.min(...column), Math.max(...column) - Math.min(...column)];
      }
      const mean = column.reduce((a, b) => a + b) / column.length;
      const squares = column.reduce((a, b) => a + (b - mean) ** 2, 0);
      return [mean, Math.sqrt(squares / column.length)];
    });
    scope(() => {
      const x = tensor(rows, { dtype: "float64" });
      const fitted = Normalizer.fit(x, { method });
      const text = JSON.stringify(fitted);
      for (const normalizer of [fitted, Normalizer.fromJSON(JSON.parse(text))]) {
        wanted.forEach(([center, scale], c) => {
          assertAlmostEquals(normalizer.center[c]!, center!, 1e-9);
          assertAlmostEquals(normalizer.scale[c]!, scale!, 1e-9);
        });
        const y = normalizer.transform(x), back = normalizer.inverse(y);
        rows.flat().forEach((v, i) => {
          const [center, scale] = wanted[i % 5]!;
          const found = y.dataSync()[i]!, again = back.dataSync()[i]!;
          if (isNaN(v)) assertEquals([found, again], [NaN, NaN]);
          else {
            assertAlmostEquals(found, (v - center!) / scale!, 1e-9);
            assertAlmostEquals(again, v, 1e-9);
          }
        });
      }
      const half = Normalizer.fit(tensor([[100, 1], [300, 2]])).transform(
        tensor([[[300, 1]]], { dtype: "float16" }),
      );
      assertEquals([half.dtype, half.shape, ...half.dataSync()], ["float16", [1, 1, 2], 1, -1]);
      for (const dtype of ["int32", "uint8"] as DType[]) {
        assertEquals(Normalizer.fit(tensor([[1], [5]], { dtype }), { method }).center, [
          method === "minMax" ? 1 : 3,
        ]);
      }
    });
  }
});

Deno.test("Normalizer: what it refuses", () => {
  scope(() => {
    assertThrows(() => Normalizer.fit(tensor([[1, -Infinity]])), ArgumentError, "column 1 has inf");
    const minMax = { method: "minMax" } as const;
    assertThrows(() => Normalizer.fit(tensor([[Infinity]]), minMax), ArgumentError, "column 0");
    assertThrows(() => Normalizer.fit(zeros([0, 2])), ShapeError, "[0, 2]");
    assertThrows(() => new Normalizer([0], [0]), ArgumentError, "scale[0] is 0");
    assertThrows(() => new Normalizer([0], [1, 1]), ArgumentError, "as long as");
    const one = new Normalizer([1], [2]);
    assertThrows(() => one.transform(zeros([2, 2])), ShapeError, "there are 1 columns");
    assertThrows(() => one.inverse(zeros([2, 1], { dtype: "int32" })), DTypeError, "int32");
  });
});

Deno.test("CategoryEncoder: sorted values, their numbers and one-hot rows, and back", async () => {
  const table = await data.csv("a,b,c\nx,10,1\né,NA,2\nx,9,3\n,inf,4\n");
  const fitted = CategoryEncoder.fit(table, ["b", "a"]);
  assertEquals(fitted.categories, { b: [9, 10, Infinity, NaN], a: ["", "x", "é"] });
  const codes = [1, 1, 3, 2, 0, 1, 2, 0];
  const hot = codes.flatMap((code, i) =>
    Array.from({ length: i % 2 ? 3 : 4 }, (_, k) => Number(k === code))
  );
  for (const encoder of [fitted, CategoryEncoder.fromJSON(JSON.parse(JSON.stringify(fitted)))]) {
    scope(() => {
      const numbers = encoder.transform(table);
      assertEquals([numbers.dtype, numbers.shape], ["int32", [4, 2]]);
      assertEquals([...numbers.dataSync()], codes);
      const oneHot = encoder.transform(table, { oneHot: true });
      assertEquals([oneHot.dtype, oneHot.shape], ["float32", [4, 7]]);
      assertEquals([...oneHot.dataSync()], hot);
      for (const x of [numbers, oneHot, oneHot.mul(0.3).add(0.1)]) {
        const back = encoder.inverse(x);
        assertEquals([back.names, back.rows], [["b", "a"], 4]);
        for (const name of ["a", "b"]) assertEquals(back.columns[name], table.columns[name]);
      }
    });
  }
  assertEquals(CategoryEncoder.fit(table).categories.c, [1, 2, 3, 4]);
});

Deno.test("CategoryEncoder: values that were not there", async () => {
  const table = await data.csv("a,b\nx,1\ny,2\n"), other = await data.csv("b,a\n2,z\n3,y\n");
  const strict = CategoryEncoder.fit(table);
  assertThrows(() => strict.transform(other), ArgumentError, 'column "a" has "z" in row 0');
  const open = CategoryEncoder.fit(table, ["a", "b"], { unknown: -1 });
  scope(() => {
    const numbers = open.transform(other), hot = open.transform(other, { oneHot: true });
    assertEquals([...numbers.dataSync()], [-1, 1, 1, -1]);
    assertEquals([...hot.dataSync()], [0, 0, 0, 1, 0, 1, 0, 0]);
    for (const x of [numbers, hot]) {
      assertEquals(open.inverse(x).columns, { a: ["", "y"], b: Float64Array.of(2, NaN) });
      assertThrows(() => strict.inverse(x), ArgumentError, "row 0 has no category");
    }
    assertThrows(() => open.inverse(zeros([2, 3])), ShapeError, "[rows, 4]");
  });
  const taken = { unknown: 1 };
  assertThrows(() => CategoryEncoder.fit(table, ["a"], taken), ArgumentError, "no category has");
  assertThrows(() => CategoryEncoder.fit(table, ["q"]), ArgumentError, "there is no column");
  const swapped = await data.csv("a,b\n1,x\n");
  assertThrows(() => open.transform(swapped), DTypeError, 'column "a" is numbers');
});
