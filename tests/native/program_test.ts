// Programs beneath capture(): the operations that go by a cursor, what misuse of the C ABI says,
// and where memory is planned to lie.
import { assert, assertEquals } from "@std/assert";
import { type Backend, backendFor } from "../../lib/core/backend.ts";
import { plan } from "../../lib/core/program.ts";
import type { Local } from "../../lib/core/recording.ts";
import { call } from "../../lib/native/call.ts";
import { programmable } from "../../lib/native/symbols.ts";
import { devices, IndexError, memory, NativeError, ones, tensor, zeros } from "../../mod.ts";
import { randomFor } from "../cases.ts";
import { deviceTest, refuse } from "../_helpers.ts";

const float64 = { dtype: "float64" } as const;
const int32 = { dtype: "int32" } as const;

// ---- by a cursor

deviceTest("take_at: places of the step that the cursor counts", (device) => {
  const x = tensor([10, 11, 12, 13, 14, 15, 16], { ...int32, device });
  const y = zeros([2], { ...int32, device });
  for (
    const [steps, begun, stride, offset, wanted] of [
      [0, 0, 2, 0, [10, 11]],
      [2, 0, 2, 0, [14, 15]],
      [7, 5, 2, 0, [14, 15]],
      [1, 0, 3, 1, [14, 15]],
      [9, 9, 0, 5, [15, 16]],
      [2 ** 40 + 1, 2 ** 40, 5, 0, [15, 16]],
    ] as const
  ) {
    const cursor = tensor([steps, begun], { ...float64, device });
    call("cdn_take_at", y, x, cursor, 2, 7, stride, offset);
    assertEquals([...y.dataSync()], [...wanted]);
    assertEquals([...cursor.dataSync()], [steps, begun]);
  }
  call(
    "cdn_take_at",
    zeros([0], { ...int32, device }),
    x,
    zeros([2], { ...float64, device }),
    0,
    7,
    2,
    0,
  );
});

deviceTest("take_at: a place outside is an index error, and gives 0", (device) => {
  const x = tensor([10, 11, 12], { ...int32, device });
  for (
    const [cursor, index, rest] of [
      [[1, 0], 3, [12, 0]],
      [[0, 2], -1, [0, 0]],
      [[NaN, 0], -1, [0, 0]],
      [[1e300, 0], -1, [0, 0]],
      [[0, Infinity], -1, [0, 0]],
    ] as const
  ) {
    const y = ones([2], { ...int32, device });
    const error = indexError(() => {
      call("cdn_take_at", y, x, tensor([...cursor], { ...float64, device }), 2, 3, 2, 0);
      y.dataSync();
    });
    assertEquals([error.index, error.limit], [index, 3]);
    assertEquals([...y.dataSync()], [...rest]);
  }
});

function indexError(fn: () => unknown): IndexError {
  try {
    fn();
  } catch (error) {
    assert(error instanceof IndexError, String(error));
    return error;
  }
  throw new Error("no error");
}

deviceTest("ring_put: goes around, and counts", (device) => {
  for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
    const ring = zeros([3], { dtype, device }), cursor = tensor([0, 7], { ...float64, device });
    for (let i = 1; i <= 5; i++) {
      call("cdn_ring_put", ring, cursor, tensor([i], { dtype, device }), 3, ring.code);
    }
    assertEquals([...ring.dataSync()], [4, 5, 3]);
    assertEquals([...cursor.dataSync()], [5, 7]);
  }
});

deviceTest("ring_put: a count that is none writes within the ring all the same", (device) => {
  const guarded = zeros([9], { device }), ring = guarded.view(3, [3]);
  for (const count of [-1, NaN, Infinity, -1e300, 2 ** 60]) {
    const cursor = tensor([count, 0], { ...float64, device });
    call("cdn_ring_put", ring, cursor, ones([1], { device }), 3, ring.code);
    assertEquals(cursor.dataSync()[0], 1);
  }
  assertEquals([...guarded.dataSync()], [0, 0, 0, 1, 0, 0, 0, 0, 0]);
});

