// The native library as lib/native sees it: how it is found and opened, and what the functions that
// manage promise.
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { devices, gatherRows, synchronize, tensor } from "../../mod.ts";
import { CudenoError, LibraryError, NativeError } from "../../lib/native/errors.ts";
import { kindOf, type Library, type LibraryKind, openLibrary } from "../../lib/native/library.ts";
import { abiVersion } from "../../lib/native/symbols.ts";
import { cleanTest, deno, inFolder, modUrl, program, root } from "../_helpers.ts";

// At module level, since a library stays open once it is.
const kinds = new Set(
  devices().map(({ device }): LibraryKind => device === "cpu" ? "cpu" : "cuda"),
);
const libraries = [...kinds].map((kind) => openLibrary(kind));
const gpu = kinds.has("cuda");
const libraryUrl = new URL("lib/native/library.ts", root).href;
const built = openLibrary("cpu").path;

const OK = 0, BAD_ARGUMENT = 1, BAD_HANDLE = 2;
const FLOAT32 = 0;

/**
 * The functions of a library with less to write: handles and values come back, statuses are
 * checked.
 */
function helpers(library: Library) {
  const { functions: f } = library;
  const out = new Uint32Array(1);
  const check = (status: number) => library.check(status);
  return {
    f,
    check,
    alloc(bytes: number): number {
      check(f.cdn_alloc(out, 0, BigInt(bytes)));
      return out[0]!;
    },
    view(x: number, offset: number, bytes: number): number {
      check(f.cdn_view(out, x, BigInt(offset), BigInt(bytes)));
      return out[0]!;
    },
    floats(values: number[]): number {
      const data = new Float32Array(values);
      check(f.cdn_alloc(out, 0, BigInt(data.byteLength)));
      check(f.cdn_write(out[0]!, data, 0n, BigInt(data.byteLength)));
      return out[0]!;
    },
    read(x: number, n: number): number[] {
      const data = new Float32Array(n);
      check(f.cdn_read(data, x, 0n, BigInt(data.byteLength)));
      return [...data];
    },
    /** Whether each of x's n elements is `value`. */
    holds(x: number, n: number, value: number): boolean {
      const data = new Float32Array(n);
      check(f.cdn_read(data, x, 0n, BigInt(data.byteLength)));
      return data.every((element) => element === value);
    },
    fill: (x: number, n: number, value: number) => check(f.cdn_fill(x, BigInt(n), value, FLOAT32)),
    begin(x: number, n: number): number {
      check(f.cdn_read_begin(out, x, 0n, BigInt(4 * n)));
      return out[0]!;
    },
    end(ticket: number, n: number): number[] {
      const data = new Float32Array(n);
      check(f.cdn_read_end(data, ticket, BigInt(4 * n)));
      return [...data];
    },
    stream(): number {
      check(f.cdn_stream_create(out, 0));
      return out[0]!;
    },
    free: (...handles: number[]) => handles.forEach((x) => check(f.cdn_free(x))),
    live(): number {
      const stats = new BigInt64Array(10);
      check(f.cdn_memory_stats(stats, 0));
      return Number(stats[0]);
    },
    /** The text of a call that must fail with this status. */
    fails(status: number, expected: number): string {
      assertEquals(status, expected, library.lastError());
      return library.lastError();
    },
  };
}

type Helpers = ReturnType<typeof helpers>;

/** A test for each library that works here, which must leave no memory behind. */
function each(name: string, fn: (h: Helpers, library: Library) => void | Promise<void>) {
  for (const library of libraries) {
    Deno.test(`${library.kind}: ${name}`, async () => {
      const h = helpers(library);
      const before = h.live();
      await fn(h, library);
      assertEquals(h.live(), before, "the test leaves memory behind");
    });
  }
}

// ---- finding and opening

