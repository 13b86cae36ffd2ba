// `deno task doctor`: prints the report, as JSON by --json, without measurements by --quick.
import { doctor } from "./mod.ts";

const unknown = Deno.args.find((arg) => !["--quick", "--json"].includes(arg));
if (unknown !== undefined) {
  console.error(`doctor: there is no option ${unknown}. The options are --quick and --json`);
  Deno.exit(2);
}
const report = await doctor({ quick: Deno.args.includes("--quick") });
console.log(Deno.args.includes("--json") ? JSON.stringify(report, null, 2) : `${report}`);
Deno.exit(report.ok ? 0 : 1); // a command that never answers would keep it alive
