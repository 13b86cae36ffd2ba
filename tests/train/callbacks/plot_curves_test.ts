// PlotCurves, and History.toSVG().
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ArgumentError, type Callback, callbacks, DataError, History } from "../../../mod.ts";
import { cleanTest as test, inFolder, refuse } from "../../_helpers.ts";
import { playFit } from "./_fit.ts";

const legend = (svg: string) =>
  Array.from(svg.matchAll(/<text[^>]*>([a-zA-Z]\w*)</g), ([, text]) => text!);
const points = (svg: string, style: string) =>
  svg.match(RegExp(`class="l ${style}" d="([^"]*)"`))?.[1]?.split(/[ML]/).length ?? 0;

test("History: a frame for each figure, with the steps behind the loss", async () => {
  const { history } = await playFit([], [
    { loss: 3, accuracy: 0.2, valLoss: 2, metrics: { f1: 0.1, table: [[1]] }, lrs: [1, 2] },
    { loss: NaN, accuracy: 0.3, metrics: { f1: 0.5 }, lrs: [1, 2] },
    { loss: 1, accuracy: 0.4, valLoss: 1, metrics: { f1: 0.6 }, lrs: [0.5, 1] },
  ], { steps: 20 });
  const svg = `${history.toSVG({ title: "Run", yScale: "log" })}`;
  const names = ["Run", "loss", "valLoss", "accuracy", "lr", "lr0", "lr1", "f1", "epoch"];
  assertEquals(legend(svg), names);
  assertEquals(points(svg, "s0 f"), 61);
  assertEquals(points(svg, "s1"), 3); // valLoss, of the two epochs that have it
  assert(!/NaN|Infinity/.test(svg.replace(/<style.*<\/style>/, "")), svg);
  const shown = (history as unknown as Record<symbol, () => Record<string, string>>)[
    Symbol.for("Jupyter.display")
  ]!();
  assertEquals(shown["image/svg+xml"], `${history.toSVG()}`);
  assertEquals(shown["text/plain"], "History of 3 epochs, 60 steps");
  assertEquals(legend(`${new History().toSVG()}`), ["loss", "step"]);
});

test("PlotCurves: draws after each epoch, and within one where that is asked for", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a/curves.svg`, seen: number[] = [];
    const watch: Callback = {
      onProgress: async () => void seen.push(points(await Deno.readTextFile(path), "s0 f")),
      onEpochEnd: async () => void seen.push(points(await Deno.readTextFile(path), "s0 f")),
    };
    const often = new callbacks.PlotCurves({ path, everySeconds: 0, title: "often" });
    const { history } = await playFit([often, watch], [{}, {}], { steps: 5 });
    assertEquals(seen, [6, 6, 11, 11]);
    const svg = await Deno.readTextFile(path);
    assertEquals(svg, `${history.toSVG({ title: "often" })}`);
    assertEquals([...Deno.readDirSync(`${folder}/a`)].map(({ name }) => name), ["curves.svg"]);

    await playFit([new callbacks.PlotCurves({ path }), watch], [{}, {}], { steps: 5 });
    assertEquals(seen.slice(4), [11, 6, 6, 11]); // of the other run at first
    const bad = new callbacks.PlotCurves({ path: `${path}/b.svg` });
    await assertRejects(() => playFit(bad, [{}]), DataError, "curves.svg");
    refuse(() => new callbacks.PlotCurves({ path, yScale: "cubic" as never }), ArgumentError);
    refuse(() => new callbacks.PlotCurves({ path, everySeconds: NaN }), ArgumentError);
    refuse(() => new callbacks.PlotCurves({ path: "x.png" }), ArgumentError, "an .svg file");
  }));