/** Runs `openLibrary(...)` in a process of its own and returns the error that it throws. */
async function opening(
  args: string,
  options: Parameters<typeof program>[1] = {},
  url = libraryUrl,
) {
  const { code, out, err } = await program(
    `import { openLibrary } from ${JSON.stringify(url)};
    try {
      const library = openLibrary(${args});
      console.log(JSON.stringify({ name: "none", message: library.path, cause: "" }));
    } catch (error) {
      const { name, code, message, cause } = error;
      console.log(JSON.stringify({ name, code, message, cause: cause?.message ?? "" }));
    }`,
    options,
  );
  assertEquals(code, 0, err);
  return JSON.parse(out) as { name: string; code: string; message: string; cause: string };
}

Deno.test("openLibrary: a library that is not there", async () => {
  for (const kind of ["cpu", "cuda"]) {
    const { name, code, message, cause } = await opening(`"${kind}", "/no/such/lib.so"`);
    assertEquals([name, code], ["LibraryError", "library"]);
    assertStringIncludes(message, "/no/such/lib.so");
    assertStringIncludes(message, `make ${kind}`);
    assertStringIncludes(cause, "/no/such/lib.so");
  }
});

Deno.test("openLibrary: the error names the places where it looked", () =>
  inFolder(async (folder) => {
    const native = `${folder}/lib/native`;
    await Deno.mkdir(native, { recursive: true });
    for await (const { name } of Deno.readDir(new URL("lib/native/", root))) {
      await Deno.copyFile(new URL(`lib/native/${name}`, root), `${native}/${name}`);
    }
    const url = `file://${native}/library.ts`;
    const beside = await opening(`"cpu"`, {}, url);
    assertEquals(beside.name, "LibraryError");
    assertStringIncludes(beside.message, `${folder}/cuda/build/libcudeno_cpu.`);
    assertNotEquals(beside.cause, "");
    const named = await opening(`"cuda"`, {
      flags: ["--allow-ffi", "--allow-env=CUDENO_LIBRARY"],
      env: { CUDENO_LIBRARY: "/no/such/cuda.so" },
    }, url);
    assertEquals(named.name, "LibraryError");
    assertStringIncludes(named.message, "/no/such/cuda.so");
  }));

Deno.test("openLibrary: a file that is no library", () =>
  inFolder(async (folder) => {
    const file = `${folder}/text.so`;
    await Deno.writeTextFile(file, "This is no library.\n");
    for (const path of [file, folder]) {
      const { name, message, cause } = await opening(`"cpu", ${JSON.stringify(path)}`);
      assertEquals(name, "LibraryError");
      assertStringIncludes(message, path);
      assertNotEquals(cause, "");
    }
  }));

async function compiler(): Promise<string | undefined> {
  for (const name of ["cc", "gcc", "clang", "g++", "clang++"]) {
    try {
      const { success } = await new Deno.Command(name, { args: ["--version"] }).output();
      if (success) return name;
    } catch { /* not there */ }
  }
  return undefined;
}
const cc = await compiler();

Deno.test({
  name: "openLibrary: a library of another ABI version, and one without a version",
  ignore: cc === undefined || Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const make = async (name: string, source: string) => {
        const path = `${folder}/${name}`;
        await Deno.writeTextFile(`${path}.c`, source);
        const args = ["-shared", "-fPIC", "-x", "c", "-o", path, `${path}.c`];
        const { success, stderr } = await new Deno.Command(cc!, { args }).output();
        assert(success, new TextDecoder().decode(stderr));
        return path;
      };
      const old = await make("old.so", "int cdn_abi_version(void) { return 4711; }\n");
      const { name, message, cause } = await opening(`"cpu", ${JSON.stringify(old)}`);
      assertEquals(name, "LibraryError");
      for (const text of [old, "4711", `${abiVersion}`, "make"]) {
        assertStringIncludes(message, text);
      }
      assertStringIncludes(cause, "4711");

      const other = await make("other.so", "int something(void) { return 1; }\n");
      const without = await opening(`"cpu", ${JSON.stringify(other)}`);
      assertEquals(without.name, "LibraryError");
      assertStringIncludes(without.message, "cdn_abi_version");
    }),
});