deviceTest("take_at, ring_put: refuse sizes and tensors that do not fit", (device) => {
  const x = zeros([3], { ...int32, device }), y = zeros([3], { ...int32, device });
  const cursor = zeros([2], { ...float64, device }), short = zeros([1], { ...float64, device });
  const ring = zeros([3], { device }), one = zeros([1], { device });
  const take = (n: number, size: number, stride: number, offset: number) => () =>
    call("cdn_take_at", y, x, cursor, n, size, stride, offset);
  for (const fn of [take(4, 3, 1, 0), take(3, 4, 1, 0), take(-1, 3, 1, 0), take(3, -1, 1, 0)]) {
    refuse(fn, NativeError, "takeAt: ");
  }
  refuse(take(3, 3, -1, 0), NativeError, "stride is -1");
  refuse(take(3, 3, 0, -1), NativeError, "offset is -1");
  refuse(() => call("cdn_take_at", y, x, short, 3, 3, 1, 0), NativeError, "cursor: ");
  refuse(() => call("cdn_take_at", x, x, cursor, 3, 3, 1, 0), NativeError, "overlap");
  for (const size of [0, -1]) {
    refuse(
      () => call("cdn_ring_put", ring, cursor, one, size, ring.code),
      NativeError,
      `size is ${size}; it must be at least 1`,
    );
  }
  refuse(() => call("cdn_ring_put", ring, cursor, one, 4, ring.code), NativeError, "ring: ");
  refuse(() => call("cdn_ring_put", ring, short, one, 3, ring.code), NativeError, "cursor: ");
  refuse(() => call("cdn_ring_put", x, cursor, one, 3, x.code), NativeError, "dtype");
});

// ---- programs

const numbers = new Map(Object.keys(programmable).map((name, i) => [name, BigInt(i)]));
const out = new Uint32Array(1), done = new BigInt64Array(1);

function words(name: string, ...args: (number | bigint)[]): bigint[] {
  return [numbers.get(name)!, ...args.map(BigInt)];
}

function create(
  { functions, index }: Backend,
  given: bigint[],
  { data = new Uint8Array(0), uses = [] as number[], device = index, count = given.length } = {},
): number {
  return functions.cdn_program_create(
    ...[out, device, BigInt64Array.from(given), BigInt(count), data, BigInt(data.length)] as const,
    ...[Uint32Array.from(uses), BigInt(uses.length)] as const,
  );
}

/** A program that adds 1 to x, of two elements, by doubling y in between. */
function working(device: ReturnType<typeof devices>[number]["device"]) {
  const backend = backendFor(device);
  const x = zeros([2], { device }), y = zeros([2], { device }), one = ones([2], { device });
  const data = new Uint8Array(BigInt64Array.of(2n, 1n, 1n).buffer);
  const code = x.code;
  const given = [
    ...words("cdn_add", y.handle, x.handle, one.handle, 0, 1, 3, code),
    ...words("cdn_copy", x.handle, y.handle, 0, 0, 8),
  ];
  return { backend, x, y, one, data, given };
}

const status = { ok: 0, argument: 1, handle: 2, device: 6 };

