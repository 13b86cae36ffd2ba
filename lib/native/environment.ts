/**
 * An environment variable, or undefined where it is not set or may not be read. Never prompts: a
 * program that was given `--allow-ffi` alone must run.
 */
export function environment(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") {
    return undefined;
  }
  return Deno.env.get(name) || undefined;
}

let debug: boolean | undefined;

/** Whether CUDENO_DEBUG is 1, as it was when first asked. */
export function debugging(): boolean {
  return debug ??= environment("CUDENO_DEBUG") === "1";
}

/** The path of a file: URL, as the system writes it. */
export function filePath(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return Deno.build.os === "windows" ? path.slice(1) : path;
}
