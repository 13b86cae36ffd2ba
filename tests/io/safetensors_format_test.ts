import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  decodeHeader,
  encodeSafetensors,
  type SafetensorsFile,
  type StoredTensor,
} from "../../lib/io/_safetensors_format.ts";
import { ArgumentError, DataError } from "../../lib/native/errors.ts";

const utf8 = new TextEncoder();

/** What a whole file holds: each tensor's data are where the header says, not copied. */
function decodeSafetensors(bytes: Uint8Array, file = "safetensors file"): SafetensorsFile {
  const { entries, metadata, dataStart } = decodeHeader(bytes, bytes.length, file);
  const data = bytes.subarray(dataStart);
  const tensors = entries.map(({ name, dtype, shape, begin, end }) =>
    [name, { dtype, shape, data: data.subarray(begin, end) }] as const
  );
  return { tensors: new Map(tensors), metadata };
}

/** A file with this header, as it stands, and so many bytes of data. */
function raw(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? utf8.encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** A file whose header is this value as JSON. */
function file(header: unknown, dataBytes = 0): Uint8Array {
  return raw(JSON.stringify(header), dataBytes);
}

/** The message with which the file is refused. */
function refusal(bytes: Uint8Array): string {
  const error = assertThrows(() => decodeSafetensors(bytes, "m.safetensors"), DataError);
  assertStringIncludes(error.message, "m.safetensors: ");
  assert(error.message.length < 600, `a message of ${error.message.length} characters`);
  return error.message;
}

function floats(shape: number[], ...values: number[]): StoredTensor {
  return { dtype: "F32", shape, data: new Uint8Array(new Float32Array(values).buffer) };
}

function sample(): SafetensorsFile {
  return {
    tensors: new Map<string, StoredTensor>([
      ["flags", { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) }],
      ["0.weight", floats([2, 2], 1, 2, 3, 4)],
      ["7", { dtype: "I64", shape: [], data: new Uint8Array(8).fill(7) }],
      ["0.bias", floats([2], 5, 6)],
      ["half", { dtype: "BF16", shape: [1, 1], data: Uint8Array.of(0x80, 0x3f) }],
      ['ü "\\ \u{1f600}', { dtype: "U8", shape: [2, 0], data: new Uint8Array(0) }],
      ["__proto__", { dtype: "U8", shape: [1], data: Uint8Array.of(9) }],
    ]),
    metadata: JSON.parse('{"format":"pt","note":"a\\nb","__proto__":"x"}'),
  };
}

/** A Map without its order. */
function sorted(tensors: Map<string, StoredTensor>) {
  return [...tensors].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("safetensors: what is encoded is decoded", () => {
  const original = sample();
  const decoded = decodeSafetensors(encodeSafetensors(original));
  assertEquals(sorted(decoded.tensors), sorted(original.tensors));
  assertEquals(Object.entries(decoded.metadata), Object.entries(original.metadata));
});

Deno.test("safetensors: the layout is the reference implementation's", () => {
  // One tensor: the header is padded with spaces, and the offsets count from its end.
  const one = encodeSafetensors({
    tensors: new Map([["w", floats([1, 3], 1, 2, 3)]]),
    metadata: { format: "pt" },
  });
  const header = '{"__metadata__":{"format":"pt"},' +
    '"w":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]}}';
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
  assertEquals(new DataView(one.buffer).getBigUint64(0, true), BigInt(padded.length));
  assertEquals(new TextDecoder().decode(one.subarray(8, 8 + padded.length)), padded);
  assertEquals([...new Float32Array(one.slice(8 + padded.length).buffer)], [1, 2, 3]);

  // No tensors: `{}` and six spaces; no `__metadata__` without metadata.
  const none = encodeSafetensors({ tensors: new Map(), metadata: {} });
  assertEquals(none, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0, ...utf8.encode("{}      ")));
  assertEquals(decodeSafetensors(none), { tensors: new Map(), metadata: {} });

  // Many: by decreasing element size, then by name, and so each is aligned.
  const many = decodeSafetensors(encodeSafetensors(sample()));
  assertEquals(
    [...many.tensors.keys()],
    ["7", "0.bias", "0.weight", "half", "__proto__", 'ü "\\ \u{1f600}', "flags"],
  );
  const sizes: Record<string, number> = { I64: 8, F32: 4, BF16: 2 };
  for (const { dtype, data } of many.tensors.values()) {
    assertEquals(data.byteOffset % (sizes[dtype] ?? 1), 0);
  }
});

