import type { DeviceName } from "../core/backend.ts";

/** What a finding comes to; a fault keeps something from working, or makes it wrong. */
export type DoctorStatus = "ok" | "warning" | "fault";

/** One thing that {@linkcode doctor} looked at. */
export interface DoctorFinding {
  /** Where it belongs. */
  readonly part: "system" | "library" | "self-test" | "speed";
  /** The device that it is about, if it is about one. */
  readonly device: DeviceName | null;
  /** What was looked at: `"GPU"`, `"matmul float32"`, `"copy"`. */
  readonly name: string;
  /** What it comes to. */
  readonly status: DoctorStatus;
  /** What was found, as a text. */
  readonly value: string;
  /** What to do about it; empty where nothing is wrong. */
  readonly advice: string;
  /** A measurement; null for all else. */
  readonly measured: {
    /** What was measured, in `unit`. */
    readonly value: number;
    /** `"GB/s"`, `"TFLOP/s"`, `"µs"` or `"ns"`. */
    readonly unit: string;
    /** What the device should give at most by its own clocks and widths; null where nobody says. */
    readonly expected: number | null;
  } | null;
}

const BAR = 24;

/** What {@linkcode doctor} found. `${report}` is a text to read. */
export class DoctorReport {
  /** All that was looked at, in order. */
  readonly findings: readonly DoctorFinding[];
  /** How long it took. */
  readonly milliseconds: number;

  constructor(findings: readonly DoctorFinding[], milliseconds: number) {
    this.findings = findings;
    this.milliseconds = milliseconds;
  }

  /** Whether there is no fault; warnings may be. */
  get ok(): boolean {
    return this.count("fault") === 0;
  }

  /** How many findings have this status. */
  count(status: DoctorStatus): number {
    return this.findings.filter((finding) => finding.status === status).length;
  }

  /** A line for each finding, with a mark, a bar for what was measured, and what to do. */
  toString(): string {
    const width = Math.max(...this.findings.map(({ name }) => name.length));
    const lines: string[] = [];
    let title = "";
    for (const finding of this.findings) {
      const { part, device, name, status, value, advice } = finding;
      const heading = device ? `${part}, ${device}` : part;
      if (heading !== title) lines.push(...(title ? [""] : []), title = heading);
      const bar = finding.measured ? `${this.#bar(finding)} ` : "";
      const [first, ...rest] = value.split("\n");
      lines.push(`  ${status.padEnd(7)}  ${name.padEnd(width)}  ${bar}${first}`);
      const indent = " ".repeat(width + 13);
      for (const line of [...rest, ...(advice ? [`-> ${advice}`] : [])]) lines.push(indent + line);
    }
    const counts = (["fault", "warning"] as const).map((status) => {
      const count = this.count(status);
      return `${count || "no"} ${status}${count === 1 ? "" : "s"}`;
    });
    lines.push("", `${counts.join(", ")} (${(this.milliseconds / 1000).toFixed(1)} s)`);
    return lines.join("\n");
  }

  /** All of it as plain values. */
  toJSON(): { ok: boolean; milliseconds: number; findings: readonly DoctorFinding[] } {
    return { ok: this.ok, milliseconds: this.milliseconds, findings: this.findings };
  }

  // Its share of what is expected, or of the most of its unit on the device.
  #bar({ device, measured }: DoctorFinding): string {
    const others = this.findings.filter((other) =>
      other.device === device && other.measured?.unit === measured!.unit
    );
    const whole = measured!.expected ?? Math.max(...others.map((other) => other.measured!.value));
    const full = Math.max(1, Math.min(BAR, Math.round(BAR * measured!.value / whole)));
    return "█".repeat(full) + "░".repeat(BAR - full);
  }
}

/** A finding from what differs. */
export function finding(
  given: Pick<DoctorFinding, "part" | "name" | "value"> & Partial<DoctorFinding>,
): DoctorFinding {
  return { device: null, status: "ok", advice: "", measured: null, ...given };
}

/** The text of whatever was thrown. */
export const textOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