Deno.test("openLibrary: the same again, but no other of the same kind", () => {
  const library = openLibrary("cpu");
  assertEquals(openLibrary("cpu", library.path), library);
  const error = assertThrows(() => openLibrary("cpu", "/another.so"), LibraryError);
  assertStringIncludes(error.message, library.path);
  assertStringIncludes(error.message, "/another.so");
});

Deno.test("kindOf: by the file's name alone", () => {
  assertEquals(kindOf("/opt/cuda/libcudeno_cpu.so"), "cpu");
  assertEquals(kindOf("/opt/cpu/libcudeno_cuda.so"), "cuda");
  assertEquals(kindOf("C:\\cuda\\mine.dll"), "cpu");
});

Deno.test("without --allow-ffi there is an error, not a question", async () => {
  for (const flags of [["--no-prompt"], ["--no-prompt", "--allow-read", "--allow-env"]]) {
    const { name, message, cause } = await opening(`"cpu"`, { flags });
    assertEquals(name, "LibraryError");
    assertStringIncludes(message, "--allow-ffi");
    assertStringIncludes(message, built);
    assertNotEquals(cause, "");
  }
});

Deno.test("CUDENO_LIBRARY names the library, where it may be read", () =>
  inFolder(async (folder) => {
    const copy = `${folder}/mine.so`;
    await Deno.copyFile(built, copy);
    const source = `import { init, tensor } from ${JSON.stringify(modUrl)};
      const { device, library } = init();
      console.log(JSON.stringify([device, library, tensor([1, 2]).sum().itemSync()]));`;
    const env = { CUDENO_LIBRARY: copy };
    const allowed = await program(source, {
      flags: ["--allow-ffi", "--allow-env=CUDENO_LIBRARY"],
      env,
    });
    assertEquals(JSON.parse(allowed.out), ["cpu", copy, 3], allowed.err);
    const denied = await program(source.replace("init()", `init({ device: "cpu" })`), { env });
    assertEquals(JSON.parse(denied.out), ["cpu", built, 3], denied.err);
  }));

Deno.test("init({ library }) names the library", () =>
  inFolder(async (folder) => {
    const copy = `${folder}/mine.so`;
    await Deno.copyFile(built, copy);
    const { out, err } = await program(
      `import { init } from ${JSON.stringify(modUrl)};
      console.log(init({ library: ${JSON.stringify(copy)} }).library);`,
    );
    assertEquals(out.trim(), copy, err);
  }));

Deno.test({
  name: "asking for a GPU where there is none never falls back to the CPU",
  ignore: gpu,
  async fn() {
    const { code, out, err } = await program(
      `import { init, ones } from ${JSON.stringify(modUrl)};
      const uses = ["cuda", "cuda:1"].map((device) => () => init({ device }));
      for (const use of [...uses, () => ones([1], { device: "cuda" })]) {
        try {
          use();
          console.log("none");
        } catch (error) {
          console.log(error.name + " " + (error.message.length > 20));
        }
      }
      const { device, note } = init();
      console.log(device, note.length > 20);`,
    );
    assertEquals(code, 0, err);
    assertMatch(out, /^((DeviceError|LibraryError) true\n){3}cpu true\n$/);
  },
});

Deno.test("CUDENO_SYNC=1: a fault is thrown by the operation itself", async () => {
  const source = `import { gatherRows, tensor } from ${JSON.stringify(modUrl)};
    const x = tensor([[1, 2], [3, 4]]);
    let step = "gather";
    try {
      const y = gatherRows(x, tensor([0, 7], { dtype: "int32" }));
      step = "read";
      y.dataSync();
    } catch (error) {
      console.log(step, error.message);
    }
    console.log(x.add(1).dataSync().join());`;
  for (
    const [env, step] of [[{ CUDENO_SYNC: "1" }, "gather"], [{ CUDENO_SYNC: "0" }, "read"]] as const
  ) {
    const { code, out, err } = await program(source, { env });
    assertEquals(code, 0, err);
    assertMatch(out, new RegExp(`^${step} gatherRows: an index is 7; .*0\\.\\.1.*\n2,3,4,5\n$`));
  }
});

