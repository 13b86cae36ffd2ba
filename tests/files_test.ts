// Files: what is read must be what it says, and what is written must be whole.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { replaceFile, withFile } from "../lib/io/files.ts";
import { ArgumentError, DataError, devices, io, zeros } from "../mod.ts";
import { modUrl, program } from "./fixtures/helpers.ts";

devices(); // opens the library before the sanitizers look

function test(name: string, fn: (folder: string) => Promise<void>) {
  Deno.test(`files: ${name}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await fn(folder);
    } finally {
      await Deno.chmod(folder, 0o700);
      await Deno.remove(folder, { recursive: true });
    }
  });
}

const bytes = (text: string) => new TextEncoder().encode(text);
const names = (folder: string) => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
const modeOf = (path: string) => Deno.statSync(path).mode! & 0o7777;

test("a file appears, and is replaced with its mode, beside whatever else is there", async (folder) => {
  const path = `${folder}/w`;
  await Deno.writeTextFile(`${path}.part`, "the user's own");
  await replaceFile(path, bytes("first"));
  assertEquals(await Deno.readTextFile(path), "first");
  assertEquals(modeOf(path), 0o666 & ~Deno.umask());
  for (const mode of [0o600, 0o640, 0o755, 0o444]) {
    await Deno.chmod(path, mode);
    await replaceFile(new URL(`file://${path}`), bytes(`mode ${mode}`));
    assertEquals(modeOf(path), mode);
    assertEquals(await Deno.readTextFile(path), `mode ${mode}`);
  }
  await replaceFile(path, new Uint8Array());
  assertEquals(await Deno.readTextFile(path), "");
  assertEquals(await Deno.readTextFile(`${path}.part`), "the user's own");
  assertEquals(names(folder), ["w", "w.part"]);
});

test("links stay links, relative, absolute and to what is not there yet", async (folder) => {
  await Deno.mkdir(`${folder}/real`);
  await Deno.symlink("real/w", `${folder}/relative`);
  await Deno.symlink(`${folder}/relative`, `${folder}/absolute`);
  await Deno.symlink("real", `${folder}/way`);
  for (const path of ["relative", "absolute", "way/w", "way/../relative"]) {
    await replaceFile(`${folder}/${path}`, bytes(path));
    assertEquals(await Deno.readTextFile(`${folder}/real/w`), path);
  }
  assert((await Deno.lstat(`${folder}/relative`)).isSymlink);
  assert((await Deno.lstat(`${folder}/absolute`)).isSymlink);
  assertEquals(names(`${folder}/real`), ["w"]);
  await Deno.symlink("round", `${folder}/round`);
  const write = () => replaceFile(`${folder}/round`, bytes("x"));
  assertStringIncludes((await assertRejects(write, DataError)).message, "circle");
});

test("a name as long as names can be", async (folder) => {
  const path = `${folder}/${"n".repeat(255)}`;
  await replaceFile(path, bytes("long"));
  assertEquals(await Deno.readTextFile(path), "long");
});

test("saves to one path at a time leave one of them whole", async (folder) => {
  const path = `${folder}/w`;
  const contents = Array.from({ length: 8 }, (_, i) => new Uint8Array(300_000 + i).fill(i));
  await Promise.all(contents.map((content) => replaceFile(path, content)));
  const found = await Deno.readFile(path);
  assertEquals(found, contents[found[0]!]!);
  assertEquals(names(folder), ["w"]);
});

// With --allow-write of the file alone: in place, and by several at a time.
test("the file alone may be written", async (folder) => {
  const [path, longer] = [`${folder}/w`, `${folder}/longer`];
  await Deno.writeFile(longer, new Uint8Array(2_000_000).fill(77), { mode: 0o640 });
  const source = `
    import { DataError, io } from "${modUrl}";
    import { replaceFile } from "${new URL("../lib/io/files.ts", import.meta.url)}";
    for (const path of ${JSON.stringify([path, longer])}) {
      await Promise.all([1, 2, 3].map((i) => replaceFile(path, new Uint8Array(1e6 + i).fill(i))));
    }
    const error = await replaceFile("${folder}/other", new Uint8Array(1)).catch((error) => error);
    console.log(error instanceof DataError, error.cause.name);
  `;
  for (const read of [[], [`--allow-read=${path},${longer}`], [`--allow-read=${folder}`]]) {
    const flags = ["--no-prompt", `--allow-write=${path},${longer}`, ...read];
    const { out, err } = await program(source, { flags });
    assertEquals([out, err], ["true NotCapable\n", ""]);
    for (const file of [path, longer]) {
      const found = await Deno.readFile(file);
      assertEquals(found, new Uint8Array(1e6 + found[0]!).fill(found[0]!));
    }
    assertEquals(modeOf(longer), 0o640);
    assertEquals(names(folder), ["longer", "w"]);
  }
});

