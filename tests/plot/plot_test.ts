// Pictures: well-formed SVG whatever the numbers are, with as many marks as there are values.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ArgumentError, io, plot, ShapeError, Tensor, tensor, zeros } from "../../mod.ts";
import { SweepResult } from "../../mod.ts";
import { widthOf } from "../../lib/plot/_scene.ts";
import { labelOf, niceTicks, spanOf, ticksOf } from "../../lib/plot/_axis.ts";
import { cleanTest as test, inFolder } from "../_helpers.ts";

/** Throws unless it is well-formed, finite and small; gives its elements' attributes. */
function elementsOf(picture: plot.Plot): Record<string, string>[] {
  const svg = `${picture}`, open: string[] = [], elements: Record<string, string>[] = [];
  assert(svg.length < 200_000, `${svg.length} bytes`);
  const rest = svg.replace(/<(\/?)(\w+)((?: [\w:-]+="[^"<]*")*)(\/?)>([^<]*)/g, (...found) => {
    const [, closing, name, attributes, empty, text] = found;
    assert(/^([^&]|&#\d+;)*$/.test(attributes + text), `not escaped: ${attributes} ${text}`);
    if (closing) assertEquals(open.pop(), name);
    else if (!empty) open.push(name);
    const pairs = attributes.matchAll(/ ([\w:-]+)="([^"]*)"/g);
    const own = { name, text: text!.replace(/&#\d+;/g, "x") };
    elements.push({ ...own, ...Object.fromEntries(Array.from(pairs, ([, ...pair]) => pair)) });
    const { d = "", x = "", y = "", width = "", height = "", transform = "" } = elements.at(-1)!;
    const numbers = [d, x, y, transform, width, height].join(" ");
    assert(!/NaN|Infinity|undefined|e[+-]/.test(numbers) && !/^-/.test(width + height), numbers);
    return "";
  });
  assertEquals([rest, open], ["", []], "not well-formed");
  return elements;
}

// What a notebook is given.
const shownOf = (thing: object): Record<string, string> =>
  (thing as Record<symbol, () => Record<string, string>>)[Symbol.for("Jupyter.display")]!();
const marksOf = (picture: plot.Plot, name: string, pattern: RegExp) =>
  elementsOf(picture).filter((one) => one.name === name && pattern.test(JSON.stringify(one)));
const dotsOf = (picture: plot.Plot) =>
  marksOf(picture, "path", /h0/).reduce((n, { d }) => n + d!.match(/h0/g)!.length, 0);
const textsOf = (picture: plot.Plot) =>
  Array.from(`${picture}`.matchAll(/<text[^>]*>([^<]*)/g), ([, text]) => text!);

test("plot: ticks are multiples of 1, 2 or 5, or decades", () => {
  assertEquals(niceTicks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assertEquals(niceTicks(-0.3, 0.3, 6), [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]);
  assertEquals(niceTicks(3, 47, 4), [20, 40]);
  assertEquals(niceTicks(-1, 48, 2), [0, 20, 40]); // not 0 alone
  assertEquals(niceTicks(0, 3, 8, true), [0, 1, 2, 3]);
  assertEquals(niceTicks(1e6, 1e6 + 1, 2), [1e6, 1e6 + 0.5, 1e6 + 1]);
  const logTicks = (...x: number[]) => ticksOf(spanOf([x], true, 0), 5).map(([x]) => x);
  assertEquals(logTicks(1e-3, 1e3), [1e-2, 1, 1e2]);
  assertEquals(logTicks(1, 10), [1, 2, 5, 10]);
  assertEquals(logTicks(0.31, 0.34).length > 1, true);
  assertEquals([0, 0.25, 1e-7, 2.5e9].map(labelOf), ["0", "0.25", "1e-7", "2.5e9"]);
  for (const x of [0, 5e-324, 1e-300, -3, 1e20, 9e299]) {
    const { low, high } = spanOf([[x]]);
    assert(low <= x && x <= high && low < high && niceTicks(low, high, 4).length < 9, `${x}`);
  }
});

test("plot: NaN and infinities are gaps, single points are dots", () => {
  const gaps = plot.line([1, 2, NaN, 4, -Infinity, 6, 7, 1e308]);
  const [curve] = marksOf(gaps, "path", /"l s0"/);
  assertEquals([curve!.d!.match(/M/g)!.length, dotsOf(gaps)], [2, 1]);
  const log = marksOf(plot.line([0, 1, 10, -1], { yScale: "log" }), "path", /"l s0"/);
  assertEquals(log[0]!.d!.match(/[ML]/g)!.length, 2);
  for (const values of [[], [5], [NaN], [0, 0], [-9e299, 9e299], [5e-324, 1e-323]]) {
    const pairs = values.map((x) => [x, 1]);
    elementsOf(plot.line(values));
    elementsOf(plot.line({ a: values, b: { x: values, y: values } }, { xScale: "log" }));
    elementsOf(plot.scatter(pairs));
    elementsOf(plot.histogram(values));
    elementsOf(plot.bar(Object.fromEntries(values.entries())));
    elementsOf(plot.confusion(values.map(() => values)));
    elementsOf(plot.parallel(values.map((x) => ({ a: x, b: "c", [`d${x}`]: x }))));
  }
});

test("plot: colours for light and dark, texts that are escaped, any size", () => {
  const title = `<b>&"\0\ud800`;
  const named = { [title]: [1, 2], other: [2, 1] };
  const auto = plot.line(named, { title, xLabel: title, yLabel: title, width: 200, height: 160 });
  assertEquals(elementsOf(auto)[0]!.viewBox, "0 0 200 160");
  const safe = "&#60;b&#62;&#38;&#34;\ufffd\ufffd";
  assertEquals(textsOf(auto).filter((text) => text === safe).length, 4);
  assert(`${auto}`.includes("@media(prefers-color-scheme:dark)"));
  const [light, dark] = (["light", "dark"] as const).map((theme) => `${plot.line([], { theme })}`);
  assert(!`${light}${dark}`.includes("@media"));
  assert(light!.includes(".b{fill:#fff}") && dark!.includes(".b{fill:#0d1117}"));
});

test("plot: as many marks as values, of very many those that show", () => {
  const many = Float64Array.from({ length: 1e5 }, (_, i) => Math.sin(i * i));
  const curve = marksOf(plot.line(many), "path", /"l s0"/)[0]!.d!.split("L").length;
  assert(curve > 1000 && curve < 13_000, `${curve} points`);
  elementsOf(plot.line(many.map((x, i) => i % 2 ? NaN : x)));
  elementsOf(plot.line({ a: { x: many, y: many.toReversed() } }));
  const pairs = Array.from(many, (x, i) => [x, many[(i * 7) % 1e5]!]);
  const dots = dotsOf(plot.scatter(pairs));
  assert(dots > 2000 && dots <= 8000, `${dots} dots`);
  elementsOf(plot.parallel(pairs.map(([a, b]) => ({ a: a!, b: b!, c: "c" }))));
  assertEquals(dotsOf(plot.scatter([[1, 2], [3, 4], [NaN, 5]], { labels: [0, 1, 1] })), 2);
  const bars = marksOf(plot.bar({ a: 1, b: -2, c: NaN }), "rect", /s0/);
  assertEquals(bars.length, 2);
  const decades = marksOf(plot.bar({ a: 1, b: 10, c: 100, d: 0 }, { xScale: "log" }), "rect", /s0/);
  const [a, b, c] = decades.map(({ width }) => Number(width));
  assert(decades.length === 3 && a! > 0 && Math.abs((c! - b!) - (b! - a!)) < 0.3, `${[a, b, c]}`);
  const counts = marksOf(plot.histogram([0, 0, 1, NaN, 4], { bins: 4 }), "rect", /s0/);
  assertEquals(counts.length, 3);
  assertEquals(+counts[0]!.height!, 2 * +counts[1]!.height!);
  const [matrix, want] = [
    plot.confusion([[3, 1], [0, 4]], { classes: ["cat", "dog"] }),
    "3 75% 1 25%",
  ];
  assert(textsOf(matrix).join(" ").includes(`${want} 0 0% 4 100%`), `${textsOf(matrix)}`);
  const search = plot.parallel([{ lr: 0.1, of: "a", loss: 1 }, { lr: 1e-4, of: "b", loss: NaN }]);
  assertEquals(marksOf(search, "path", /opacity/).length, 2);
  assert(["lr", "of", "loss", "0.001", "a", "b"].every((text) => textsOf(search).includes(text)));
});

test("plot: texts are apart and within the picture, however long and many they are", () => {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const named = <T>(n: number, name: string, of: (i: number) => T): Record<string, T> =>
    Object.fromEntries(range(n).map((i) => [`${name} ${i}`, of(i)]));
  const size = { width: 320, height: 240 }, ends = [-100_000, 100_000], labels = range(30);
  const words = ["s", "a name of many words, which goes on, of", "\u65e5\u672c\u8a9e"];
  for (const how of [size, { width: 640, height: 400 }]) {
    const { width } = how, classes = labels.map(String);
    const pictures = words.flatMap((name) => [
      plot.line(named(20, name, (i) => [i, 1 - i]), how),
      plot.bar(named(60, name, (i) => i % 3 - 1e-4 * i), { width }),
      plot.parallel([named(12, name, (i) => 1e5 * i), named(12, name, () => 1)], how),
    ]).concat(
      plot.line({ a: { x: ends, y: ends } }, how),
      plot.line({ a: { x: [1.7e9, 1.7e9 + 90], y: [1e12, 2e12] } }, how),
      plot.bar({ a: -5, b: -0.01234, c: 0, d: 1e-4 }, { width }),
      plot.scatter(labels.map((i) => [i, i]), { ...how, labels, classes }),
    );
    for (const picture of pictures) {
      const before: [left: number, right: number, y: number][] = [];
      for (const { x, y, text = "", transform, ...how } of marksOf(picture, "text", /"x"/)) {
        if (how.class === "h" || transform) continue; // what lies flat
        const wide = widthOf([text]), share = { end: 1, middle: 0.5 }[how["text-anchor"]!] ?? 0;
        const left = +x! - share * wide, right = left + wide;
        assert(left > -5 && right < width + 5, `${text}: ${left} to ${right} of ${width}`);
        const free = before.every(([a, b, at]) =>
          Math.abs(at - +y!) >= 9 || left > b - 3 || right < a + 3
        );
        assert(free, `${text} is not alone at ${x}, ${y}`);
        before.push([left, right, +y!]);
      }
    }
  }
  const many = plot.line(named(20, "s", (i) => [i, 1 - i]), size); // told apart by dashes
  assertEquals(marksOf(many, "path", /"p s0 k"/).length, 1);
  const counts = plot.histogram([3, 3, 3], size);
  assert(textsOf(counts).includes("3") && !textsOf(counts).includes("0.5"), `${textsOf(counts)}`);
  const wide = plot.confusion(range(30).map((i) => range(30).map((j) => i === j ? 12_345 : 7)));
  assertEquals(textsOf(wide).filter((text) => text === "12K").length, 30);
  elementsOf(plot.confusion(range(150).map((i) => range(150).map((j) => +((i + j) % 9 < 2)))));
  const up = plot.parallel([{ up: true, x: 1 }, { up: false, x: 2 }]);
  assert(textsOf(up).includes("true") && marksOf(up, "path", /opacity/)[0]!.d!.includes("L"));
});

test("plot: a decision boundary is where the classes change", () => {
  const half = (x: Tensor) => x.slice(1, 0, 1).gt(0.5).to("int32").reshape([x.shape[0]!]);
  for (const regions of [half, (x: Tensor) => half(x).to("float32").unsqueeze(1)]) {
    const picture = plot.scatter([[0, 0], [1, 1]], { regions });
    const areas = marksOf(picture, "path", /fill-opacity/);
    assertEquals(areas.map((one) => [one.class, one["fill-opacity"]]), [["s0", "0.36"], [
      "s1",
      "0.36",
    ]]);
    const edges = (d: string) => new Set(d.match(/H[\d.]+/g));
    assertEquals([...edges(areas[0]!.d!)].filter((x) => edges(areas[1]!.d!).has(x)).length, 1);
  }
});

test("plot: pictures as PNG, with captions, boxes, and as a file", async () => {
  using images = tensor([[[0, 1], [2, 3]], [[1, 1], [0, 9]], [[NaN, 0], [0, 0]]]);
  const captions = ["<1>", "2", "3"];
  const grid = await plot.grid(images, { columns: 2, normalize: true, captions });
  const shown = marksOf(grid, "image", /data:image\/png;base64,/);
  assertEquals([shown.length, textsOf(grid)], [3, ["&#60;1&#62;", "2", "3"]]);
  using first = io.decodePng(Uint8Array.fromBase64(shown[0]!.href!.split(",")[1]!));
  assertEquals([...first.dataSync()], [0, 85, 170, 255]);
  await inFolder(async (folder) => {
    await grid.save(`${folder}/grid.png`);
    using pixels = io.decodePng(await Deno.readFile(`${folder}/grid.png`));
    assertEquals(pixels.shape, [4, 6, 6]); // two of 2 and a gap of 2, clear
    assertEquals([...pixels.dataSync().slice(0, 6)], [0, 85, 0, 0, 28, 28]);
    assertEquals([...pixels.dataSync().slice(108, 114)], [255, 255, 0, 0, 255, 255]);
    await grid.save(`${folder}/grid.svg`);
    assertEquals(await Deno.readTextFile(`${folder}/grid.svg`), `${grid}`);
    assertEquals([...Deno.readDirSync(folder)].length, 2);
    await assertRejects(() => plot.line([1]).save(`${folder}/a.png`), ArgumentError, "SVG alone");
  });
  using photo = tensor(new Uint8Array(3 * 8 * 8), { shape: [3, 8, 8] });
  const found = [[1, 1, 4, 4], [2, 2, 6, 6], [NaN, 0, 1, 1]];
  const boxes = await plot.boxes(photo, found, { labels: ["a", "b", "a"], scores: [1, 0.5, 0] });
  assertEquals(marksOf(boxes, "rect", /stroke/).length, 2);
  assertEquals(textsOf(boxes), ["a 1.00", "b 0.50"]);
  assertEquals(marksOf(await plot.grid([]), "image", /./).length, 0);
  const beyond = [[-9, -9, 4, 4], [0, 0, 4, 99], [20, 20, 30, 30]]; // two that begin at one corner
  const within = await plot.boxes(photo, beyond, { labels: ["a", "b", "c"], width: 180 });
  const heights = marksOf(within, "rect", /stroke/).map(({ height }) => height);
  assertEquals(heights, ["80", "160"]);
  const places = marksOf(within, "text", /"x"/).map(({ text, y }) => `${text} ${y}`);
  assertEquals(places, ["a 13", "b 30"]);
  using thread = zeros([300, 3]);
  using strip = zeros([3, 2000]);
  const [tall] = marksOf(await plot.image(thread), "image", /./);
  const [flat] = marksOf(await plot.image(strip), "image", /./);
  assert(+tall!.height! <= 1280 && +tall!.x! > 140 && +flat!.height! === 3, "bounds");
  const named = plot.image(photo, { title: "a < b" }); // a promise shows itself too
  elementsOf(await named);
  const want = { "image/svg+xml": `${await named}`, "text/plain": "Plot: a < b" };
  assertEquals(await shownOf(named), want);
  assertEquals(shownOf(await named), want);
  const missing = plot.image(photo, { width: 1 });
  await assertRejects(async () => await shownOf(missing), ArgumentError, "width");
  await assertRejects(() => missing, ArgumentError, "width");
  assertEquals(Deno.inspect(photo), `${photo}`);
  const trial = { trial: 0, params: { x: 1 }, value: 2, status: "done", seconds: 1 } as const;
  const search = new SweepResult([{ ...trial, reports: [] }], "min");
  assertEquals(shownOf(search)["text/plain"], Deno.inspect(search));
  assert(shownOf(search)["image/svg+xml"]!.startsWith("<svg"));
});

test("plot: what is wrong is said", async () => {
  assertThrows(() => plot.line({ a: { x: [1], y: [1, 2] } }), ArgumentError, "a has 1 x and 2 y");
  assertThrows(() => plot.line([1], { titel: "a" } as never), ArgumentError, "did you mean title");
  assertThrows(() => plot.line([1], { theme: "blue" as never }), ArgumentError, "theme");
  assertThrows(() => plot.line("12" as never), ArgumentError);
  assertThrows(() => plot.scatter([[1, 2, 3]]), ArgumentError, "points");
  assertThrows(() => plot.scatter([[1, 2]], { labels: [-1] }), ArgumentError, "label 0 is -1");
  assertThrows(() => plot.scatter([[1, 2]], { regions: (x) => x.sum() }), ArgumentError, "regions");
  assertThrows(() => plot.confusion([[1, 2]]), ArgumentError, "matrix");
  assertThrows(() => plot.parallel([{ a: 1 }], { color: "b" }), ArgumentError, "there are a");
  using flat = tensor([1, 2]);
  await assertRejects(() => plot.image(flat), ShapeError, "[2]");
  await assertRejects(() => plot.grid([flat]), ShapeError, "[2]");
});
