// Parameters by patterns of their names.
import { formatValue } from "../core/describe.ts";
import { checkFunction, checkList, refuse } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Which names are meant: a text, in which `*` stands for any letters and `?` for one, and which
 * names parameters or modules with all that is in them; a regular expression that finds something
 * in them; or a function.
 */
export type NamePattern = string | RegExp | ((name: string) => boolean);

/** A pattern, and options of an optimizer for what it means: an entry of `parameterGroups()`. */
export type GroupPattern<O> = O & {
  /** The parameters of the group, but for those of the groups before it. */
  match: NamePattern;
};

/** Whether a name is meant. */
export function matcherOf(op: string, pattern: NamePattern): (name: string) => boolean {
  if (typeof pattern === "function") {
    checkFunction(op, "the pattern", pattern);
    return (name) => Boolean(pattern(name));
  }
  if (pattern instanceof RegExp) return (name) => name.search(pattern) >= 0;
  if (typeof pattern !== "string") {
    refuse(op, "the pattern", pattern, "a text, a regular expression or a function of names");
  }
  const letters = pattern.replace(/[^*?]/g, (c) => c.replace(/[\\^$.|+()[\]{}]/, "\\$&"));
  const whole = new RegExp(
    `^${letters.replaceAll("*", "[^]*").replaceAll("?", "[^]")}(\\.[^]*)?$`,
    "u",
  );
  return (name) => whole.test(name);
}

/** Throws where a pattern means none of these. */
export function checkFound(op: string, pattern: unknown, found: number, names: string[]): void {
  if (found > 0) return;
  const some = names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "");
  throw new ArgumentError(
    `${op}: ${formatValue(pattern)} matches no parameter; there are ${some || "none"}`,
  );
}

/** Groups of parameters: the first pattern that means one has it, and the last group the rest. */
export function groupsOf<O extends object>(
  parameters: Iterable<[name: string, parameter: Tensor]>,
  groups: readonly GroupPattern<O>[],
): (Omit<GroupPattern<O>, "match"> & { params: Tensor[] })[] {
  const op = "parameterGroups";
  const given = (group: unknown) => typeof group === "object" && group !== null && "match" in group;
  checkList(op, "groups", groups, given, "groups such as { match: /bias/, weightDecay: 0 }");
  let left = [...parameters];
  const made = groups.map(({ match, ...options }) => {
    const matches = matcherOf(op, match as NamePattern);
    const found = left.filter(([name]) => matches(name));
    checkFound(op, match, found.length, left.map(([name]) => name));
    left = left.filter((entry) => !found.includes(entry));
    return { ...options, params: found.map(([, x]) => x) };
  });
  const rest = { params: left.map(([, x]) => x) } as typeof made[number];
  return left.length > 0 ? [...made, rest] : made;
}

/** Parameters that freeze() has taken from training. */
export const frozen: WeakSet<Tensor> = new WeakSet();
