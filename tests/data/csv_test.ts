// Delimited text: RFC 4180's quoting, types, missing values, and what is wrong where.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ArgumentError, CudenoError, data, DataError, DTypeError } from "../../mod.ts";
import { parseNumber } from "../../lib/data/_number.ts";
import { cleanTest as test, inFolder, refuse } from "../_helpers.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Names and columns of a text. */
async function read(text: string, options?: data.CsvOptions) {
  const { names, columns, rows } = await data.csv(bytes(text), options);
  assertEquals(Object.keys(columns).sort(), [...names].sort());
  return names.map((name) => {
    assertEquals(columns[name]!.length, rows);
    return [name, ...columns[name]!];
  });
}

test("csv: names, numbers and texts", async () => {
  const table = await data.csv("a,b,c\n1,2.5,x\n-3,1e2, y\n");
  assertEquals(table.names, ["a", "b", "c"]);
  assertEquals(table.rows, 2);
  assertEquals(table.columns, {
    a: Float64Array.of(1, -3),
    b: Float64Array.of(2.5, 100),
    c: ["x", " y"],
  });
});

test("csv: quotes, doubled quotes, line breaks and delimiters within fields", async () => {
  const text =
    '"a ""1""","b\r\nc",d\r\n"x,y","1.5","say ""hi"""\r\nz"z,2,"two\nlines"\r\n,"",""\r\n';
  assertEquals(await read(text), [
    ['a "1"', "x,y", 'z"z', ""],
    ["b\r\nc", 1.5, 2, NaN],
    ["d", 'say "hi"', "two\nlines", ""],
  ]);
});

test("csv: every way that lines end, a byte order mark, empty lines", async () => {
  const wanted = [["a", 1, 3], ["b", 2, 4]];
  for (const end of ["\n", "\r\n", "\r"]) {
    for (const last of ["", end, end + end]) {
      const text = ["a,b", "1,2", "", "3,4"].join(end) + last;
      assertEquals(await read(text), wanted);
      assertEquals(await read("\ufeff" + text), wanted);
      assertEquals(await read(end + text), wanted);
    }
  }
});

test("csv: fields at the end of the text", async () => {
  assertEquals(await read("a,b\n1,"), [["a", 1], ["b", NaN]]);
  assertEquals(await read('a,b\n1,""'), [["a", 1], ["b", NaN]]);
  assertEquals(await read('a,b\n1,"x"'), [["a", 1], ["b", "x"]]);
  assertEquals(await read("a,b"), [["a"], ["b"]]);
  assertEquals(await read("a,\n1,2"), [["a", 1], ["", 2]]);
});

test("csv: no header, other delimiters, given names", async () => {
  assertEquals(await read("1,x\n2,y\n", { header: false }), [["0", 1, 2], ["1", "x", "y"]]);
  assertEquals(await read("a\tb\n1\t2,5\n", { delimiter: "\t" }), [["a", 1], ["b", "2,5"]]);
  assertEquals(await read("1;2", { header: false, delimiter: ";", names: ["x", "y"] }), [
    ["x", 1],
    ["y", 2],
  ]);
  assertEquals(await read("a,a\n1,2", { names: ["x", "y"] }), [["x", 1], ["y", 2]]);
  assertEquals(await read("__proto__,1\n5,6"), [["__proto__", 5], ["1", 6]]);
});

test("csv: missing values", async () => {
  const text = "a,b\n1,x\nNA,NA\n, \nnan,NaN\n 2 ,y\n";
  assertEquals(await read(text), [
    ["a", 1, NaN, NaN, NaN, 2],
    ["b", "x", "NA", " ", "NaN", "y"],
  ]);
  assertEquals(await read("a,b\n,?\n,-9\n", { missing: ["", "?", "-9"] }), [
    ["a", NaN, NaN],
    ["b", NaN, NaN],
  ]);
  assertEquals(await read("a,b\nNA,1\n", { missing: [] }), [["a", "NA"], ["b", 1]]);
});

