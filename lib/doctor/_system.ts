import type { DeviceInfo } from "../core/backend.ts";
import { memory } from "../core/memory.ts";
import { type DoctorFinding, finding } from "./report.ts";

const granted = (descriptor: Deno.PermissionDescriptor) =>
  Deno.permissions.querySync(descriptor).state === "granted";

/** Whether native code may be called. */
export const mayCall = (): boolean => granted({ name: "ffi" });

// Whether there is one of these files, of those that Deno may look for.
const isThere = (...paths: string[]) =>
  paths.some((path) => {
    try {
      return granted({ name: "read", path }) && Deno.statSync(path) !== null;
    } catch {
      return false;
    }
  });

/** Whether a driver shows a GPU to this process, as far as Deno may look. */
export const seesGpu = (): boolean => isThere("/dev/nvidiactl", "/dev/dxg");

const WAIT_S = 10;

// What a program prints; nothing where it may not be run, is not there, or fails, and undefined
// where it does not answer.
async function printed(command: string, ...args: string[]): Promise<string | undefined> {
  if (!granted({ name: "run", command })) return "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const options = { args, stdin: "null", stdout: "piped", stderr: "null" } as const;
    const child = new Deno.Command(command, options).spawn();
    child.unref();
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), WAIT_S * 1000);
    });
    const ended = await Promise.race([child.output(), late]);
    if (!ended) child.kill();
    return ended && (ended.success ? new TextDecoder().decode(ended.stdout).trim() : "");
  } catch {
    return "";
  } finally {
    clearTimeout(timer);
  }
}

/** Deno, the machine, permissions, compilers, and what only the driver's own program says. */
export async function lookAtSystem(): Promise<DoctorFinding[]> {
  const found: DoctorFinding[] = [];
  const add = (name: string, value: string, advice = "", status?: "fault") =>
    found.push(finding("system", null, name, value, advice, status));
  const { os, arch } = Deno.build;
  const container = isThere("/.dockerenv", "/run/.containerenv") ? ", in a container" : "";
  add("Deno", Deno.version.deno);
  add("machine", `${os} ${arch}, ${navigator.hardwareConcurrency} processors${container}`);
  const ask = async (command: string, ...args: string[]) => {
    const text = await printed(command, ...args);
    const advice = "a driver that hangs does so, too: look at dmesg, and restart the machine";
    if (text === undefined) add(command, `no answer within ${WAIT_S} s`, advice);
    return text ?? "";
  };
  const ffi = "run with --allow-ffi (all of it, not --allow-ffi=FILE): nothing works without";
  if (mayCall()) add("native code", "permitted");
  else add("native code", "not permitted", ffi, "fault");
  for (const command of ["g++", "nvcc"]) {
    const line = (await ask(command, "--version")).split("\n").find((l) => /\d\.\d/.test(l));
    if (line) add(command, line);
  }
  const query = "--query-gpu=driver_version,mig.mode.current,pcie.link.width.current," +
    "pcie.link.width.max,power.limit,power.default_limit,utilization.gpu";
  const text = await ask("nvidia-smi", query, "--format=csv,noheader,nounits");
  for (const line of text.split("\n").filter(Boolean)) {
    const fields = line.split(",").map((field) => field.trim());
    if (fields.length !== 7) continue;
    // "[N/A]" is no number, and then nothing is wrong.
    const [, , width, lanes, limit, usual, busy] = fields.map(Number) as [number, ...number[]];
    const wrong = [
      width! < lanes! && "not all PCIe lanes are in use: try another slot",
      limit! < 0.95 * usual! && "its power is capped: nvidia-smi -pl, as root, sets it",
      busy! > 20 && "other programs use it: nvidia-smi lists them",
    ].filter(Boolean).join("; ");
    const value =
      `driver ${fields[0]}, MIG ${fields[1]}, ${fields[2]} of ${fields[3]} PCIe lanes, ` +
      `${fields[4]} of ${fields[5]} W, ${fields[6]}% busy`;
    add("nvidia-smi", value, wrong);
  }
  return found;
}

const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** A device as its library describes it. */
export function describeDevice(info: DeviceInfo): DoctorFinding[] {
  const { device, totalMemory: total, freeMemory: free, computeCapability: capability } = info;
  const { limit, reserved } = memory(device);
  const tight = free + reserved < 0.1 * total || limit < 2 ** 30;
  const what = capability
    ? `multiprocessors, compute capability ${capability}, driver for CUDA ${info.driver}`
    : "threads";
  const room = `${gigabytes(free)} free of ${gigabytes(total)}, tensors may take ` +
    gigabytes(limit) + (limit < 0.85 * total ? ", by init(), a container, a cgroup or ulimit" : "");
  const advice = tight ? "end other programs, or raise the container's limit" : "";
  return [
    finding("system", device, "device", `${info.name}, ${info.processors} ${what}`),
    finding("system", device, "memory", room, advice),
    ...(capability ? [fit(info)] : []),
  ];
}

/** Whether the architectures of a build, such as `80 90a ptx80`, have code for a GPU. */
export function fit(
  { device, computeCapability, build }: Pick<DeviceInfo, "device" | "computeCapability" | "build">,
): DoctorFinding {
  const wanted = Number(computeCapability.replace(".", ""));
  const list = /architectures (.*)/.exec(build)?.[1]?.split(" ") ?? [];
  const runs = (a: string) =>
    /^\d+$/.test(a) && Math.floor(wanted / 10) === Math.floor(Number(a) / 10) &&
    Number(a) <= wanted;
  const own = list.find((a) => a === `${wanted}a`) ?? list.findLast(runs);
  const by = own ?? list.find((a) => a.startsWith("ptx") && Number(a.slice(3)) <= wanted);
  const slow = !own || (wanted === 90 && own !== "90a"); // compiled at first use, or not the best
  const value = `${computeCapability} by ${by ?? "none"} of ${list.join(" ")}`;
  const advice = slow
    ? `make cuda CUDA_ARCHS=${wanted}${wanted < 90 ? "" : "a"} suits it best`
    : "";
  return finding("library", device, "fits the GPU", value, advice, by ? undefined : "fault");
}