// ---- what the functions promise

each("version, build and devices", ({ f, check }, library) => {
  assertEquals(f.cdn_abi_version(), abiVersion);
  assertStringIncludes(library.buildInfo(), library.kind);
  const count = new Int32Array(1), name = new Uint8Array(256), info = new BigInt64Array(8);
  check(f.cdn_device_count(count));
  assertGreater(count[0]!, 0);
  check(f.cdn_device_info(name, info, 0));
  assertGreater(name.indexOf(0), 0);
  assertGreater(info[0]!, 1n << 20n);
  assert(info[1]! <= info[0]!);
  assertGreater(info[4]!, 0n);
  assertEquals(info[7], library.kind === "cuda" ? 1n : 0n);
  assertEquals(library.matmulVariants()[0], "default");
});

each("events: the time between two of them", ({ f, check, fails }) => {
  const out = new Uint32Array(1), elapsed = new Float64Array(1);
  const event = () => {
    check(f.cdn_event_create(out, 0));
    return out[0]!;
  };
  const first = event(), second = event();
  assertNotEquals(first, second);
  check(f.cdn_event_record(first));
  assertStringIncludes(fails(f.cdn_event_elapsed(elapsed, first, second), BAD_ARGUMENT), "second");
  assertStringIncludes(fails(f.cdn_event_elapsed(elapsed, second, first), BAD_ARGUMENT), "first");
  check(f.cdn_event_record(second));
  check(f.cdn_event_elapsed(elapsed, first, second));
  assert(elapsed[0]! >= 0);
  const forth = elapsed[0]!;
  check(f.cdn_event_elapsed(elapsed, second, first));
  assertEquals(elapsed[0]! + forth, 0);
  check(f.cdn_event_elapsed(elapsed, first, first));
  assertEquals(elapsed[0], 0);
  check(f.cdn_event_record(second)); // anew
  check(f.cdn_event_elapsed(elapsed, first, second));
  assertGreater(elapsed[0]!, forth);

  fails(f.cdn_event_elapsed(null, first, second), BAD_ARGUMENT);
  fails(f.cdn_event_create(null, 0), BAD_ARGUMENT);
  fails(f.cdn_event_create(out, 1000), BAD_ARGUMENT);
  check(f.cdn_event_destroy(first));
  for (const stale of [first, 0, 0xffffffff]) {
    fails(f.cdn_event_record(stale), BAD_HANDLE);
    fails(f.cdn_event_elapsed(elapsed, stale, second), BAD_HANDLE);
    fails(f.cdn_event_elapsed(elapsed, second, stale), BAD_HANDLE);
    fails(f.cdn_event_destroy(stale), BAD_HANDLE);
  }
  check(f.cdn_event_destroy(second));
});

each(
  "an error names function, argument, cause and place",
  ({ f, floats, free, fails }, library) => {
    const x = floats([1, 2, 3, 4]);
    const place = / \(\w+\.(cu|cpp|h):\d+\)$/;
    const texts = [
      [fails(f.cdn_neg(x, 0, 1n, FLOAT32), BAD_HANDLE), /^cdn_neg: x: handle .*not live/],
      [fails(f.cdn_neg(0, x, 1n, FLOAT32), BAD_HANDLE), /^cdn_neg: y: handle .*not live/],
      [fails(f.cdn_alloc(null, 0, 1n), BAD_ARGUMENT), /^cdn_alloc: y is null/],
      [fails(f.cdn_alloc(new Uint32Array(1), 0, -1n), BAD_ARGUMENT), /^cdn_alloc: bytes is -1/],
      [
        fails(f.cdn_alloc(new Uint32Array(1), 4711, 1n), BAD_ARGUMENT),
        /^cdn_alloc: device is 4711/,
      ],
      [fails(f.cdn_neg(x, x, -5n, FLOAT32), BAD_ARGUMENT), /^cdn_neg: y: -5 elements/],
      [fails(f.cdn_fill(x, 1n, 0, 17), BAD_ARGUMENT), /^cdn_fill: dtype is 17/],
      [
        fails(f.cdn_sum(x, x, 1n, 2n, 1n, FLOAT32, FLOAT32), BAD_ARGUMENT),
        /^cdn_sum: x overlaps y/,
      ],
      [fails(f.cdn_write(x, null, 0n, 4n), BAD_ARGUMENT), /^cdn_write: host is null/],
    ] as const;
    for (const [text, start] of texts) {
      assertMatch(text, start);
      assertMatch(text, place);
    }
    const error = assertThrows(() => library.check(f.cdn_free(0)), NativeError);
    assertEquals([error.status, error.code], [BAD_HANDLE, "native"]);
    assertMatch(error.message, /^free: x: handle 0/);
    free(x);
  },
);