test("csv: inferred types: text at any row makes a column of text, as it was written", async () => {
  const rows = Array.from({ length: 100 }, (_, i) => `0${i}.0,${i},${i === 77 ? "x" : i}`);
  const found = await read(["a,b,c", ...rows].join("\n"));
  const counted = Array.from({ length: 100 }, (_, i) => i);
  assertEquals(found[0], ["a", ...counted]);
  assertEquals(found[2], ["c", ...counted.map((i) => i === 77 ? "x" : `${i}`)]);
  assertEquals(await read("a\nNA\n007\nx\n"), [["a", "NA", "007", "x"]]);
  for (
    const text of ["0x10", "1_000", "1e", "-", ".", "1.2.3", "e5", "true", "+-1", "1 2", "--1"]
  ) {
    assertEquals(await read(`a\n${text}\n`), [["a", text]]);
  }
  assertEquals(await read("a\ninf\n-Infinity\n+INF\n"), [["a", Infinity, -Infinity, Infinity]]);
});

test("csv: given types", async () => {
  const text = "a,b\n007,1.1\n1,2\n";
  const { columns } = await data.csv(text, { types: { a: "text", b: "float32" } });
  assertEquals(columns, { a: ["007", "1"], b: Float32Array.of(1.1, 2) });
  const all = await data.csv(text, { types: "float32" });
  assertEquals(all.columns.a, Float32Array.of(7, 1));
  const texts = await data.csv(text, { types: "text" });
  assertEquals(texts.columns.b, ["1.1", "2"]);
});

test("csv: texts beyond ASCII, long ones, and many", async () => {
  const long = "long ".repeat(30_000);
  const rows = Array.from({ length: 20_000 }, (_, i) => `zeile ${i},ü${i}€,"q""${i}"`);
  const { columns } = await data.csv(bytes(["a,b,ç", ...rows, `${long},é,`].join("\n")));
  assertEquals(columns.a!.length, 20_001);
  for (const i of [0, 1, 4999, 19_999]) {
    assertEquals([columns.a![i], columns.b![i], columns.ç![i]], [
      `zeile ${i}`,
      `ü${i}€`,
      `q"${i}`,
    ]);
  }
  assertEquals([columns.a!.at(-1), columns.b!.at(-1)], [long, "é"]);
});

test("csv: from a path, a URL, a stream in pieces, gzip, shared memory", async () => {
  const text = "a,b\n1,x\n2,é\n";
  const wanted = { a: Float64Array.of(1, 2), b: ["x", "é"] };
  const gzip = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  const packed = await new Response(gzip).bytes();
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/t.csv`, text);
    await Deno.writeFile(`${folder}/t.csv.gz`, packed);
    for (const path of ["t.csv", "t.csv.gz"]) {
      assertEquals((await data.csv(`${folder}/${path}`)).columns, wanted);
      assertEquals((await data.csv(new URL(`file://${folder}/${path}`))).columns, wanted);
    }
    await assertRejects(() => data.csv(`${folder}/none.csv`), DataError, "none.csv is missing");
    await Deno.writeTextFile(`${folder}/bad.csv`, "a\n1,2");
    await assertRejects(() => data.csv(`${folder}/bad.csv`), DataError, "bad.csv: line 2");
  });
  const pieces = ReadableStream.from(Array.from(bytes(text), (byte) => Uint8Array.of(byte)));
  assertEquals((await data.csv(pieces)).columns, wanted);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes(text).length));
  shared.set(bytes(text));
  assertEquals((await data.csv(shared)).columns, wanted);
  assertEquals((await data.csv(packed)).columns, wanted);
  const damaged = packed.with(packed.length - 6, packed.at(-6)! ^ 1);
  await assertRejects(() => data.csv(damaged), DataError, "damaged or truncated");
  for (let n = 2; n < packed.length; n++) {
    await assertRejects(() => data.csv(packed.subarray(0, n)), DataError);
  }
});