Deno.test("safetensors: tensors are views, also when the file itself is one", () => {
  const encoded = encodeSafetensors(sample());
  const padded = new Uint8Array(encoded.length + 20);
  padded.set(encoded, 3);
  const view = padded.subarray(3, 3 + encoded.length);
  const { tensors } = decodeSafetensors(view);
  assertEquals(sorted(tensors), sorted(sample().tensors));
  for (const { data } of tensors.values()) assert(data.buffer === padded.buffer);
});

Deno.test("safetensors: files of other writers are read", () => {
  const { tensors, metadata } = decodeSafetensors(raw(
    '{ "b": {"data_offsets": [4, 6], "extra": {"k": 1}, "shape": [2], "dtype": "I8"},\n' +
      '"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}  ',
    6,
  ));
  assertEquals([...tensors.keys()], ["a", "b"]);
  assertEquals(metadata, {});
  assertEquals(tensors.get("b")!.data.length, 2);
});

Deno.test("safetensors: an empty tensor may lie anywhere between others", () => {
  const { tensors } = decodeSafetensors(file({
    b: { dtype: "U8", shape: [2], data_offsets: [2, 4] },
    none: { dtype: "F64", shape: [3, 0], data_offsets: [2, 2] },
    a: { dtype: "U8", shape: [2], data_offsets: [0, 2] },
    end: { dtype: "F64", shape: [0], data_offsets: [4, 4] },
  }, 4));
  assertEquals([...tensors.keys()], ["a", "none", "b", "end"]);
});

Deno.test("safetensors: a damaged frame is refused", () => {
  assertStringIncludes(refusal(new Uint8Array(0)), "found 0 bytes, expected at least 8");
  assertStringIncludes(refusal(new Uint8Array(7)), "found 7 bytes, expected at least 8");
  assertStringIncludes(
    refusal(raw("{}", 0, 100_000_001n)),
    "found a header length of 100000001, expected at most 100000000",
  );
  assertStringIncludes(refusal(raw("{}", 0, 2n ** 64n - 1n)), "18446744073709551615");
  assertStringIncludes(
    refusal(raw("{}", 0, 3n)),
    "found 10 bytes, expected at least 11 for a header of 3",
  );
  assertStringIncludes(refusal(raw("")), "found nothing at the header's start");
  for (const text of [" {}", "[]", "null", "\ufeff{}"]) {
    assertStringIncludes(refusal(raw(text)), 'at the header\'s start, expected "{"');
  }
});

