/**
 * An environment variable, or undefined where it is not set or may not be read. Never prompts: a program that was given
 * `--allow-ffi` alone must run.
 */
export function environment(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") {
    return undefined;
  }
  return Deno.env.get(name) || undefined;
}
