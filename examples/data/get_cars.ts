/**
 * Downloads the cars of StatLib (1970 to 1982) to data/cars/: npm's package `vega-datasets` has
 * them as JSON, of which this makes a table of comma-separated values.
 *
 *     deno run -A examples/data/get_cars.ts
 */
import { folderOf, main, npm } from "./get_files.ts";

const files = [{
  name: "cars.csv",
  bytes: 22_576,
  sha256: "91e1a4b2a045d02e5851a2ebf8238b2627866b5c65d04dbe7d051ae561648501",
}];

await using vega = npm("vega-datasets@3.2.1", async (folder, { name }) => {
  const json = await Deno.readTextFile(`${folder}/data/${name.replace(".csv", ".json")}`);
  const rows = JSON.parse(json) as Record<string, string | number | null>[];
  const table = [Object.keys(rows[0]!), ...rows.map((row) => Object.values(row))];
  return new TextEncoder().encode(table.map((row) => `${row.join()}\n`).join("")); // null is empty
});
await main("The table of cars", files, folderOf("cars"), [vega]);
