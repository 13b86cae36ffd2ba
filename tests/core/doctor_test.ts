// doctor() where all is well, and where libraries, permissions or results are wrong.
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { devices, doctor, type DoctorFinding, DoctorReport, manualSeed, rand } from "../../mod.ts";
import { fit } from "../../lib/doctor/_system.ts";
import { finding } from "../../lib/doctor/report.ts";
import { backendFor } from "../../lib/core/backend.ts";
import { cleanTest as test, deno, inFolder, modUrl, program, root } from "../_helpers.ts";

const found = devices();
type Json = { ok: boolean; milliseconds: number; findings: DoctorFinding[] };

test("doctor: every device computes rightly and is measured", async () => {
  manualSeed(3);
  const wanted = rand([4]).dataSync();
  manualSeed(3);
  const report = await doctor();
  assertEquals(rand([4]).dataSync(), wanted, "the program's random numbers were taken");
  for (const { device } of found) {
    const of = (part: string) =>
      report.findings.filter((f) => f.device === device && f.part === part);
    assertGreater(of("self-test").length, 12);
    assertEquals(of("self-test").filter(({ status }) => status !== "ok"), []);
    assertGreater(of("speed").length, 7);
    for (const { name, measured } of of("speed")) {
      assert(measured && measured.value > 0 && Number.isFinite(measured.value), name);
    }
  }
  const json: Json = JSON.parse(JSON.stringify(report));
  assertEquals(Object.keys(json), ["ok", "milliseconds", "findings"]);
  assertEquals(json.findings, [...report.findings]);
});

const broken = { cdn_softmax: "softmax", cdn_take: "gather", cdn_adam_step: "training learns" };
for (const [name, what] of Object.entries(broken)) {
  test(`doctor: ${name} that does not do its work is a fault`, async () => {
    const functions = backendFor("cpu").functions as unknown as Record<string, unknown>;
    const original = functions[name];
    functions[name] = () => name === "cdn_take" ? 2 : 0; // fails, or leaves the output as it is
    const report = await doctor({ quick: true }).finally(() => functions[name] = original);
    const wrong = report.findings.filter((f) => f.device === "cpu" && f.status === "fault");
    assertEquals(wrong.map((f) => f.name), [what]);
    assert(!report.ok && wrong[0]!.advice !== "");
  });
}

/** What doctor({ quick: true }) finds in a process of its own, where there is a fault. */
async function elsewhere(options: object, ...flags: string[]): Promise<DoctorFinding[]> {
  const { code, out, err } = await program(
    `import { doctor } from ${JSON.stringify(modUrl)};
    const report = await doctor(${JSON.stringify({ quick: true, ...options })});
    console.log(JSON.stringify([report.ok, report.toString().includes("  fault  "), report]));`,
    { flags: ["--no-prompt", ...flags] },
  );
  assertEquals(code, 0, err);
  const [ok, told, { findings }] = JSON.parse(out);
  assertEquals([ok, told], [false, true]);
  return findings;
}

test("doctor: a library that is missing, none at all, a folder, or of another version", () =>
  inFolder(async (folder) => {
    const [missing, text, old] = ["missing", "text", "old"].map((name) => `${folder}/${name}.so`);
    await Deno.writeTextFile(text!, "This is no library.\n");
    await Deno.writeTextFile(`${old}.c`, "int cdn_abi_version(void) { return 4711; }\n");
    const args = ["-shared", "-fPIC", "-x", "c", "-o", old!, `${old}.c`];
    assert((await new Deno.Command("g++", { args }).output()).success);
    for (const library of [missing!, text!, folder, old!]) {
      const findings = await elsewhere({ library }, "--allow-ffi");
      const { status, value, advice } = findings.find(({ name }) => name === "cpu")!;
      assertEquals(status, "fault");
      assertStringIncludes(value, library === old ? "4711" : library);
      assertStringIncludes(advice, "make cpu");
      assert(!findings.some(({ device }) => device === "cpu"));
    }
  }));

test("doctor: a library that was cut off is a fault, and does not end the process", () =>
  inFolder(async (folder) => {
    const whole = await Deno.readFile(new URL("cuda/build/libcudeno_cpu.so", root));
    const library = `${folder}/half.so`;
    await Deno.writeFile(library, whole.subarray(0, whole.length / 2));
    const findings = await elsewhere({ library }, "--allow-ffi", `--allow-read=${folder}`);
    assertStringIncludes(findings.find(({ name }) => name === "cpu")!.value, "the file is cut off");
  }));

test("doctor: without --allow-ffi it says so, asks nobody and opens nothing", async () => {
  for (const flag of ["--allow-read", `--allow-ffi=${root.pathname}`]) {
    const findings = await elsewhere({}, flag);
    const { status, advice } = findings.find(({ name }) => name === "native code")!;
    assertEquals(status, "fault");
    assertStringIncludes(advice, "--allow-ffi");
    assert(findings.every(({ part }) => part === "system"));
  }
});

test("doctor: deno task doctor prints a report, and ends with 1 for a fault", async () => {
  const task = ["task", "--quiet", "doctor", "--quick", "--json"];
  const { code, out, err } = await deno(task, { cwd: root });
  assertEquals(code, JSON.parse(out).ok ? 0 : 1, err);
});

test("doctor: which builds fit which GPUs", () => {
  const wanted = [
    ["9.0", "80 90a ptx80", "ok", "90a"],
    ["9.0", "80 90 ptx80", "warning", "90"],
    ["9.0", "80 ptx80", "warning", "ptx80"],
    ["8.6", "80 90a ptx80", "ok", "80"],
    ["10.0", "90a", "fault", "none"],
    ["7.5", "80 90a ptx80", "fault", "none"],
    ["12.0", "120a", "ok", "120a"],
  ] as const;
  for (const [computeCapability, list, status, by] of wanted) {
    const build = `cuda, nvcc 13.0, architectures ${list}`;
    const { status: got, value } = fit({ device: "cuda:0", computeCapability, build });
    assertEquals([value, got], [`${computeCapability} by ${by} of ${list}`, status]);
  }
});

test("doctor: the text has a mark, a bar and the advice", () => {
  const copy = (value: number, advice: string) => {
    const measured = { value, unit: "GB/s", expected: 100 };
    return finding("speed", "cuda:0", "copy", `${value} GB/s`, advice, undefined, measured);
  };
  const lines = `${new DoctorReport([copy(100, ""), copy(25, "look")], 1500)}`.split("\n");
  assertEquals(lines, [
    "speed, cuda:0",
    `  ok       copy  ${"█".repeat(24)} 100 GB/s`,
    `  warning  copy  ${"█".repeat(6) + "░".repeat(18)} 25 GB/s`,
    "                 -> look",
    "",
    "faults: 0, warnings: 1 (1.5 s)",
  ]);
});

for (const { device } of found) {
  test(`cdn_probe_latency: ${device}, what it refuses`, () => {
    const { functions, library } = backendFor(device);
    using y = rand([], { device, dtype: "float64" });
    assertEquals(functions.cdn_probe_latency(y.handle, 1n, 1n, 1), 0, library.lastError());
    for (const [lines, steps] of [[3n, 1n], [2n ** 23n, 1n], [0n, 1n], [4n, 0n]] as const) {
      assert(functions.cdn_probe_latency(y.handle, lines, steps, 0) !== 0);
      assertStringIncludes(library.lastError(), `lines is ${lines}, a power of two to`);
    }
  });
}