each("a stale handle stays an error, however often memory is used again", (h) => {
  const { f, alloc, free, fails } = h;
  const x = alloc(1000);
  free(x);
  for (let i = 0; i < 6000; i++) {
    const y = alloc(1000);
    assertNotEquals(y, x);
    if (i % 500 === 0) {
      fails(f.cdn_free(x), BAD_HANDLE);
      fails(f.cdn_read(new Uint8Array(4), x, 0n, 4n), BAD_HANDLE);
      fails(f.cdn_add(y, y, x, BigInt64Array.of(1n, 1n, 1n), 1, 0, FLOAT32), BAD_HANDLE);
    }
    free(y);
  }
});

each("a handle too short for the sizes is an error that changes nothing", (h) => {
  const { f, floats, read, free, fails } = h;
  const x = floats([1, 2, 3, 4]), y = floats([5, 6, 7, 8]), long = floats(Array(8).fill(9));
  const text = fails(f.cdn_neg(y, x, 5n, FLOAT32), BAD_ARGUMENT);
  assertStringIncludes(text, "y: the buffer holds 16 bytes; 20 are needed");
  assertMatch(fails(f.cdn_neg(long, x, 5n, FLOAT32), BAD_ARGUMENT), /^cdn_neg: x: /);
  fails(f.cdn_write(y, new Uint8Array(17), 0n, 17n), BAD_ARGUMENT);
  fails(f.cdn_read(new Uint8Array(16), y, 1n, 16n), BAD_ARGUMENT);
  fails(f.cdn_copy(y, x, 8n, 0n, 12n), BAD_ARGUMENT);
  fails(f.cdn_view(new Uint32Array(1), y, 8n, 9n), BAD_ARGUMENT);
  assertEquals(read(y, 4), [5, 6, 7, 8]);
  assertEquals(read(long, 8), Array(8).fill(9));
  free(x, y, long);
});

each("a view reads and writes its part, and keeps the memory alive", (h) => {
  const { f, floats, alloc, view, read, fill, free, fails, live } = h;
  const before = live();
  const x = floats(Array.from({ length: 1024 }, (_, i) => i));
  const part = view(x, 4 * 100, 4 * 4);
  const inner = view(part, 4, 8);
  fill(inner, 2, -1);
  assertEquals(read(part, 4), [100, -1, -1, 103]);
  const held = live();
  free(x, part);
  assertEquals(live(), held);
  fails(f.cdn_free(x), BAD_HANDLE);
  const others = Array.from({ length: 20 }, () => alloc(4096));
  for (const other of others) fill(other, 1024, 7);
  assertEquals(read(inner, 2), [-1, -1]);
  free(...others, inner);
  assertEquals(live(), before);

  const empty = alloc(0), nothing = view(empty, 0, 0);
  assertEquals(read(nothing, 0), []);
  free(empty, nothing);
  const odd = floats([1, 2]), misaligned = view(odd, 1, 4);
  assertStringIncludes(fails(f.cdn_neg(odd, misaligned, 1n, FLOAT32), BAD_ARGUMENT), "multiple");
  free(odd, misaligned);
});

