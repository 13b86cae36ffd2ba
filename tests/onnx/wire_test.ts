import { assertEquals, assertThrows } from "@std/assert";
import { DataError, LibraryError, onnx } from "../../mod.ts";
import { CudenoError } from "../../lib/native/errors.ts";
import { decodeMessage, encodeMessage } from "../../lib/onnx/_wire.ts";
import { storedTensor, tensorProto } from "../../lib/onnx/_tensor_proto.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { cleanTest as test } from "../_helpers.ts";

test("protobuf: what is written is read", () => {
  const sent = {
    name: "a",
    type: 7,
    i: -3,
    f: 1.5,
    s: Uint8Array.of(0, 255),
    ints: [0, 127, 128, -1, 2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 31, -(2 ** 31)],
    floats: [0.5, -Infinity],
    strings: [Uint8Array.of(1), Uint8Array.of()],
    t: { dims: [2], dataType: 11, doubleData: [1e300, -0], uint64Data: [2 ** 52] },
  };
  const read = decodeMessage("Attribute", encodeMessage("Attribute", sent));
  for (const key of ["name", "type", "i", "f", "s", "ints", "floats", "strings"] as const) {
    assertEquals<unknown>(read[key], sent[key]);
  }
  assertEquals([read.t!.dims, read.t!.doubleData, read.t!.uint64Data], [[2], [1e300, -0], [
    2 ** 52,
  ]]);
  assertEquals([read.refAttrName, read.graphs], [undefined, []]);
});

test("protobuf: int64's ends stay ends; repeated numbers unpacked; unknown fields", () => {
  const ends = encodeMessage("Attribute", { ints: [2 ** 63, -(2 ** 63)] });
  assertEquals(decodeMessage("Attribute", ends).ints, [2 ** 63, -(2 ** 63)]);
  const most = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // i = INT64_MAX
  assertEquals(decodeMessage("Attribute", Uint8Array.from(most)).i, 2 ** 63);
  const unpacked = Uint8Array.of(0x40, 1, 0x40, 0xac, 0x02); // ints, number 8, one by one
  assertEquals(decodeMessage("Attribute", unpacked).ints, [1, 300]);
  // numbers 100 to 103, of each wire type
  const unknown = Uint8Array.of(
    ...[0xa0, 0x06, 5, 0xa9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[0xb2, 0x06, 1, 9, 0xbd, 0x06, 1, 2, 3, 4, 0x18, 7],
  );
  assertEquals(decodeMessage("Attribute", unknown).i, 7);
});

test("protobuf: what is broken ends in a DataError", () => {
  const refused = (message: RegExp, ...bytes: number[]) => {
    const error = assertThrows(
      () => decodeMessage("Model", Uint8Array.from(bytes), "m.onnx"),
      DataError,
    );
    assertEquals(message.test(error.message), true, error.message);
  };
  refused(/ends within a number/, 0x08);
  refused(/ends within a number/, 0x08, 0x80);
  refused(/more than 64 bits/, 0x08, ...Array(10).fill(0xff), 1);
  refused(/length of 100 where 1/, 0x3a, 100, 0);
  refused(/length of 4294967295/, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0);
  refused(/wire type 3/, 0xa3, 0x06);
  refused(/Model.graph has wire type 0, expected 2/, 0x38, 1);
  refused(/field number 0/, 0);
  refused(/not UTF-8/, 0x12, 1, 0xff);
  let graph: Parameters<typeof encodeMessage<"Graph">>[1] = {};
  for (let i = 0; i < 40; i++) {
    graph = { node: [node("If", [], [], { body: { node: [], ...graph } })] };
  }
  const deep = encodeMessage("Graph", graph);
  assertThrows(() => decodeMessage("Graph", deep), DataError, "more than 64 deep");
});

test("tensors: typed fields hold bits, raw data need no alignment, sizes are checked", () => {
  const read = (draft: Parameters<typeof encodeMessage<"Tensor">>[1]) => {
    const bytes = encodeMessage("Tensor", draft);
    return storedTensor(decodeMessage("Tensor", bytes), "t");
  };
  const numbers = (draft: Parameters<typeof read>[0]) => [...read(draft).read()];
  for (const type of ["float32", "float64", "int8", "uint16", "int64", "bool", "uint64"] as const) {
    assertEquals(numbers(tensorProto("odd", type, [3], [1, 0, 1])), [1, 0, 1], type);
  }
  assertEquals(numbers(tensorProto("", "bfloat16", [2], [1.5, -2])), [1.5, -2]);
  assertEquals(numbers({ dims: [2], dataType: 10, int32Data: [0x3c00, 0xc000] }), [1, -2]);
  assertEquals(numbers({ dims: [1], dataType: 16, int32Data: [0x3fc0] }), [1.5]);
  assertEquals(numbers({ dims: [2], dataType: 7, int64Data: [-1, 2 ** 40] }), [-1, 2 ** 40]);
  assertEquals(numbers({ dims: [], dataType: 1, floatData: [4] }), [4]);
  const refused = (draft: Parameters<typeof read>[0], message: string) => {
    assertThrows(() => read(draft), DataError, message);
  };
  refused({ dims: [2 ** 60], dataType: 1, rawData: new Uint8Array(4) }, "not possible");
  refused({ dims: [2 ** 30, 2 ** 30], dataType: 1 }, "not possible");
  refused({ dims: [-1], dataType: 1 }, "not possible");
  refused({ dims: [2], dataType: 1, rawData: new Uint8Array(4) }, "found 4 bytes, expected 8");
  refused({ dims: [1e9], dataType: 1, floatData: [1] }, "found 1 elements");
  refused({ dims: [1], dataType: 99 }, "99 is not known");
  refused({ dims: [1], dataType: 1, dataLocation: 1 }, "another file");
});

test("files cut anywhere or with a byte changed run or end in errors of ours", async () => {
  const bytes = modelBytes({
    node: [
      node("Constant", [], ["two"], { value: tensorProto("", "float32", [1], [2]) }),
      node("Mul", ["x", "two"], ["y"]),
      node("Shape", ["y"], ["s"], { start: 0 }),
      node("Concat", ["s", "one"], ["shape"], { axis: 0 }),
      node("Reshape", ["y", "shape"], ["z"]),
      node("Transpose", ["z"], ["out"], { perm: [2, 1, 0] }),
    ],
    initializer: [tensorProto("one", "int64", [1], [1])],
    input: [valueInfo("x", "float32", ["N", 3])],
    output: [valueInfo("out", "float32")],
  });
  const { zeros } = await import("../../mod.ts");
  using x = zeros([2, 3]);
  let ran = 0;
  const attempt = async (changed: Uint8Array) => {
    try {
      using model = await onnx.load(changed);
      for (const y of Object.values(model.run(x))) y.dispose();
      ran++;
    } catch (error) {
      const typed = error instanceof CudenoError && !(error instanceof LibraryError);
      if (!typed) throw error;
    }
  };
  await attempt(bytes);
  assertEquals(ran, 1);
  for (let n = 0; n < bytes.length; n++) await attempt(bytes.subarray(0, n));
  for (let i = 0; i < bytes.length; i++) {
    for (const flip of [0x01, 0x80, 0xff, 0x08]) {
      await attempt(bytes.with(i, bytes[i]! ^ flip));
    }
  }
});
