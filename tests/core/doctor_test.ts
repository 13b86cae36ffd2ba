// doctor() where all is well, and where libraries, permissions or results are wrong.
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { devices, doctor, type DoctorFinding, DoctorReport, manualSeed, rand } from "../../mod.ts";
import { fit } from "../../lib/doctor/_system.ts";
import { backendFor } from "../../lib/core/backend.ts";
import { cleanTest as test, deno, inFolder, modUrl, program, refuse, root } from "../_helpers.ts";

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
    const tested = of("self-test"), measured = of("speed");
    assertGreater(tested.length, 12);
    assertEquals(tested.filter(({ status }) => status !== "ok"), []);
    assertGreater(measured.length, 7);
    for (const { name, measured: figures } of measured) {
      assert(figures && figures.value > 0 && Number.isFinite(figures.value), name);
    }
    assertStringIncludes(`${report}`, `speed, ${device}\n`);
  }
  const json: Json = JSON.parse(JSON.stringify(report));
  assertEquals(Object.keys(json), ["ok", "milliseconds", "findings"]);
  assertEquals(json.findings, [...report.findings]);
  assertGreater(json.milliseconds, 0);
});

for (
  const [name, standIn] of [
    ["cdn_softmax", () => 0], // leaves the output as it is
    ["cdn_take", () => 2],
    ["cdn_adam_step", () => 0],
  ] as const
) {
  test(`doctor: ${name} that does not do its work is a fault`, async () => {
    const functions = backendFor("cpu").functions as unknown as Record<string, unknown>;
    const original = functions[name];
    let report: DoctorReport;
    try {
      functions[name] = standIn;
      report = await doctor({ quick: true });
    } finally {
      functions[name] = original;
    }
    const wrong = report.findings.filter((f) => f.device === "cpu" && f.status === "fault");
    const part = { cdn_softmax: "softmax", cdn_take: "gather", cdn_adam_step: "training learns" };
    assertEquals(wrong.map((f) => f.name), [part[name]]);
    assert(!report.ok && wrong[0]!.advice !== "");
    assertEquals(report.findings.filter(({ part }) => part === "speed"), []);
  });
}

test("doctor: an option that there is not", async () => {
  let thrown: unknown;
  await doctor({ fast: true } as object).catch((error) => thrown = error);
  refuse(
    () => {
      throw thrown;
    },
    "argument",
    "fast",
    "quick",
  );
});

/** doctor({ quick: true }) in a process of its own. */
async function elsewhere(options: object, flags = ["--allow-ffi"], env = {}): Promise<Json> {
  const { code, out, err } = await program(
    `import { doctor } from ${JSON.stringify(modUrl)};
    const report = await doctor(${JSON.stringify({ quick: true, ...options })});
    if (!report.toString().includes("fault")) throw new Error("no text");
    console.log(JSON.stringify(report));`,
    { flags: ["--no-prompt", ...flags], env },
  );
  assertEquals(code, 0, err);
  return JSON.parse(out);
}