each("a read in three steps gives the values as they were at its beginning", async (h) => {
  const { f, check, floats, read, fill, begin, end, free, fails } = h;
  const x = floats([1, 2, 3, 4]);
  const first = begin(x, 4);
  fill(x, 4, 8);
  const second = begin(x, 4);
  check(f.cdn_write(x, new Float32Array([5, 6, 7, 8]), 0n, 16n));
  const third = begin(x, 2);
  free(x);
  const y = floats([0, 0, 0, 0]); // takes the same memory
  check(f.cdn_read_wait(first));
  assertEquals(await f.wait_for_read(second), OK);
  assertEquals(await f.wait_for_read(second), OK);
  assertMatch(fails(f.cdn_read_end(new Uint8Array(12), second, 12n), BAD_ARGUMENT), /12.*16/);
  fails(f.cdn_read_end(null, second, 16n), BAD_ARGUMENT);
  assertEquals(end(second, 4), [8, 8, 8, 8]);
  assertEquals(end(third, 2), [5, 6]); // without a wait
  assertEquals(end(first, 4), [1, 2, 3, 4]);
  assertEquals(read(y, 4), [0, 0, 0, 0]);
  for (const ticket of [first, second, third]) {
    fails(f.cdn_read_end(new Uint8Array(16), ticket, 16n), BAD_HANDLE);
    fails(f.cdn_read_wait(ticket), BAD_HANDLE);
    assertEquals(await f.wait_for_read(ticket), BAD_HANDLE);
  }
  free(y);
});

each("what is staged is there for what is queued next, and waits for what was queued", (h) => {
  const { f, check, alloc, floats, read, view, fill, holds, free, fails } = h;
  const n = 1 << 18, bytes = BigInt(4 * n), host = new Float32Array(n);
  const stage = (y: number, value: number) => check(f.cdn_stage(y, host.fill(value), 0n, bytes));
  // 512 MB in all, more than may be under way: x is staged anew while it may still be read
  const x = alloc(4 * n), sum = alloc(4 * n), shape = BigInt64Array.of(BigInt(n), 1n, 1n);
  fill(sum, n, 0);
  for (let i = 1; i <= 512; i++) {
    stage(x, i);
    check(f.cdn_add(sum, sum, x, shape, 1, 0, FLOAT32));
  }
  assert(holds(sum, n, 512 * 513 / 2));
  // blocks that are freed before their copy has ended serve others
  for (let i = 0; i < 50; i++) {
    const y = alloc(4 * n);
    stage(y, 7);
    if (i % 2) stage(y, 8);
    free(y);
    const z = alloc(2 * n);
    fill(z, n / 2, i);
    assert(holds(z, n / 2, i));
    free(z);
  }
  // several blocks at once, used in another order than they were staged in, on two streams
  const many = Array.from({ length: 5 }, () => alloc(4 * n)), stream = h.stream();
  many.forEach((y, i) => stage(y, i));
  check(f.cdn_stream_use(0, stream));
  for (const i of [3, 0]) assert(holds(many[i]!, n, i));
  check(f.cdn_stream_use(0, 0));
  for (const i of [4, 3, 2, 1]) assert(holds(many[i]!, n, i));
  check(f.cdn_stream_destroy(stream));
  free(...many, x, sum);

  const y = floats([1, 2, 3, 4]), part = view(y, 4, 8);
  check(f.cdn_stage(part, new Float32Array([8, 9]), 0n, 8n));
  check(f.cdn_stage(y, new Float32Array([7]), 12n, 4n));
  check(f.cdn_stage(y, null, 16n, 0n));
  assertEquals(read(y, 4), [1, 8, 9, 7]);
  assertMatch(fails(f.cdn_stage(y, null, 0n, 4n), BAD_ARGUMENT), /^cdn_stage: host is null/);
  fails(f.cdn_stage(y, new Uint8Array(8), 12n, 8n), BAD_ARGUMENT);
  check(f.cdn_freeze(part));
  assertMatch(fails(f.cdn_stage(y, host, 0n, 4n), BAD_ARGUMENT), /may only be read/);
  assertEquals(read(y, 4), [1, 8, 9, 7]);
  free(part, y);
  fails(f.cdn_stage(y, host, 0n, 4n), BAD_HANDLE);
});