test("every call that fails leaves the old file, nothing else, and a DataError", async (folder) => {
  const path = `${folder}/w`;
  const old = bytes("old");
  const calls: [object, string][] = [
    ...["lstat", "stat", "open", "chmod", "rename"].map((name): [object, string] => [Deno, name]),
    ...["write", "sync"].map((name): [object, string] => [Deno.FsFile.prototype, name]),
  ];
  for (const [holder, name] of calls) {
    for (const gives of ["an error", "an error later", "nothing"]) {
      await Deno.writeFile(path, old);
      const methods = holder as Record<string, (...args: unknown[]) => unknown>;
      const before = Object.getOwnPropertyDescriptor(holder, name)!;
      const original = methods[name]!;
      let count = 0;
      const failing = function (this: unknown, ...args: unknown[]) {
        count++;
        if (gives === "nothing" && name === "write") return Promise.resolve(0);
        if (gives === "an error later" && name === "write" && count === 1) {
          return original.call(this, (args[0] as Uint8Array).subarray(0, 1));
        }
        return Promise.reject(new Deno.errors.Interrupted(`${name} failed`));
      };
      Object.defineProperty(holder, name, { ...before, value: failing });
      try {
        const error = await assertRejects(() => replaceFile(path, bytes("new")), DataError);
        assertStringIncludes(error.message, `${path} cannot be written`, name);
      } finally {
        Object.defineProperty(holder, name, before);
      }
      assert(count > 0, `${name} is called`);
      assertEquals(await Deno.readFile(path), old, name);
      assertEquals(names(folder), ["w"], name);
    }
  }
});

test("what is no regular file is neither read nor replaced", async (folder) => {
  await new Deno.Command("mkfifo", { args: [`${folder}/pipe`] }).output();
  await Deno.symlink("/dev/zero", `${folder}/zero`);
  const cases = [
    [folder, "a folder"],
    [`${folder}/pipe`, "a pipe"],
    ["/dev/zero", "a device"],
    [`${folder}/zero`, "a device"],
  ] as const;
  using x = zeros([1]);
  for (const [path, what] of cases) {
    for (const call of [() => io.loadSafetensors(path), () => io.saveSafetensors(path, { x })]) {
      assertStringIncludes((await assertRejects(call, DataError)).message, `is ${what}`);
    }
  }
  assertEquals(names(folder), ["pipe", "zero"]);
});

test("paths that lead nowhere are DataErrors, what is no path an ArgumentError", async (folder) => {
  await Deno.writeTextFile(`${folder}/file`, "");
  const none = [
    "",
    `${folder}/none/w`,
    `${folder}/file/w`,
    `${folder}/\0`,
    `${folder}/${"n".repeat(256)}`,
  ];
  for (const path of none) {
    await assertRejects(() => replaceFile(path, bytes("x")), DataError);
    await assertRejects(() => withFile(path, () => Promise.resolve()), DataError);
  }
  for (const path of [undefined, 5, new URL("http://localhost/w"), {}]) {
    await assertRejects(() => replaceFile(path as string, bytes("x")), ArgumentError);
    await assertRejects(() => withFile(path as string, () => Promise.resolve()), ArgumentError);
  }
  assertEquals(names(folder), ["file"]);
});

test("a file that becomes shorter while it is read", async (folder) => {
  const path = `${folder}/w`;
  await Deno.writeFile(path, new Uint8Array(100));
  const read = () =>
    withFile(path, async ({ size, read }) => {
      await Deno.truncate(path, 50);
      return await read(0, size);
    });
  assertStringIncludes((await assertRejects(read, DataError)).message, "became shorter");
});
