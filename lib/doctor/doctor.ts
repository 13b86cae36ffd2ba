import { backendFor, type DeviceInfo, type DeviceName } from "../core/backend.ts";
import { checkOptions } from "../core/options.ts";
import { DeviceError } from "../native/errors.ts";
import { candidates, kindOf, type LibraryKind, openLibrary } from "../native/library.ts";
import { abiVersion } from "../native/symbols.ts";
import { type DoctorFinding, DoctorReport, finding, textOf } from "./_report.ts";
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
 * Says what is there, what is wrong, and what to do about each fault: Deno and its permissions, the
 * native libraries, drivers and devices; a test of each device's results against float64; and,
 * unless `quick`, what each device gives in bandwidth, products and latencies, held against its own
 * clocks and widths. A fault is reported, never thrown. It takes some seconds, and needs
 * `--allow-ffi`; with `--allow-read` and `--allow-run` it also looks for a driver and compilers.
 * `deno task doctor` prints the report.
 *
 * @throws {ArgumentError} for an unknown option.
 *
 * ```ts
 * import { doctor } from "@cudeno/cudeno";
 * const report = await doctor({ quick: true });
 * console.log(report.ok);
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
      const { library } = options;
      const path = library !== undefined && kindOf(library) === kind ? library : undefined;
      const looked = lookAtLibrary(kind, path);
      found.push(looked.finding);
      if (looked.opened) found.push(...findDevices(kind, infos));
    }
  }
  const look = async (part: DoctorFinding["part"], see: () => unknown) => {
    try {
      found.push(...await see() as DoctorFinding[]);
    } catch (error) {
      found.push(finding({
        part,
        name: "unexpected",
        status: "fault",
        value: textOf(error),
        advice: "report it, with this text",
      }));
    }
  };
  for (const info of infos) await look("system", () => describeDevice(info));
  for (const { device } of infos) await look("self-test", () => testDevice(device));
  if (!options.quick) { for (const info of infos) await look("speed", () => measureDevice(info)); }
  return new DoctorReport(found, performance.now() - start);
}

function lookAtLibrary(kind: LibraryKind, path?: string) {
  const about = { part: "library", name: kind } as const;
  try {
    const library = openLibrary(kind, path);
    const value = `${library.path}\n${library.buildInfo()}, ABI ${abiVersion}`;
    return { opened: true, finding: finding({ ...about, value }) };
  } catch (error) {
    const value = textOf(error).replace(/\nBuild it with[^]*/, "");
    const [place] = path === undefined ? candidates(kind) : [path];
    const missing = path === undefined && /No such file|cannot find/i.test(value);
    const needless = kind === "cuda" && missing && seesGpu() !== true;
    const named = ` or name another by CUDENO_LIBRARY (with --allow-env) or doctor({ library })`;
    return {
      opened: false,
      finding: finding({
        ...about,
        ...(needless
          ? { value: `not built: there is no ${place}, which only a GPU needs` }
          : { status: "fault", value, advice: `build it with make ${kind},${named}` }),
      }),
    };
  }
}

// Adds a library's devices to `infos`, and says why there is none.
function findDevices(kind: LibraryKind, infos: DeviceInfo[]): DoctorFinding[] {
  for (let i = 0;; i++) {
    const device: DeviceName = kind === "cpu" ? "cpu" : `cuda:${i}`;
    try {
      infos.push(backendFor(device).info());
      if (kind === "cpu") return [];
    } catch (error) {
      if (i > 0 && error instanceof DeviceError) return []; // that was the last
      const gpu = kind === "cuda";
      return [finding({
        part: "system",
        name: gpu ? "GPU" : "CPU",
        status: gpu && seesGpu() !== true ? "warning" : "fault",
        value: textOf(error),
        advice: gpu
          ? "what runs will run on the CPU. Does nvidia-smi list a GPU? In a container, start it " +
            "with --gpus all; CUDA_VISIBLE_DEVICES must not hide it; a driver that is too old " +
            "must be replaced"
          : "",
      })];
    }
  }
}