deviceTest("program: does its calls so many times, on what is there then", (device) => {
  const { backend, x, y, one, data, given } = working(device);
  backend.check(create(backend, given, { data, uses: [x.handle] }));
  const program = out[0]!;
  const { cdn_program_run: run, cdn_program_destroy: destroy } = backend.functions;
  let wanted = 0;
  for (const times of [1, 1, 0, 5, 100]) {
    assertEquals(run(done, program, BigInt(times), Infinity), 0);
    assertEquals(done[0], BigInt(times));
    wanted += times;
    assertEquals([...x.dataSync()], [wanted, wanted]);
  }
  one.fill(2);
  backend.check(run(done, program, 3n, Infinity));
  assertEquals([...x.dataSync()], [wanted + 6, wanted + 6]);
  // No time at all is enough for one, NaN for all.
  backend.check(run(done, program, 100n, 0));
  assert(done[0]! >= 1n && done[0]! < 100n, `${done[0]}`);
  backend.check(run(done, program, 5n, NaN));
  assertEquals(done[0], 5n);
  assertEquals(run(done, program, -1n, 1), status.argument);
  assertEquals(run(null, program, 1n, 1), status.argument);
  for (const gone of [one, y, x]) {
    gone.dispose();
    refuse(() => backend.check(run(done, program, 1n, Infinity)), NativeError, "of the program");
  }
  assertEquals(destroy(program), 0);
  for (const again of [() => destroy(program), () => run(done, program, 1n, 1)]) {
    refuse(() => backend.check(again()), NativeError, "program: handle", "is not live");
  }
});

deviceTest("program: refuses words that are none", (device) => {
  const { backend, x, y, data, given } = working(device);
  const before = memory(device).live;
  const h = x.handle;
  const cases: [
    status: number,
    words: bigint[],
    part: string,
    options?: Parameters<typeof create>[2],
  ][] = [
    [1, [-1n], "there is no function -1"],
    [
      1,
      [BigInt(numbers.size)],
      `there is no function ${numbers.size}; they are 0..${numbers.size - 1}`,
    ],
    [1, [2n ** 62n], "there is no function"],
    [1, words("cdn_relu", y.handle, h), "relu takes 4; 2 are left"],
    [1, words("cdn_relu"), "relu takes 4; 0 are left"],
    [1, [...given, ...words("cdn_relu", h)], "relu takes 4; 1 are left", { data }],
    [1, given, "finds argument 3 at byte 0 of 0", { data: new Uint8Array(0) }],
    [1, words("cdn_add", y.handle, h, h, 24, 1, 3, 0), "at byte 24 of 24", { data }],
    [1, words("cdn_add", y.handle, h, h, 4, 1, 3, 0), "multiple of 8", { data }],
    [1, words("cdn_add", y.handle, h, h, 2n ** 63n - 1n, 1, 3, 0), "finds argument 3", { data }],
    [1, given, "count is -1", { data, count: -1 }],
  ];
  for (const [code, words, part, options = {}] of cases) {
    out[0] = 77;
    assertEquals(create(backend, words, options), code, part);
    refuse(() => backend.check(create(backend, words, options)), NativeError, part);
    assertEquals(out[0], 77, "nothing was made");
  }
  for (const other of [99, -1]) {
    assert(create(backend, given, { data, device: other }) !== 0);
  }
  const { cdn_program_create: make } = backend.functions;
  const list = BigInt64Array.from(given), length = BigInt(given.length);
  const uses = new Uint32Array(1);
  for (
    const status of [
      make(null, backend.index, list, length, data, 24n, uses, 0n),
      make(out, backend.index, null, length, data, 24n, uses, 0n),
      make(out, backend.index, list, length, null, 24n, uses, 0n),
      make(out, backend.index, list, length, data, 24n, null, 1n),
      make(out, backend.index, list, length, data, -1n, uses, 0n),
      make(out, backend.index, list, length, data, 24n, uses, -1n),
    ]
  ) assertEquals(status, 1);
  assertEquals(memory(device).live, before);
});