test("doctor: a library that is missing, none at all, or a folder", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/text.so`, "This is no library.\n");
    for (const library of [`${folder}/missing.so`, `${folder}/text.so`, folder]) {
      const { ok, findings } = await elsewhere({ library });
      const { status, value, advice } = findings.find(({ name }) => name === "cpu")!;
      assertEquals([ok, status], [false, "fault"]);
      assertStringIncludes(value, library);
      assertStringIncludes(advice, "make cpu");
      assert(!findings.some(({ device }) => device === "cpu"));
      const flags = ["--allow-ffi", "--allow-env=CUDENO_LIBRARY"];
      const named = await elsewhere({}, flags, { CUDENO_LIBRARY: library });
      assertStringIncludes(named.findings.find(({ name }) => name === "cpu")!.value, library);
    }
  }));

test("doctor: a library of another ABI version", () =>
  inFolder(async (folder) => {
    const library = `${folder}/old.so`;
    await Deno.writeTextFile(`${library}.c`, "int cdn_abi_version(void) { return 4711; }\n");
    const compiler = new Deno.Command("g++", {
      args: ["-shared", "-fPIC", "-x", "c", "-o", library, `${library}.c`],
    });
    assert((await compiler.output()).success);
    const { ok, findings } = await elsewhere({ library });
    assert(!ok);
    assertStringIncludes(findings.find(({ name }) => name === "cpu")!.value, "4711");
  }));

test("doctor: without --allow-ffi it says so, asks nobody and opens nothing", async () => {
  for (const flags of [[], ["--allow-read", "--allow-env"], [`--allow-ffi=${root.pathname}`]]) {
    const { ok, findings } = await elsewhere({}, flags);
    const { status, advice } = findings.find(({ name }) => name === "permissions")!;
    assertEquals([ok, status], [false, "fault"]);
    assertStringIncludes(advice, "--allow-ffi");
    assert(findings.every(({ part }) => part === "system"));
  }
});

test("doctor: deno task doctor prints a report and ends with 1 where there is a fault", async () => {
  const args = ["task", "--quiet", "doctor", "--quick", "--json"];
  const { code, out, err } = await deno(args, { cwd: root });
  const { ok, findings }: Json = JSON.parse(out);
  assertEquals(code, ok ? 0 : 1, err);
  assert(findings.some(({ name, device }) => name === "device" && device === "cpu"));
});

test("doctor: which builds fit which GPUs", () => {
  const wanted = [
    ["9.0", "80 90a ptx80", "ok", "90a"],
    ["9.0", "80 90 ptx80", "warning", "90"],
    ["9.0", "80 ptx80", "warning", "ptx80"],
    ["8.6", "80 90a ptx80", "ok", "80"],
    ["10.0", "90a", "fault", "none"],
    ["10.0", "80 90a ptx80", "warning", "ptx80"],
    ["7.5", "80 90a ptx80", "fault", "none"],
    ["12.0", "120a", "ok", "120a"],
  ] as const;
  for (const [capability, list, status, by] of wanted) {
    const { status: got, value, advice } = fit("cuda:0", capability, `cuda, architectures ${list}`);
    assertEquals([capability, list, got], [capability, list, status]);
    assertStringIncludes(value, `by ${by} of`);
    assertEquals(advice === "", status === "ok");
  }
});

test("doctor: the text has a mark, a bar and the advice", () => {
  const of = (value: number, status: "ok" | "warning", advice: string) => ({
    ...{ part: "speed", device: "cuda:0", name: "copy", status, advice } as const,
    value: `${value} GB/s`,
    measured: { value, unit: "GB/s", expected: 100 },
  });
  const report = new DoctorReport([of(100, "ok", ""), of(25, "warning", "look")], 1500);
  const full = "█".repeat(24), quarter = "█".repeat(6) + "░".repeat(18);
  assertEquals(
    `${report}`,
    `speed, cuda:0
  ok       copy  ${full} 100 GB/s
  warning  copy  ${quarter} 25 GB/s
                 -> look

no faults, 1 warning (1.5 s)`,
  );
  assert(report.ok);
});

for (const { device } of found) {
  test(`cdn_probe_latency: ${device}`, () => {
    const { functions, library, index } = backendFor(device);
    const limits = new Float64Array(3);
    assertEquals(functions.cdn_device_limits(limits, index), 0);
    assertEquals([...limits].every((limit) => device === "cpu" ? limit === 0 : limit > 0), true);
    using y = rand([], { device, dtype: "float64" });
    for (const [lines, steps, shared] of [[1n, 1n, 0], [64n, 100n, 1], [2n ** 12n, 5000n, 0]]) {
      const most = [lines, steps, shared] as [bigint, bigint, number];
      assertEquals(functions.cdn_probe_latency(y.handle, ...most), 0, library.lastError());
      assert(y.itemSync() >= 0);
    }
    for (const [lines, steps, what] of [[3n, 1n, "lines"], [2n ** 23n, 1n, "lines"]] as const) {
      assert(functions.cdn_probe_latency(y.handle, lines, steps, 0) !== 0);
      assertStringIncludes(library.lastError(), what);
    }
    assert(functions.cdn_probe_latency(y.handle, 4n, 0n, 0) !== 0);
    assertStringIncludes(library.lastError(), "steps");
  });
}