test("csv: what is wrong is told with line and column", async () => {
  const cases: [text: string | Uint8Array, message: string, options?: data.CsvOptions][] = [
    ["", "found no text, expected names"],
    ["\n\n", "found no text, expected a row", { header: false }],
    ["a,b\n1,2\n1,2,3\n", "line 3: found 3 fields, expected 2 as in line 1"],
    ["a,b\n1,2\n1\n", "line 3: found 1 fields, expected 2"],
    ['a,b\n"x\n\n",1\n3\n', "line 5: found 1 fields"],
    ["\n1,2\r\n\r\n3\r\n", "line 4: found 1 fields, expected 2 as in line 2", { header: false }],
    ['a,b\n1,"x\n2,y\n', 'line 2, column 2 ("b"): the quote that opens here is never closed'],
    ['a,b\n"x"y,1\n', 'line 2, column 1 ("a"): found "y" after the closing quote'],
    ["a,b\n1,2\n1,x\n", 'line 3, column 2 ("b"): found "x", expected a number', {
      types: { b: "float64" },
    }],
    ["a\r1\r\r12 apples", 'line 4, column 1 ("a"): found "12 apples"', { types: "float32" }],
    ["a,b,a\n1,2,3", 'line 1: two columns are called "a"'],
    ["a,b\n1,2", "found 2 columns, expected 1 by names", { names: ["x"] }],
    [latin1("a,b\nx,caf\xe9\n"), 'line 2, column 2 ("b"): found bytes that are no UTF-8'],
    [latin1("\xff\xfea\0,\0"), "UTF-16"],
  ];
  for (const [text, message, options] of cases) {
    const source = typeof text === "string" ? bytes(text) : text;
    await assertRejects(() => data.csv(source, options), DataError, message);
  }
  const long = "x".repeat(1000);
  const error = await assertRejects(
    () => data.csv(`a\n${long}\n`, { types: "float64" }),
    DataError,
  );
  assert(error.message.length < 300, error.message);
});

