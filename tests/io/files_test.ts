// Files: what is read must be what it says, and what is written must be whole.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { replaceFile, withFile } from "../../lib/io/_files.ts";
import { ArgumentError, data, DataError, devices, io, memory, zeros } from "../../mod.ts";
import { inFolder, modUrl, program } from "../_helpers.ts";

devices(); // opens the library before the sanitizers look

function test(name: string, fn: (folder: string) => Promise<void>) {
  Deno.test(`files: ${name}`, () => inFolder(fn));
}

const bytes = (text: string) => new TextEncoder().encode(text);
const names = (folder: string) => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
const modeOf = (path: string) => Deno.statSync(path).mode! & 0o7777;

test("a file appears, and is replaced with its mode, beside what else is there", async (folder) => {
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

test("owner and group stay, where they can be given away", async (folder) => {
  const path = `${folder}/w`;
  await Deno.writeTextFile(path, "old");
  const own = Deno.uid() === 0
    ? { uid: 12345, gid: 54321 }
    : { uid: Deno.uid()!, gid: Deno.gid()! };
  await Deno.chown(path, own.uid, own.gid);
  await replaceFile(path, bytes("new"));
  const { uid, gid } = await Deno.stat(path);
  assertEquals({ uid, gid }, own);
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
    import { replaceFile } from "${new URL("../../lib/io/_files.ts", import.meta.url)}";
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

type Method = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Runs `fn` while a method of Deno, or of its files, is another; says how often that was called.
 */
async function replacing(
  name: string,
  by: (original: Method) => Method,
  fn: () => Promise<unknown>,
) {
  const holder = ["lock", "read", "sync", "truncate", "write"].includes(name)
    ? Deno.FsFile.prototype
    : name === "querySync"
    ? Deno.permissions
    : Deno;
  const before = (holder as unknown as Record<string, Method>)[name]!;
  const own = Object.getOwnPropertyDescriptor(holder, name);
  let count = 0;
  const value: Method = function (...args) {
    count++;
    return by(before).apply(this, args);
  };
  Object.defineProperty(holder, name, { value, configurable: true, writable: true });
  try {
    await fn();
  } finally {
    if (own) Object.defineProperty(holder, name, own);
    else Reflect.deleteProperty(holder, name);
  }
  assert(count > 0, `${name} is called`);
}

const failing = (): Method => () => Promise.reject(new Deno.errors.Interrupted("it fails"));

/** Writes nothing, or one byte and then fails. */
const stuck = (): Method => () => Promise.resolve(0);
const later = (original: Method): Method =>
  function (data, ...more) {
    const bytes = data as Uint8Array;
    if (bytes.length === 2) return failing().call(this);
    return original.call(this, bytes.subarray(0, 1), ...more);
  };

test("every call that fails leaves the old file, nothing else, and a DataError", async (folder) => {
  const path = `${folder}/w`;
  await Deno.writeTextFile(path, "old");
  const faults: [string, (original: Method) => Method][] = [
    ...["lstat", "stat", "open", "chmod", "write", "sync", "rename"]
      .map((name): [string, () => Method] => [name, failing]),
    ["write", stuck],
    ["write", later],
  ];
  for (const [name, fault] of faults) {
    await replacing(name, fault, async () => {
      const error = await assertRejects(() => replaceFile(path, bytes("new")), DataError);
      assertStringIncludes(error.message, `${path} cannot be written`, name);
    });
    assertEquals(await Deno.readTextFile(path), "old", name);
    assertEquals(names(folder), ["w"], name);
  }
});

test("in place: a new file that fails is taken away, an old one may be mixed", async (folder) => {
  const path = `${folder}/w`;
  const inPlace = (original: Method): Method =>
    function (asked) {
      const { path } = asked as { path: string };
      return path.includes(".cudeno-") ? { state: "prompt" } : original.call(this, asked);
    };
  for (const name of ["open", "write", "truncate", "sync"]) {
    await replacing("querySync", inPlace, () =>
      replacing(name, failing, async () => {
        await assertRejects(() => replaceFile(path, bytes("new")), DataError, "cannot be written");
      }));
    assertEquals(names(folder), [], name);
  }
  await Deno.writeTextFile(path, "older and longer");
  await replacing(
    "querySync",
    inPlace,
    () => replacing("lock", failing, () => replaceFile(path, bytes("new"))),
  );
  assertEquals(await Deno.readTextFile(path), "new");
  await replacing(
    "querySync",
    inPlace,
    () =>
      replacing(
        "write",
        failing,
        () => assertRejects(() => replaceFile(path, bytes("x")), DataError),
      ),
  );
  assertEquals(names(folder), ["w"]);
});

test("every call that fails while reading is a DataError", async (folder) => {
  using x = zeros([1000]);
  await io.saveSafetensors(`${folder}/w`, { x, y: x });
  const before = memory().tensors;
  for (const name of ["stat", "open", "read"]) {
    for (let good = 0; good < 3; good++) {
      let count = 0;
      const fault = (original: Method): Method =>
        name === "read" && count++ < good ? original : failing();
      await replacing(name, fault, async () => {
        await assertRejects(() => io.loadSafetensors(`${folder}/w`), DataError, "cannot be read");
      });
      assertEquals(memory().tensors, before);
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

test("what is no safetensors file is told so, and not read to its end", async (folder) => {
  const path = `${folder}/w`;
  const files: Record<string, [string | Uint8Array, string]> = {
    csv: ["name,age\nAda,36\n", "this is no safetensors file"],
    json: ['{"a": 1, "b": 2}', "this is no safetensors file"],
    html: ["<!DOCTYPE html><html></html>", "this is no safetensors file"],
    png: [
      Uint8Array.of(0x89, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13),
      "this is no safetensors file",
    ],
    zip: ["PK\x03\x04\0\0\0\0", "PyTorch's .pt"],
    pickle: [Uint8Array.of(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9), "no safetensors file"],
    empty: ["", "found 0 bytes, expected at least 8"],
    zeros: [new Uint8Array(100), "found nothing at the header's start"],
  };
  for (const [kind, [content, message]] of Object.entries(files)) {
    const whole = typeof content === "string" ? bytes(content) : content;
    await Deno.writeFile(path, whole);
    assertThrows(() => io.fromSafetensors(whole), DataError, message, kind);
    await assertRejects(() => io.loadSafetensors(path), DataError, message, kind);
    // The same beginning of a terabyte.
    await Deno.truncate(path, 2 ** 40);
    if (whole.length > 0) {
      await assertRejects(() => io.loadSafetensors(path), DataError, undefined, kind);
    }
  }
  await Deno.writeFile(path, await io.toSafetensors({}));
  await Deno.truncate(path, 2 ** 40);
  await assertRejects(() => io.loadSafetensors(path), DataError, "bytes of data, expected the 0");
});

test("what stands in the place of MNIST's files is looked at first", async (folder) => {
  const path = `${folder}/train-images-idx3-ubyte`;
  const header = Uint8Array.of(0, 0, 8, 3, ...[0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]);
  const terabyte = async (name: string, start: Uint8Array) => {
    await Deno.writeFile(name, start);
    await Deno.truncate(name, 2 ** 40);
  };
  const cases: [(name: string) => unknown, string][] = [
    [(name) => new Deno.Command("mkfifo", { args: [name] }).output(), "is a pipe"],
    [(name) => Deno.symlink("/dev/zero", name), "is a device"],
    [(name) => Deno.mkdir(name), "is a folder"],
    [(name) => terabyte(name, header), "(trailing bytes), expected 1584"],
    [(name) => terabyte(name, Uint8Array.of(0x1f, 0x8b)), "at most"],
    [(name) => terabyte(name, bytes("a,b,c")), "expected 00 00"],
  ];
  for (const [make, message] of cases) {
    for (const name of [path, `${path}.gz`]) {
      await make(name);
      await assertRejects(() => data.mnist({ dir: folder, verify: false }), DataError, message);
      await Deno.remove(name);
    }
  }
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