Deno.test("safetensors: a header that is no JSON object is refused", () => {
  for (const bytes of [[0x7b, 0xff, 0x7d], [0x7b, 0xc3], [0x7b, 0xed, 0xa0, 0x80]]) {
    assertStringIncludes(refusal(raw(Uint8Array.from(bytes))), "not valid UTF-8");
  }
  for (const text of ["{", "{}x", "{}{}", '{"a":}', '{"a":1,}', "{}\0", "{'a':1}", '{"a\n":1}']) {
    assertStringIncludes(refusal(raw(text)), "not valid JSON");
  }
  const depth = 1_000_000;
  refusal(raw("{" + '"a":['.repeat(10) + "[".repeat(depth)));
  refusal(raw(`{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`));
  refusal(raw(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`));
});

Deno.test("safetensors: a key given twice is refused", () => {
  const entry = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
  assertStringIncludes(refusal(raw(`{"a":${entry},"a":${entry}}`)), 'found the key "a" twice');
  assertStringIncludes(refusal(raw(`{"a":${entry},"\\u0061":${entry}}`)), 'the key "a" twice');
  assertStringIncludes(
    refusal(raw('{"__metadata__":{},"__metadata__":{}}')),
    'the key "__metadata__" twice',
  );
  assertStringIncludes(refusal(raw('{"__metadata__":{"k":"1","k":"2"}}')), 'the key "k" twice');
  assertStringIncludes(
    refusal(raw('{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}')),
    'the key "dtype" twice',
  );
  // The same key in two objects, or text that looks like a key, is nothing wrong.
  const text = '{"__metadata__":{"a":"{\\"a\\":1,\\"a\\":2}\\\\","b":"\\"b\\":"},' +
    `"a":${entry},"b":${entry}}`;
  assertEquals(decodeSafetensors(raw(text)).metadata.a, '{"a":1,"a":2}\\');
});

Deno.test("safetensors: a damaged entry is refused", () => {
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  decodeSafetensors(file({ a: good }, 8));
  const refuse = (change: unknown) => {
    const entry = typeof change === "object" && change !== null && !Array.isArray(change)
      ? { ...good, ...change }
      : change;
    const message = refusal(file({ a: entry }, 8));
    assertStringIncludes(message, '"a"');
    return message;
  };
  for (const entry of [null, 1, "F32", [], [good], true]) {
    assertStringIncludes(refuse(entry), "expected an object");
  }
  for (const dtype of ["F31", "f32", "", undefined, null, 32, ["F32"], { F32: 4 }, "constructor"]) {
    assertStringIncludes(refuse({ dtype }), "found dtype ");
    assertStringIncludes(refuse({ dtype }), "expected one of BOOL, U8");
  }
  for (const shape of [undefined, null, 2, "2", {}, [-1], [1.5], ["2"], [null], [[2]], [2 ** 53]]) {
    assertStringIncludes(refuse({ shape }), "found shape ");
  }
  for (const shape of [[2 ** 52, 2], [2 ** 50], [65536, 65536, 65536, 65536], [2 ** 53 - 1, 0]]) {
    const message = shape[0] === 2 ** 50 ? "found 8 bytes" : "overflows";
    assertStringIncludes(refuse({ shape }), message);
  }
  for (
    const data_offsets of [undefined, 8, {}, [], [8], [0, 8, 8], [0, "8"], [0.5, 8], [-8, 0], [
      0,
      1e300,
    ]]
  ) {
    assertStringIncludes(refuse({ data_offsets }), "expected two non-negative integers");
  }
  assertStringIncludes(
    refuse({ data_offsets: [8, 0] }),
    "found data_offsets [8, 0], expected begin <= end <= 8",
  );
  assertStringIncludes(refuse({ data_offsets: [0, 12], shape: [3] }), "end <= 8");
  assertStringIncludes(refuse({ data_offsets: [2 ** 52, 2 ** 52 + 8] }), "end <= 8");
  assertStringIncludes(
    refuse({ shape: [3] }),
    "found 8 bytes, expected 12 for F32 of shape [3]",
  );
  assertStringIncludes(
    refuse({ shape: Array(1000).fill(2) }),
    "found shape [2, 2, 2, 2, 2, 2, 2, 2, …], whose size overflows",
  );
  refusal(raw('{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'));
  refusal(file({ ["n".repeat(100_000)]: 1 }));
});

Deno.test("safetensors: holes, overlaps and bytes without a tensor are refused", () => {
  const bytes = (begin: number, end: number) => ({
    dtype: "U8",
    shape: [end - begin],
    data_offsets: [begin, end],
  });
  assertStringIncludes(
    refusal(file({ a: bytes(0, 4), b: bytes(5, 8) }, 8)),
    '"b" begins at data byte 5, expected 4: a hole before it',
  );
  assertStringIncludes(refusal(file({ a: bytes(1, 8) }, 8)), "expected 0: a hole");
  assertStringIncludes(
    refusal(file({ b: bytes(3, 8), a: bytes(0, 4) }, 8)),
    '"b" begins at data byte 3, expected 4: an overlap',
  );
  assertStringIncludes(refusal(file({ a: bytes(0, 8), b: bytes(0, 8) }, 8)), "an overlap");
  assertStringIncludes(refusal(file({ a: bytes(0, 8), b: bytes(4, 4) }, 8)), "an overlap");
  assertStringIncludes(
    refusal(file({ a: bytes(0, 8) }, 9)),
    "found 9 bytes of data, expected the 8 that tensors cover",
  );
  assertStringIncludes(refusal(file({}, 1)), "found 1 bytes of data");
  assertStringIncludes(refusal(file({ a: bytes(0, 8) }, 7)), "end <= 7"); // truncated
});

Deno.test("safetensors: metadata that are not strings are refused", () => {
  for (const metadata of [null, 1, "x", [], ["x"]]) {
    assertStringIncludes(
      refusal(file({ __metadata__: metadata })),
      "as __metadata__, expected an object",
    );
  }
  for (const value of [null, 1, [], {}, true]) {
    assertStringIncludes(
      refusal(file({ __metadata__: { ok: "x", bad: value } })),
      '__metadata__ "bad": found ',
    );
  }
});

Deno.test("safetensors: what does not fit the format is not encoded", () => {
  const refuse = (name: string, tensor: unknown, message: string) => {
    const tensors = new Map([[name, tensor as StoredTensor]]);
    assertThrows(() => encodeSafetensors({ tensors, metadata: {} }), ArgumentError, message);
  };
  const data = new Uint8Array(8);
  refuse("a", { dtype: "F32", shape: [3], data }, '"a": found 8 bytes, expected 12 for F32');
  refuse("a", { dtype: "F32", shape: [], data }, "found 8 bytes, expected 4");
  refuse("a", { dtype: "float32", shape: [2], data }, 'found dtype "float32", expected one of');
  refuse("a", { dtype: "U8", shape: [-8], data }, "found shape [-8]");
  refuse("a", { dtype: "U8", shape: [8n], data }, "found shape [8]");
  refuse("a", { dtype: "U8", shape: [NaN], data }, "found shape [NaN]");
  refuse("a", { dtype: "U8", shape: [2 ** 30, 2 ** 30], data }, "overflows");
  refuse("__metadata__", { dtype: "U8", shape: [8], data }, "keeps this name");
  refuse("\ud800", { dtype: "U8", shape: [8], data }, "well-formed");

  const tensors = new Map();
  for (const value of [1, null, "\udc00"]) {
    const metadata = { key: value } as Record<string, string>;
    assertThrows(() => encodeSafetensors({ tensors, metadata }), ArgumentError, '"key"');
  }
});

Deno.test("safetensors: a file with any bytes changed or cut is read or refused", () => {
  const good = encodeSafetensors(sample());
  let seed = 1;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * n);
  };
  let refused = 0;
  const attempt = (bytes: Uint8Array) => {
    try {
      const { tensors } = decodeSafetensors(bytes);
      for (const { data } of tensors.values()) assert(data.length <= good.length);
    } catch (error) {
      assert(error instanceof DataError, String(error));
      refused++;
    }
  };
  for (let at = 0; at < good.length; at++) {
    attempt(good.subarray(0, at));
    for (let bit = 0; bit < 8; bit++) attempt(good.with(at, good[at]! ^ (1 << bit)));
    for (const char of '"\\{}[],:09- ') attempt(good.with(at, char.charCodeAt(0)));
  }
  const first = refused;
  assert(first > good.length, "every shortened file is refused");
  for (let round = 0; round < 20_000; round++) {
    const bytes = good.slice();
    for (let change = 0; change <= random(6); change++) {
      const at = random(bytes.length);
      if (random(4) === 0) bytes.copyWithin(at, random(bytes.length), random(bytes.length));
      else bytes[at] = random(256);
    }
    attempt(bytes);
  }
  assert(refused > first);
});