test("csv: wrong options", async () => {
  const cases: [options: unknown, message: string][] = [
    [{ delimeter: ";" }, "did you mean delimiter?"],
    [{ delimiter: ", " }, "one ASCII character"],
    [{ delimiter: '"' }, "one ASCII character"],
    [{ header: 1 }, "true or false"],
    [{ types: { c: "text" } }, 'there is no column "c"; there are "a", "b"'],
    [{ types: { a: "int" } }, "float64, float32, text"],
    [{ types: "string" }, "float64, float32, text"],
    [{ types: ["text"] }, "types by name"],
    [{ missing: "NA" }, "missing"],
    [{ names: [1, 2] }, "names[0] is 1"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(() => data.csv("a,b\n1,2", options as never), ArgumentError, message);
  }
  await assertRejects(() => data.csv(5 as never), ArgumentError, "a path");
});

test("csv: tensors of columns", async () => {
  const table = await data.csv("a,b,n,t\n1,2.5,0,x\n3,4,NA,y\n");
  const x = table.toTensor(["b", "a"]);
  assertEquals([x.dtype, x.shape, [...x.dataSync()]], ["float32", [2, 2], [2.5, 1, 4, 3]]);
  const a = table.toTensor("a", { dtype: "int32" });
  assertEquals([a.dtype, a.shape, [...a.dataSync()]], ["int32", [2], [1, 3]]);
  assertEquals([...table.toTensor("n").dataSync()], [0, NaN]);
  for (const dtype of ["float16", "bfloat16", "float64", "uint8"] as const) {
    const one = table.toTensor("a", { dtype, device: "cpu" });
    assertEquals([one.dtype, ...one.dataSync()], [dtype, 1, 3]);
  }
  const empty = await data.csv("a,b\n,\n");
  assertEquals(empty.toTensor().shape, [1, 2]);
  assertEquals((await data.csv("a,b\n")).toTensor().shape, [0, 2]);
  assertEquals(table.toTensor([]).shape, [2, 0]);
  refuse(() => table.toTensor(), DTypeError, 'column "t" is text, such as "x"');
  refuse(() => table.toTensor("c"), ArgumentError, 'no column "c"; there are "a", "b"');
  refuse(() => table.toTensor("toString"), ArgumentError, "no column");
  refuse(() => table.toTensor("n", { dtype: "int32" }), DTypeError, '"n", row 1: NaN is no int32');
  refuse(() => table.toTensor("b", { dtype: "uint8" }), DTypeError, "2.5 is no uint8");
  refuse(() => table.toTensor("a", { dtipe: "int32" } as never), ArgumentError, "dtype?");
  refuse(() => table.toTensor(3 as never), ArgumentError, "names");
});

/** Whole numbers below n, the same in every run. */
let state = 1;
function random(n: number): number {
  state = Math.imul(state, 1664525) + 1013904223 | 0;
  return Math.floor((state >>> 0) / 2 ** 32 * n);
}

test("csv: numbers are those of Number(), to the last bit", () => {
  const check = (text: string) => {
    const found = parseNumber(bytes(`1${text}9`), 1, text.length + 1);
    assert(Object.is(found, Number(text)), `${text}: found ${found}`);
  };
  const fixed = "0 -0 +1 .5 5. 1e5 1E-5 1e400 -1e-400 0012 1e22 1e23 2.5e+3 0e99999999999 " +
    "9007199254740993 9007199254740993.0 0.000000000000000000000000000001 4.9e-324 " +
    "123456789012345678901234567890 1.7976931348623158e308 2.2250738585072011e-308";
  for (const text of fixed.split(" ")) check(text);
  check("1".repeat(200_000));
  const view = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < 20_000; i++) {
    const value = (random(2 ** 32) + random(2 ** 32) / 2 ** 32) / 2 ** random(40);
    check(String(value));
    check((-value).toPrecision(1 + random(22)));
    check(value.toExponential(random(20)));
    // halfway between two float64, where rounding is decided by the last digit
    check(`${2n ** 49n + BigInt(random(2 ** 32)) * 1000n}.${["0625", "03125", "046875"][i % 3]}`);
    view.setUint32(0, random(2 ** 32));
    if (Number.isFinite(view.getFloat64(0))) check(String(view.getFloat64(0)));
  }
  for (const text of ["", "-", ".", "e", "1e", "1e+", "1 ", " 1", "0x1", "1..", "NaN", "1e5.0"]) {
    assertEquals(parseNumber(bytes(text), 0, text.length), NaN, text);
  }
});

test("csv: bytes at random: only errors of ours", async () => {
  const letters = bytes('",,,\n\r\n11a.-e \xe9');
  let [taken, refused] = [0, 0];
  for (let round = 0; round < 3000; round++) {
    const source = Uint8Array.from({ length: random(40) }, () => letters[random(letters.length)]!);
    try {
      const { columns, rows } = await data.csv(source, { header: round % 2 === 0 });
      for (const column of Object.values(columns)) assertEquals(column.length, rows);
      taken++;
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
      refused++;
    }
  }
  assert(taken > 100 && refused > 100, `${taken} taken, ${refused} refused`);
});

test("csv: some rows of a table, by number and by what is in them", async () => {
  const table = await data.csv("x,y,name\n1,2,a\n3,,b\n5,6,c\n");
  const whole = table.select((row) => !Number.isNaN(row["y"]));
  assertEquals([whole.rows, whole.columns["x"], whole.columns["name"]], [
    2,
    Float64Array.of(1, 5),
    ["a", "c"],
  ]);
  assertEquals(table.select((_, i) => i === 1).columns["name"], ["b"]);
  const twice = table.select(Int32Array.of(2, 0, 2));
  assertEquals([twice.rows, twice.columns["x"]], [3, Float64Array.of(5, 1, 5)]);
  assertEquals(table.select([]).rows, 0);
  refuse(() => table.select([3]), ArgumentError, "a row is 3; it must be");
});
