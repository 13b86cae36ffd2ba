// `deno task doctor`: prints the report, as JSON by --json, without measurements by --quick.
import { doctor } from "./mod.ts";

const report = await doctor({ quick: Deno.args.includes("--quick") });
console.log(Deno.args.includes("--json") ? JSON.stringify(report, null, 2) : `${report}`);
if (!report.ok) Deno.exitCode = 1;