deviceTest(
  "program: a call that fails says so as ever, and what is gone is seen first",
  (device) => {
    const { backend, x, data, given } = working(device);
    const { cdn_program_run: run, cdn_program_destroy: destroy } = backend.functions;
    const attempt = (
      given: bigint[],
      options: Parameters<typeof create>[2],
      ...parts: string[]
    ) => {
      backend.check(create(backend, given, options));
      const program = out[0]!;
      for (let i = 0; i < 2; i++) {
        refuse(() => backend.check(run(done, program, 2n, 1)), NativeError, ...parts);
      }
      backend.check(destroy(program));
    };
    const h = x.handle;
    attempt(words("cdn_relu", h, h, 3, 0), {}, "relu: ", "are needed");
    attempt(words("cdn_relu", h, h, 2, 77), {}, "relu: ", "dtype");
    attempt(words("cdn_relu", 0, h, 2, 0), {}, "relu: ", "is not live");
    attempt(words("cdn_add", h, h, h, -1, 1, 3, 0), {}, "add: ");
    attempt(words("cdn_copy", h, h, 0, 0, 8), {}, "copy: ", "overlaps");
    attempt(given, { data, uses: [0xffffffff] }, "a tensor of the program", "is not live");
    assertEquals([...x.dataSync()], [0, 0], "nothing was done");
    // One of none at all, and calls go on as before.
    backend.check(create(backend, []));
    const empty = out[0]!;
    backend.check(run(done, empty, 10n, Infinity));
    assertEquals(done[0], 10n);
    backend.check(destroy(empty));
    assertEquals([...x.add(1).dataSync()], [1, 1]);
  },
);

deviceTest("program: an index out of range in it is reported by the next read", (device) => {
  const backend = backendFor(device);
  const x = zeros([2], { ...int32, device }), y = zeros([2], { ...int32, device });
  const cursor = tensor([1, 0], { ...float64, device });
  backend.check(
    create(backend, words("cdn_take_at", y.handle, x.handle, cursor.handle, 2, 2, 1, 0)),
  );
  const program = out[0]!;
  assertEquals(
    indexError(() => {
      backend.check(backend.functions.cdn_program_run(done, program, 1n, Infinity));
      y.dataSync();
    }).index,
    2,
  );
  backend.check(backend.functions.cdn_program_destroy(program));
});

// ---- the plan of memory

const alignment = 256;
const rounded = (bytes: number) => Math.max(1, Math.ceil(bytes / alignment)) * alignment;

Deno.test("plan: what lives at once does not overlap, in an arena from the peak to the sum", () => {
  for (let round = 0; round < 200; round++) {
    const random = randomFor(`plan ${round}`);
    const below = (n: number) => Math.floor(random() * n);
    const end = 1 + below(60);
    const locals = Array.from({ length: below(80) }, (_, number): Local => {
      const first = below(end), last = first + below(random() < 0.1 ? end : 8);
      const bytes = random() < 0.1 ? 0 : below(random() < 0.3 ? 20_000 : 1500);
      return { bytes, first, last, number, handles: new Map() };
    });
    const { places, bytes } = plan(locals);
    assertEquals(places.size, locals.length);
    const all = [...places].map(([local, at]) => ({ ...local, at, size: local.bytes }));
    for (const [i, a] of all.entries()) {
      assertEquals(a.at % alignment, 0);
      assert(a.at >= 0 && a.at + a.size <= bytes, "within the arena");
      for (const b of all.slice(0, i)) {
        const together = a.first <= b.last && b.first <= a.last;
        assert(!together || a.at + a.size <= b.at || b.at + b.size <= a.at, "they overlap");
      }
    }
    const sum = all.reduce((sum, { size }) => sum + rounded(size), 0);
    const peak = Math.max(
      0,
      ...Array.from(
        { length: 2 * end + 8 },
        (_, t) =>
          all.filter(({ first, last }) => first <= t && t <= last)
            .reduce((sum, { size }) => sum + size, 0),
      ),
    );
    assert(peak <= bytes && bytes <= sum, `${peak} <= ${bytes} <= ${sum}`);
  }
});

Deno.test("plan: what follows one another shares its place", () => {
  const chain = Array.from({ length: 100 }, (_, i): Local => ({
    ...{ bytes: 1000, first: i, last: i + 1, number: i, handles: new Map() },
  }));
  assertEquals(plan(chain).bytes, 2 * rounded(1000));
  const none = plan([]);
  assertEquals([none.bytes, none.places.size], [0, 0]);
});
