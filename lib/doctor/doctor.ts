import { backendFor, type DeviceInfo } from "../core/backend.ts";
import { checkOptions } from "../core/options.ts";
import { DeviceError } from "../native/errors.ts";
import { kindOf, openLibrary } from "../native/library.ts";
import { abiVersion } from "../native/symbols.ts";
import { type DoctorFinding, DoctorReport, finding, textOf } from "./report.ts";
import { testDevice } from "./_self_test.ts";
import { measureDevice } from "./_speed.ts";
import { describeDevice, lookAtSystem, mayCall, seesGpu } from "./_system.ts";

/** Options of {@linkcode doctor}. */
export interface DoctorOptions {
  /** Without measurements. Default false. */
  quick?: boolean | undefined;
  /** A native library's file, instead of the one found by itself. */
  library?: string | undefined;
}

/**
 * Says what is there, what is wrong, and what to do about each fault: permissions, native
 * libraries, drivers and devices; each device's results held against float64; and, unless `quick`,
 * what it gives in bandwidth, products and latencies against its own clocks and widths. A fault is
 * reported, never thrown. Needs `--allow-ffi`; with `--allow-read` and `--allow-run` it also looks
 * for a driver and compilers. `deno task doctor` prints the report.
 *
 * @throws {ArgumentError} for an unknown option.
 *
 * ```ts
 * import { doctor } from "@cudeno/cudeno";
 * const report = await doctor({ quick: true });
 * for (const { name, value, advice } of report.findings) {
 *   if (advice) console.log(`${name}: ${value}: ${advice}`);
 * }
 * ```
 */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  checkOptions("doctor", options, ["quick", "library"]);
  const start = performance.now();
  const found = await lookAtSystem();
  const infos: DeviceInfo[] = [];
  if (mayCall()) { // or Deno would ask
    for (const kind of ["cuda", "cpu"] as const) {
      const named = options.library && kindOf(options.library) === kind
        ? options.library
        : undefined;
      found.push(...open(kind, named, infos));
    }
  }
  type See = (info: DeviceInfo) => DoctorFinding[] | Promise<DoctorFinding[]>;
  const look = async (part: DoctorFinding["part"], see: See) => {
    for (const info of infos) {
      try {
        found.push(...await see(info));
      } catch (error) {
        const advice = "report it, with this text";
        found.push(finding(part, info.device, "unexpected", textOf(error), advice, "fault"));
      }
    }
  };
  await look("system", describeDevice);
  await look("self-test", testDevice);
  if (!options.quick) await look("speed", measureDevice);
  return new DoctorReport(found, performance.now() - start);
}

// Opens a library and adds its devices to `infos`; says what it is, or why there is none.
function open(kind: "cuda" | "cpu", path: string | undefined, infos: DeviceInfo[]) {
  const found: DoctorFinding[] = [];
  try {
    const library = openLibrary(kind, path);
    const value = `${library.path}\n${library.buildInfo()}, ABI ${abiVersion}`;
    found.push(finding("library", null, kind, value));
  } catch (error) {
    const value = textOf(error).replace(/\nBuild it with[^]*/, "");
    const needless = kind === "cuda" && !path && /No such file/.test(value) && !seesGpu();
    const advice = needless ? "" : `build it with make ${kind}, or name another by ` +
      "CUDENO_LIBRARY (with --allow-env) or doctor({ library })";
    return [finding("library", null, kind, value, advice, needless ? "ok" : "fault")];
  }
  const before = infos.length;
  try {
    infos.push(backendFor(kind).info());
    for (let i = 1; kind === "cuda"; i++) infos.push(backendFor(`cuda:${i}`).info());
  } catch (error) {
    if (infos.length > before && error instanceof DeviceError) return found; // that was the last
    const advice = kind === "cpu" ? "build it for this processor" : "does nvidia-smi list a GPU? " +
      "A container needs --gpus all, CUDA_VISIBLE_DEVICES must not hide it, and a driver that is " +
      "too old must be replaced. Until then the CPU does the work";
    const lost = kind === "cpu" || seesGpu();
    found.push(finding("system", null, kind, textOf(error), advice, lost ? "fault" : "warning"));
  }
  return found;
}
