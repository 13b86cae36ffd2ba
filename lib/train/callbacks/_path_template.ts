// Paths with figures in them: "runs/{epoch:03d}-{valLoss:.4f}.safetensors".
import { ArgumentError } from "../../native/errors.ts";

const places = /\{([^{}:]+)(?::([^{}]*))?\}/g;
const format = /^(0?)(\d{0,2})(?:\.(\d{1,2}))?([dfe]?)$/;

/** Throws for a format that is not known. */
export function checkTemplate(op: string, template: string): void {
  for (const [place, , wanted = ""] of template.matchAll(places)) {
    if (format.test(wanted)) continue;
    throw new ArgumentError(
      `${op}: the path has ${place}; formats are as in {epoch:03d}, {valLoss:.4f} and {lr:.1e}`,
    );
  }
}

/** Whether a text has places for figures. */
export const isTemplate = (text: string): boolean => text.search(places) >= 0;

/** The path with the figures that `figure` gives in their places. */
export function filledIn(template: string, figure: (name: string) => number): string {
  return template.replace(places, (_, name: string, wanted = "") => {
    const [, zero, width, digits, kind] = format.exec(wanted)!;
    const value = figure(name);
    let text = String(value);
    if (kind === "d") text = String(Math.round(value));
    else if (kind === "e") text = value.toExponential(digits ? Number(digits) : undefined);
    else if (kind === "f" || digits) text = value.toFixed(Number(digits ?? 6));
    return text.padStart(Number(width), zero ? "0" : " ");
  });
}