each("a wait that is refused leaves the ticket as it was", async (h) => {
  const { f, check, floats, read, begin, end, free, fails } = h;
  const out = new Uint32Array(1);
  const x = floats([1, 2]), data = new Float32Array([3, 4]);
  check(f.cdn_write_begin(out, x, 0n, 8n));
  const write = out[0]!;
  assertMatch(fails(f.cdn_write_wait(write, data, 4n), BAD_ARGUMENT), /4.*8/);
  fails(f.cdn_write_wait(write, null, 8n), BAD_ARGUMENT);
  fails(f.cdn_read_wait(write), BAD_ARGUMENT);
  fails(f.cdn_read_end(data, write, 8n), BAD_ARGUMENT);
  assertEquals(read(x, 2), [1, 2]);
  assertEquals(await f.wait_for_write(write, data, 8n), OK);
  check(f.cdn_write_end(write, 8n));
  assertEquals(read(x, 2), [3, 4]);
  const ticket = begin(x, 2);
  fails(f.cdn_write_wait(ticket, data, 8n), BAD_ARGUMENT);
  fails(f.cdn_write_end(ticket, 8n), BAD_ARGUMENT);
  assertEquals(end(ticket, 2), [3, 4]);
  free(x);
});

each("forty reads at once", async (h) => {
  const { f, floats, begin, end, free } = h;
  const n = 10000;
  const handles = Array.from({ length: 40 }, (_, i) => floats(Array(n).fill(i)));
  const tickets = handles.map((x) => begin(x, n));
  free(...handles);
  assertEquals(await Promise.all(tickets.map((t) => f.wait_for_read(t))), Array(40).fill(OK));
  tickets.forEach((t, i) => assertEquals(end(t, n).every((value) => value === i), true));
});

each("work on one buffer from several streams is ordered as it was queued", (h) => {
  const { f, check, alloc, view, read, holds, fill, stream, free } = h;
  const n = 1 << 20;
  const a = stream(), b = stream();
  assertNotEquals(a, b);
  const x = alloc(4 * n), y = alloc(4 * n);
  const last = view(y, 4 * (n - 3), 12);
  const layout = BigInt64Array.of(BigInt(n), 1n, 1n);
  for (let i = 1; i <= 20; i++) {
    check(f.cdn_stream_use(0, a));
    fill(x, n, i);
    check(f.cdn_stream_use(0, b));
    check(f.cdn_add(y, x, x, layout, 1, 0, FLOAT32));
    check(f.cdn_stream_use(0, a));
    fill(x, n, -1);
    check(f.cdn_mul(y, y, y, layout, 1, 0, FLOAT32));
    check(f.cdn_stream_use(0, 0));
    assertEquals(read(last, 3), Array(3).fill(4 * i * i));

    // Memory freed on one stream and taken on another.
    check(f.cdn_stream_use(0, a));
    const first = alloc(4 * n);
    fill(first, n, 1);
    free(first);
    check(f.cdn_stream_use(0, b));
    const second = alloc(4 * n);
    fill(second, n, i);
    check(f.cdn_stream_use(0, 0));
    assert(holds(second, n, i));
    free(second);
  }
  check(f.cdn_stream_sync(0, a));
  check(f.cdn_stream_sync(0, 0));
  check(f.cdn_stream_destroy(a));
  check(f.cdn_stream_destroy(b));
  free(last, x, y);
});

