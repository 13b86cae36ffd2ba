// TensorProto: what it says is checked before anything is made of it.
import { DataError } from "../native/errors.ts";
import { MAX_RANK } from "../core/shape.ts";
import { float8 } from "../io/_stored_types.ts";
import { elements, type ElementType, elementType, type HostData } from "./_elements.ts";
import type { Draft, Message } from "./_schema.ts";

/** A tensor of a file: type and shape, and how to get at the elements. */
export interface StoredTensor {
  /** What its elements are. */
  readonly type: ElementType;
  /** Its sizes. */
  readonly shape: readonly number[];
  /** The elements, in row-major order. */
  readonly read: () => HostData;
}

/**
 * Looks at a tensor and checks that its type, sizes and data fit each other. The elements are
 * decoded by `read`.
 *
 * @throws {DataError} when they do not; `title` says which tensor of which file it is.
 */
export function storedTensor(proto: Message<"Tensor">, title: string): StoredTensor {
  const fault = (message: string) => new DataError(`${title}: ${message}`);
  const type = elementType(proto.dataType);
  if (!type) throw fault(`the element type ${proto.dataType ?? 0} is not known`);
  if (type === "string") throw fault("tensors of strings are not supported");
  const shape = proto.dims;
  let size = 1;
  for (const extent of shape) {
    size *= extent;
    if (extent < 0 || !Number.isSafeInteger(extent) || !Number.isSafeInteger(size)) {
      throw fault(`the sizes [${shape.slice(0, 8).join(", ")}] are not possible`);
    }
  }
  if (shape.length > MAX_RANK) {
    throw fault(`there are ${shape.length} dimensions; at most are ${MAX_RANK}`);
  }
  if (proto.dataLocation === 1) throw fault("its data are in another file that was not read");

  const { bytes } = elements[type];
  const { rawData } = proto;
  if (rawData) {
    if (rawData.length !== size * bytes) {
      throw fault(`found ${rawData.length} bytes, expected ${size * bytes} for ${size} ${type}`);
    }
    return { type, shape, read: () => fromRaw(type, rawData) };
  }
  const list = listOf(proto, type);
  if (list.length !== size) {
    throw fault(`found ${list.length} elements, expected ${size} for [${shape.join(", ")}]`);
  }
  return { type, shape, read: () => fromList(type, list) };
}

function listOf(proto: Message<"Tensor">, type: ElementType): number[] {
  if (type === "float32") return proto.floatData;
  if (type === "float64") return proto.doubleData;
  if (type === "int64") return proto.int64Data;
  return type === "uint32" || type === "uint64" ? proto.uint64Data : proto.int32Data;
}

const kinds = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
};

const float8s = new Map(float8.map(([name, { convert }]) => [
  name.toLowerCase().replace("f8_", "float8").replace("e4m3", "e4m3fn").replace("fnfnuz", "fnuz")
    .replace(/e5m2$/, "e5m2"),
  convert!,
]));

// Raw data need not lie where the type wants it: they are copied.
function fromRaw(type: ElementType, raw: Uint8Array): HostData {
  const bytes = raw.slice();
  if (type === "bool") return bytes.map((byte) => (byte === 0 ? 0 : 1));
  const narrow = float8s.get(type);
  if (narrow) {
    const made = narrow(bytes, type) as Float16Array | Uint16Array;
    return made instanceof Uint16Array ? new Float16Array(made.buffer) : made;
  }
  const Kind = kinds[type as keyof typeof kinds];
  if (!Kind) return bytes;
  const made = new Kind(bytes.buffer);
  if (made instanceof BigInt64Array || made instanceof BigUint64Array) {
    return Float64Array.from(made, Number);
  }
  return type === "bfloat16" ? widened(made as Uint16Array) : made;
}

// A bfloat16 is the upper half of a float32.
function widened(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
}

// int32_data holds the bits of 16-bit floats.
function fromList(type: ElementType, list: readonly number[]): HostData {
  if (type === "float32") return Float32Array.from(list);
  if (type === "float16") return new Float16Array(Uint16Array.from(list).buffer);
  if (type === "bfloat16") return widened(Uint16Array.from(list));
  if (float8s.has(type)) return fromRaw(type, Uint8Array.from(list));
  return Float64Array.from(list, elements[type].fit);
}

/** A TensorProto with raw data, as save() and tests write it. */
export function tensorProto(
  name: string,
  type: ElementType,
  dims: readonly number[],
  values: ArrayLike<number>,
): Draft<"Tensor"> {
  const Kind = kinds[type as keyof typeof kinds] ?? Uint8Array;
  const data = Kind === BigInt64Array || Kind === BigUint64Array
    ? Kind.from(Array.from(values, (value) => BigInt(Math.trunc(value))))
    : type === "bfloat16"
    ? Uint16Array.from(values, (v) => new Uint32Array(new Float32Array([v]).buffer)[0]! >>> 16)
    : (Kind as Float32ArrayConstructor).from(values);
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dataType: elements[type].code, dims, rawData };
}
