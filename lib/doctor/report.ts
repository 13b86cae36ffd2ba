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
  /** What was found. */
  readonly value: string;
  /** What to do about it; empty where nothing is wrong. */
  readonly advice: string;
  /** What it comes to. */
  readonly status: DoctorStatus;
  /** The figure of a measurement, its unit, and the most that the device should give, if known. */
  readonly measured: { value: number; unit: string; expected: number | null } | null;
}

/** A finding; one with advice is a warning, unless it says more. */
export const finding = (
  part: DoctorFinding["part"],
  device: DeviceName | null,
  name: string,
  value: string,
  advice = "",
  status: DoctorStatus = advice ? "warning" : "ok",
  measured: DoctorFinding["measured"] = null,
): DoctorFinding => ({ part, device, name, value, advice, status, measured });

/** The text of whatever was thrown. */
export const textOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

const BAR = 24;

/**
 * What {@linkcode doctor} found.
 *
 * ```ts
 * import { doctor } from "@cudeno/cudeno";
 * console.log(`${await doctor({ quick: true })}`); // a text to read
 * ```
 */
export class DoctorReport {
  /** All that was looked at, in order. */
  readonly findings: readonly DoctorFinding[];
  /** How long it took. */
  readonly milliseconds: number;

  constructor(findings: readonly DoctorFinding[], milliseconds: number) {
    this.findings = findings;
    this.milliseconds = milliseconds;
  }

  // What console.log and notebooks show.
  static {
    const value = this.prototype.toString;
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), { value });
  }

  /** Whether there is no fault; warnings may be. */
  get ok(): boolean {
    return this.findings.every(({ status }) => status !== "fault");
  }

  /** A line for each finding, with a mark, a bar for what was measured, and what to do. */
  toString(): string {
    const width = Math.max(...this.findings.map(({ name }) => name.length));
    const lines: string[] = [];
    let title = "";
    for (const { part, device, name, status, value, advice, measured } of this.findings) {
      const heading = device ? `${part}, ${device}` : part;
      if (heading !== title) lines.push("", title = heading);
      let bar = "";
      if (measured) { // its share of what is expected, or of the most of its unit on the device
        const others = this.findings.filter((other) =>
          other.device === device && other.measured?.unit === measured.unit
        );
        const most = measured.expected ?? Math.max(...others.map((o) => o.measured!.value));
        const full = Math.max(1, Math.min(BAR, Math.round(BAR * measured.value / most)));
        bar = "█".repeat(full) + "░".repeat(BAR - full) + " ";
      }
      const text = advice ? `${value}\n-> ${advice}` : value;
      const indented = text.replaceAll("\n", "\n" + " ".repeat(width + 13));
      lines.push(`  ${status.padEnd(7)}  ${name.padEnd(width)}  ${bar}${indented}`);
    }
    const count = (wanted: DoctorStatus) =>
      this.findings.filter(({ status }) => status === wanted).length;
    const time = (this.milliseconds / 1000).toFixed(1);
    lines.push("", `faults: ${count("fault")}, warnings: ${count("warning")} (${time} s)`);
    return lines.join("\n").trimStart();
  }

  /** All of it as plain values. */
  toJSON(): { ok: boolean; milliseconds: number; findings: readonly DoctorFinding[] } {
    return { ok: this.ok, milliseconds: this.milliseconds, findings: this.findings };
  }
}