each("a destroyed stream is gone, and the default is used again", (h) => {
  const { f, check, floats, read, fill, stream, free, fails } = h;
  const s = stream();
  check(f.cdn_stream_use(0, s));
  const x = floats([1, 2]);
  check(f.cdn_stream_destroy(s));
  fill(x, 2, 5);
  assertEquals(read(x, 2), [5, 5]);
  fails(f.cdn_stream_use(0, s), BAD_HANDLE);
  fails(f.cdn_stream_sync(0, s), BAD_HANDLE);
  assertMatch(fails(f.cdn_stream_destroy(s), BAD_HANDLE), /^cdn_stream_destroy: stream: /);
  fails(f.cdn_stream_destroy(0), BAD_HANDLE);
  fails(f.cdn_stream_use(4711, 0), BAD_ARGUMENT);
  const again = stream();
  assertNotEquals(again, s);
  check(f.cdn_stream_destroy(again));
  free(x);
});

each("a bad index is reported once, and everything works afterwards", (h) => {
  const { f, check, floats, alloc, read, free, fails } = h;
  const x = floats([1, 2, 3, 4]), y = floats([0, 0, 0, 0]), index = alloc(8);
  check(f.cdn_write(index, Int32Array.of(1, -3), 0n, 8n));
  check(f.cdn_gather_rows(y, x, index, 2n, 2n, 2n, 1, 0, FLOAT32, FLOAT32));
  assertMatch(fails(f.cdn_sync(0), BAD_ARGUMENT), /^cdn_sync: cdn_gather_rows.* -3; .*0\.\.1/);
  check(f.cdn_sync(0));
  assertEquals(read(y, 4), [3, 4, 0, 0]);
  free(x, y, index);
});

cleanTest("synchronize() and data() reject when the device met a bad index", async () => {
  const x = tensor([[1, 2], [3, 4]]), index = tensor([0, 9], { dtype: "int32" });
  const y = gatherRows(x, index);
  const read = await assertRejects(() => y.data(), CudenoError);
  assertStringIncludes(read.message, "gatherRows: an index is 9; it must be in 0..1");
  assertEquals([...await y.data()], [1, 2, 0, 0]);
  gatherRows(x, index);
  const error = await assertRejects(() => synchronize(), CudenoError);
  assertStringIncludes(error.message, "gatherRows");
  await synchronize();
});

Deno.test("opening the library prints nothing; a program that uses it ends by itself", async () => {
  const source = `import { ones } from ${JSON.stringify(modUrl)};
    ones([300, 300]).matmul(ones([300, 300])).sum().itemSync();`;
  const { code, out, err } = await program(source);
  assertEquals([code, out, err], [0, "", ""]);
  assertEquals((await deno(["eval", `import ${JSON.stringify(modUrl)}`])).code, 0);
});

each(
  "a read gives what its tensor was, though it waits for less than all that is queued",
  async (h) => {
    const { f, check, alloc, fill, floats, read, free, begin, end } = h;
    const n = 1024, bytes = 4 * n * n;
    const x = floats([1, 2, 3]),
      y = alloc(4),
      [a, b, c] = [alloc(bytes), alloc(bytes), alloc(bytes)];
    const layout = BigInt64Array.of(3n, 1n, 1n);
    const double = () => check(f.cdn_add(x, x, x, layout, 1, 0, FLOAT32));
    const sizes = [BigInt(n), BigInt(n), BigInt(n)] as const;
    for (const z of [a, b]) fill(z, n * n, 0.5);
    for (let i = 0; i < 30; i++) {
      double();
      for (let j = 0; j <= i; j++) fill(y, 1, i); // until marks have passed, or not
      check(f.cdn_matmul(c, a, b, null, 0, ...sizes, 0n, 0n, 0n, 0, 0, 0, 1, 0));
      const ticket = begin(x, 3);
      fill(x, 3, 1); // must not change what was begun to be read
      assertEquals(await f.wait_for_read(ticket), OK);
      assertEquals(end(ticket, 3), i === 0 ? [2, 4, 6] : [2, 2, 2]);
      assertEquals(read(x, 3), [1, 1, 1]);
    }
    free(x, y, a, b, c);
  },
);
