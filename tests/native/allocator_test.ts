// The caching allocator: what its figures say, and that memory is reused, split, joined, limited
// and given back.
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertThrows,
} from "@std/assert";
import {
  devices,
  emptyCache,
  init,
  memory,
  nn,
  ones,
  optim,
  rand,
  resetPeakMemory,
  scope,
  zeros,
} from "../../mod.ts";
import { backendFor } from "../../lib/core/backend.ts";
import { ArgumentError, OutOfMemoryError } from "../../lib/native/errors.ts";
import { Library, type LibraryKind, openLibrary } from "../../lib/native/library.ts";
import { symbols, waiting } from "../../lib/native/symbols.ts";
import { cleanTest } from "../_helpers.ts";

const KIB = 1024, MIB = 1024 * KIB;
const found = devices().map(({ device }) => device);
const kinds = new Set(found.map((device): LibraryKind => device === "cpu" ? "cpu" : "cuda"));

/** A copy of a library, which has an allocator of its own that no other test uses. */
function copyOf(kind: LibraryKind): Library {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/libcudeno_${kind}.so`;
  Deno.copyFileSync(openLibrary(kind).path, path);
  try {
    return new Library(kind, path, Deno.dlopen(path, { ...symbols, ...waiting }).symbols);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function allocator(library: Library) {
  const { functions: f } = library;
  const out = new Uint32Array(1);
  const numbers = new BigInt64Array(10);
  const check = (status: number) => library.check(status);
  return {
    alloc(bytes: number): number {
      check(f.cdn_alloc(out, 0, BigInt(bytes)));
      return out[0]!;
    },
    free: (...handles: number[]) => handles.forEach((x) => check(f.cdn_free(x))),
    write: (x: number, offset: number, data: Int32Array<ArrayBuffer>) =>
      check(f.cdn_write(x, data, BigInt(offset), BigInt(data.byteLength))),
    read(x: number, offset: number): number {
      const data = new Int32Array(1);
      check(f.cdn_read(data, x, BigInt(offset), 4n));
      return data[0]!;
    },
    trim: () => check(f.cdn_memory_trim(0)),
    limit: (bytes: number) => check(f.cdn_memory_limit(0, BigInt(bytes))),
    resetPeak: () => check(f.cdn_memory_reset_peak(0)),
    stats() {
      check(f.cdn_memory_stats(numbers, 0));
      const [live = 0, cached = 0, reserved = 0, peak = 0, largestFree = 0, ...rest] = Array.from(
        numbers,
        Number,
      );
      const [limit = 0, buffers = 0, allocations = 0, segments = 0, raw = 0] = rest;
      return {
        live,
        cached,
        reserved,
        peak,
        largestFree,
        limit,
        buffers,
        allocations,
        segments,
        raw,
      };
    },
  };
}

type Allocator = ReturnType<typeof allocator>;

const copies = [...kinds].map(copyOf);

/** A test for each library, which starts and ends without memory. */
function each(name: string, fn: (a: Allocator) => void) {
  for (const library of copies) {
    Deno.test(`${library.kind}: ${name}`, () => {
      const a = allocator(library);
      a.resetPeak();
      assertEquals(empty(a), [0, 0, 0, 0, 0]);
      fn(a);
      a.limit(0);
      const { live, cached, reserved, buffers } = a.stats();
      assertEquals([live, buffers], [0, 0], "the test leaves memory behind");
      assertEquals(cached, reserved);
      a.trim();
      assertEquals(empty(a), [0, 0, 0, 0, 0]);
    });
  }
}

function empty(a: Allocator): number[] {
  const { live, cached, reserved, largestFree, segments } = a.stats();
  return [live, cached, reserved, largestFree, segments];
}

/** What a request takes: a size class up to 1 MiB, else whole units of 256 bytes. */
function rounded(bytes: number): number {
  if (bytes <= KIB || bytes > MIB) return Math.ceil(bytes / 256) * 256;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / 4;
  return Math.ceil(bytes / step) * step;
}

each("sizes are rounded to their class, and the figures follow", (a) => {
  const sizes = [1, 4, 255, 256, 257, 511, 513, 1000, 1024, 1025, 1280, 1281, 2048, 2049, 5000];
  for (let bytes = 8 * KIB; bytes <= 8 * MIB; bytes *= 2) sizes.push(bytes - 1, bytes, bytes + 1);
  for (const bytes of sizes) {
    const before = a.stats();
    const x = a.alloc(bytes);
    const after = a.stats();
    assertEquals(after.live - before.live, rounded(bytes), `${bytes} bytes`);
    assertEquals((after.live - before.live) % 256, 0);
    assertLess(rounded(bytes) - bytes, Math.max(256, bytes / 4 + 1));
    assertEquals(after.buffers, before.buffers + 1);
    assertEquals(after.allocations, before.allocations + 1);
    assertEquals(after.reserved, after.live + after.cached);
    assertGreaterOrEqual(after.peak, after.live);
    a.free(x);
    const { live, buffers } = a.stats();
    assertEquals([live, buffers], [before.live, before.buffers]);
  }
});

each("nothing is taken for 0 bytes", (a) => {
  const x = a.alloc(0);
  assertEquals([a.stats().live, a.stats().buffers, a.stats().reserved], [0, 0, 0]);
  a.free(x);
});

each("one slab serves a class, and freed blocks are used again", (a) => {
  const start = a.stats();
  const handles = Array.from({ length: 2 * MIB / KIB }, () => a.alloc(KIB));
  assertEquals([a.stats().raw - start.raw, a.stats().segments], [1, 1]);
  assertEquals([a.stats().reserved, a.stats().cached], [2 * MIB, 0]);
  const more = a.alloc(KIB);
  assertEquals(a.stats().raw - start.raw, 2);
  a.free(more, ...handles);
  const cached = a.stats();
  assertEquals(cached.cached, 4 * MIB);
  for (let i = 0; i < 1000; i++) a.free(a.alloc(KIB - i % 200));
  const other = a.alloc(100); // of another class
  assertEquals(a.stats().raw, cached.raw + 1);
  a.free(other);
});

each("large blocks split, and join with free neighbours on both sides", (a) => {
  const [x, y, z] = [a.alloc(8 * MIB), a.alloc(8 * MIB), a.alloc(8 * MIB)];
  [x, y, z].forEach((handle, i) => a.write(handle, 8 * MIB - 4, Int32Array.of(i)));
  const start = a.stats();
  assertEquals([start.segments, start.reserved, start.live], [1, 32 * MIB, 24 * MIB]);
  assertEquals(start.largestFree, 8 * MIB); // the rest of the segment

  a.free(y);
  assertEquals(a.stats().largestFree, 8 * MIB);
  assertEquals(a.stats().cached, 16 * MIB);
  const small = a.alloc(2 * MIB), middle = a.alloc(6 * MIB); // share what y had
  assertEquals(a.stats().largestFree, 8 * MIB);
  a.free(small, middle);

  a.free(x);
  assertEquals(a.stats().largestFree, 16 * MIB);
  const wide = a.alloc(16 * MIB);
  a.write(wide, 16 * MIB - 4, Int32Array.of(7));
  assertEquals(a.read(z, 8 * MIB - 4), 2);
  assertEquals(a.stats().raw, start.raw);

  a.free(z); // with the rest behind it
  assertEquals(a.stats().largestFree, 16 * MIB);
  assertEquals(a.read(wide, 16 * MIB - 4), 7);
  a.free(wide); // with the rest before and behind it
  assertEquals([a.stats().largestFree, a.stats().segments], [32 * MIB, 1]);
  assertEquals(a.stats().raw, start.raw);
});

each("the block that fits best is taken", (a) => {
  const handles = [12, 1.5, 5, 1.5, 8].map((size) => a.alloc(size * MIB));
  a.free(handles[0]!, handles[2]!); // leaves 12, 5 and 4 MiB free
  const raw = a.stats().raw;
  const five = a.alloc(4.5 * MIB);
  // a rest below 1 MiB stays with its block
  assertEquals(a.stats().live, (1.5 + 1.5 + 8 + 5) * MIB);
  const twelve = a.alloc(12 * MIB);
  assertEquals([a.stats().raw, a.stats().largestFree], [raw, 4 * MIB]);
  a.free(five, twelve, handles[1]!, handles[3]!, handles[4]!);
});

each("requests above the segment's size have a segment of their own", (a) => {
  const x = a.alloc(41 * MIB);
  assertEquals([a.stats().reserved, a.stats().segments], [42 * MIB, 1]);
  a.free(x);
});

each("blocks never overlap, whatever the order of requests", (a) => {
  let state = 12345;
  const below = (n: number) => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31 * n | 0;
  const held: { x: number; bytes: number; tag: number }[] = [];
  let live = 0;
  const release = (i: number) => {
    const [{ x, bytes, tag }] = held.splice(i, 1) as [typeof held[0]];
    assertEquals(a.read(x, 0), tag);
    assertEquals(a.read(x, bytes - 4), ~tag);
    a.free(x);
  };
  for (let tag = 1; tag <= 4000; tag++) {
    const bytes = 8 + (below(5) === 0 ? below(6 * MIB) : below(4) === 0 ? below(MIB) : below(3000));
    const x = a.alloc(bytes);
    a.write(x, 0, Int32Array.of(tag));
    a.write(x, bytes - 4, Int32Array.of(~tag));
    held.push({ x, bytes, tag });
    while (held.length > 60 || (held.length > 0 && below(3) === 0)) release(below(held.length));
    live = a.stats().live;
    const least = held.reduce((sum, { bytes }) => sum + rounded(bytes), 0);
    assertGreaterOrEqual(live, least);
    assertLessOrEqual(live, least + held.length * MIB);
    assertEquals(a.stats().buffers, held.length);
    if (tag % 500 === 0) a.trim();
  }
  while (held.length > 0) release(0);
});

each("the limit is an error with the figures, and leaves everything usable", (a) => {
  a.limit(64 * MIB);
  assertEquals(a.stats().limit, 64 * MIB);
  const x = a.alloc(40 * MIB);
  a.write(x, 0, Int32Array.of(42));
  const cached = a.alloc(1000);
  a.free(cached);
  const allocations = a.stats().allocations;
  const error = assertThrows(() => a.alloc(33 * MIB), OutOfMemoryError);
  assertEquals(error.code, "memory");
  assertMatch(
    error.message,
    /^alloc: .*room for 34603008 bytes: 41943040 live, 0 cached, limit 67108864; /,
  );
  assertEquals(a.stats().allocations, allocations);
  assertEquals(a.stats().cached, 0); // was given back in the attempt
  assertEquals(a.read(x, 0), 42);

  const y = a.alloc(16 * MIB), z = a.alloc(100 * KIB); // in what is left
  assertThrows(() => a.alloc(20 * MIB), OutOfMemoryError);
  a.free(x);
  const w = a.alloc(36 * MIB); // cached memory makes room
  assertLessOrEqual(a.stats().reserved, 64 * MIB);
  a.free(w, y, z);

  assertThrows(() => a.alloc(2 ** 50), OutOfMemoryError);
  a.limit(0);
  const { limit } = a.stats();
  assert(limit > 64 * MIB);
  assertThrows(() => a.alloc(2 ** 50), OutOfMemoryError);
});

each("with a limit below a slab, requests are served one by one", (a) => {
  a.limit(MIB);
  const handles = Array.from({ length: 4 }, () => a.alloc(256 * KIB));
  assertEquals([a.stats().reserved, a.stats().segments], [MIB, 4]);
  assertThrows(() => a.alloc(1), OutOfMemoryError);
  a.free(handles.pop()!);
  const x = a.alloc(1); // what was cached has to go for it
  assertEquals(a.stats().reserved, 3 * 256 * KIB + 256);
  a.limit(1); // below what is there
  assertThrows(() => a.alloc(2 * KIB), OutOfMemoryError);
  a.write(handles[0]!, 0, Int32Array.of(5));
  assertEquals(a.read(handles[0]!, 0), 5);
  a.free(x, ...handles);
});

each("trim gives back segments without live blocks, and keeps the others", (a) => {
  const small = [a.alloc(KIB), a.alloc(64 * KIB)], large = a.alloc(8 * MIB);
  a.free(small[0]!);
  a.trim();
  const { segments, reserved, cached } = a.stats();
  assertEquals([segments, reserved], [2, 34 * MIB]);
  assertEquals(cached, 34 * MIB - 64 * KIB - 8 * MIB);
  a.write(large, 0, Int32Array.of(3));
  assertEquals(a.read(large, 0), 3);
  a.free(small[1]!, large);
});

each("the peak is the most that was live since it was reset", (a) => {
  const x = a.alloc(2 * MIB), y = a.alloc(3 * MIB);
  a.free(y);
  assertEquals(a.stats().peak, 5 * MIB);
  a.trim();
  assertEquals(a.stats().peak, 5 * MIB);
  a.resetPeak();
  assertEquals(a.stats().peak, 2 * MIB);
  a.free(x);
  assertEquals(a.stats().peak, 2 * MIB);
});

each("a hundred thousand allocations take no time and no more memory", (a) => {
  const start = performance.now(), { raw, allocations } = a.stats();
  for (let i = 0; i < 1e5; i++) a.free(a.alloc(i % 3 === 0 ? 4 * MIB : i % 1000 + 1));
  assertEquals(a.stats().allocations - allocations, 1e5);
  assertLessOrEqual(a.stats().raw - raw, 5); // four classes and a segment
  assertLess(performance.now() - start, 5000);
});

// ---- through the module

for (const device of found) {
  cleanTest(`${device}: memory(), emptyCache() and resetPeakMemory()`, () => {
    emptyCache(device);
    const before = memory(device);
    const x = zeros([1000], { device });
    const y = zeros([2, 1000], { device });
    const during = memory(device);
    assertEquals(during.live - before.live, 4096 + 8192);
    assertEquals(during.tensors - before.tensors, 2);
    assertEquals(during.reserved, during.live + during.cached);
    x.dispose();
    y.dispose();
    emptyCache(device);
    const after = memory(device);
    assertEquals([after.live, after.reserved], [before.live, before.reserved]);
    resetPeakMemory(device);
    assertEquals(memory(device).peak, after.live);
  });

  cleanTest(`${device}: memoryLimit ends in an OutOfMemoryError, and then all goes on`, () => {
    const backend = backendFor(device);
    emptyCache(device);
    const limit = memory(device).reserved + 48 * MIB;
    init({ device, memoryLimit: limit });
    try {
      const x = ones([1024, 1024], { device });
      const error = assertThrows(() => zeros([64, 1024, 1024], { device }), OutOfMemoryError);
      for (const n of [256 * MIB, memory(device).live, memory(device).cached, limit]) {
        assertMatch(error.message, new RegExp(`\\b${n}\\b`));
      }
      assertThrows(() => scope(() => Array.from({ length: 20 }, () => x.add(1))), OutOfMemoryError);
      assertEquals(scope(() => x.add(x).mean().itemSync()), 2);
      assertEquals(x.mul(3).mean().itemSync(), 3);
    } finally {
      backend.check(backend.functions.cdn_memory_limit(backend.index, 0n));
    }
    const large = zeros([16, 1024, 1024], { device });
    large.dispose();
    emptyCache(device);
    for (const memoryLimit of [0, -1, 1.5, NaN]) {
      assertThrows(() => init({ device, memoryLimit }), ArgumentError);
    }
  });

  cleanTest(`${device}: two hundred training steps take no more memory than two`, () => {
    init({ device });
    const model = new nn.Sequential(new nn.Linear(64, 128), new nn.ReLU(), new nn.Linear(128, 10));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const loss = new nn.CrossEntropyLoss();
    const x = rand([32, 64]);
    const target = zeros([32], { dtype: "int32" });
    const step = () =>
      scope(() => {
        optimizer.zeroGrad();
        loss.forward(model.forward(x), target).backward();
        optimizer.step();
      });
    const figures = () => {
      const { live, peak, tensors, reserved, deviceAllocations } = memory(device);
      return { live, peak, tensors, reserved, deviceAllocations };
    };
    resetPeakMemory(device);
    step();
    step();
    const wanted = figures();
    for (let i = 0; i < 200; i++) {
      step();
      assertEquals(figures(), wanted);
    }
    optimizer.dispose();
    model.dispose();
    init();
  });
}
