import type { DeviceInfo, DeviceName } from "../core/backend.ts";
import { memory } from "../core/memory.ts";
import { type DoctorFinding, finding } from "./_report.ts";

const granted = (descriptor: Deno.PermissionDescriptor) =>
  Deno.permissions.querySync(descriptor).state === "granted";

/** Whether native code may be called. */
export const mayCall = (): boolean => granted({ name: "ffi" });

/** Whether there is such a file; undefined where Deno may not look. */
function isThere(path: string): boolean | undefined {
  if (!granted({ name: "read", path })) return undefined;
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Whether a driver shows a GPU to this process; undefined where Deno may not look. */
export function seesGpu(): boolean | undefined {
  const signs = ["/dev/nvidiactl", "/dev/dxg"].map(isThere);
  return signs.includes(true) || (signs.includes(undefined) ? undefined : false);
}

/** What a program prints; null where it may not be run, is not there, or fails. */
async function printed(command: string, ...args: string[]): Promise<string | null> {
  if (!granted({ name: "run", command })) return null;
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stdin: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

/** Deno, the machine, permissions and compilers. */
export async function lookAtSystem(): Promise<DoctorFinding[]> {
  const part = "system";
  const { os, arch } = Deno.build;
  const supported = os === "linux" && arch === "x86_64";
  const container = ["/.dockerenv", "/run/.containerenv"].map(isThere).includes(true);
  const others = (["read", "env", "net", "run"] as const).filter((name) => granted({ name }));
  const found = [
    finding({ part, name: "Deno", value: `${Deno.version.deno}, V8 ${Deno.version.v8}` }),
    finding({
      part,
      name: "machine",
      value: `${os} ${arch}, ${navigator.hardwareConcurrency} processors` +
        (container ? ", in a container" : ""),
      ...(!supported && { status: "warning", advice: "only Linux on x86-64 is tried" }),
    }),
    finding({
      part,
      name: "permissions",
      value: `native code ${mayCall() ? "granted" : "denied"}; all of: ${others.join(" ") || "-"}`,
      ...(!mayCall() && {
        status: "fault",
        advice: "run with --allow-ffi (all of it, not --allow-ffi=FILE): nothing works without",
      }),
    }),
  ];
  for (const command of ["g++", "nvcc"]) {
    const text = await printed(command, "--version");
    const line = text?.split("\n").find((line) => /\d\.\d/.test(line));
    if (line) found.push(finding({ part, name: command, value: line }));
  }
  return [...found, ...await askDriver()];
}

const fields = ["driver_version", "mig.mode.current", "pcie.link.width.current"];
fields.push("pcie.link.width.max", "power.limit", "power.default_limit", "utilization.gpu");

// What only the driver's own program says; "[N/A]" is no number, and then nothing is wrong.
async function askDriver(): Promise<DoctorFinding[]> {
  const text = await printed(
    "nvidia-smi",
    `--query-gpu=${fields.join()}`,
    "--format=csv,noheader,nounits",
  );
  return (text ?? "").split("\n").filter(Boolean).map((line, i) => {
    const [driver, mig, ...rest] = line.split(",").map((field) => field.trim());
    const [width, most, limit, usual, busy] = rest.map(Number) as [number, ...number[]];
    const wrong = [
      width < most! ? `PCIe has ${width} of ${most} lanes: another slot or riser may have all` : "",
      limit! < 0.95 * usual! ? "power is capped: nvidia-smi -pl, as root, sets it" : "",
      busy! > 20 ? "it is busy: other programs use it, nvidia-smi lists them" : "",
    ].filter(Boolean).join("; ");
    return finding({
      part: "system",
      name: `driver, GPU ${i}`,
      value: `${driver}; MIG ${mig}; ${width} lanes; ${limit} W of ${usual} W; ${busy}% busy`,
      ...(wrong && { status: "warning", advice: wrong }),
    });
  });
}

const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** A device as its library describes it. */
export function describeDevice(info: DeviceInfo): DoctorFinding[] {
  const { device, name, totalMemory: total, freeMemory: free, computeCapability, driver } = info;
  const about = { part: "system", device } as const;
  const gpu = computeCapability !== "";
  const { limit, reserved } = memory(device);
  const capped = limit < 0.85 * total;
  const tight = free + reserved < 0.1 * total || limit < 2 ** 30;
  const details = gpu
    ? `${info.processors} multiprocessors, compute capability ${computeCapability}, ` +
      `driver for CUDA ${driver}`
    : `${info.processors} threads`;
  return [
    finding({ ...about, name: "device", value: `${name}, ${details}` }),
    finding({
      ...about,
      name: "memory",
      value:
        `${gigabytes(free)} free of ${gigabytes(total)}; tensors may take ${gigabytes(limit)}` +
        (capped ? ", by init(), a container, a cgroup or ulimit -v" : ""),
      ...(tight && {
        status: "warning",
        advice: "little is left: end other programs, or raise the container's limit",
      }),
    }),
    ...(gpu ? [fit(device, computeCapability, info.build)] : []),
  ];
}

/** Whether the architectures of a build, such as `80 90a ptx80`, have code for a GPU. */
export function fit(device: DeviceName, capability: string, build: string): DoctorFinding {
  const wanted = Number(capability.replace(".", ""));
  const list = /architectures (.*)/.exec(build)?.[1]?.split(" ") ?? [];
  const number = (text: string) => parseInt(text.replace("ptx", ""));
  const own = list.find((a) => a === `${wanted}a`) ??
    list.findLast((a) =>
      /^\d+$/.test(a) && Math.floor(number(a) / 10) === Math.floor(wanted / 10) &&
      number(a) <= wanted
    );
  const text = list.find((a) => a.startsWith("ptx") && number(a) <= wanted);
  const hopper = wanted === 90 && own !== "90a" && "the fastest kernels are left out";
  const wrong = !own && !text ? "no code for this GPU" : !own && "compiled when it is first loaded";
  const reason = wrong || hopper;
  return finding({
    part: "library",
    device,
    name: "fits the GPU",
    value: `${capability} by ${own ?? text ?? "none"} of ${list.join(" ") || "unknown"}` +
      (reason ? `: ${reason}` : ""),
    ...(reason && list.length > 0 && {
      status: own || text ? "warning" : "fault",
      advice: `make cuda CUDA_ARCHS=${wanted}${wanted >= 90 ? "a" : ""}`,
    }),
  });
}
