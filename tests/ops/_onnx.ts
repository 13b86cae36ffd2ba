// As much of ONNX's files as its tests of operators need: protobuf, nodes and tensors.
import { type DeviceName, type DType, type Tensor, tensor } from "../../mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A protobuf message: what its fields have, by their numbers. */
export class Message {
  readonly #fields = new Map<number, (number | Bytes)[]>();

  constructor(bytes: Bytes) {
    const varint = varints(bytes);
    while (varint.at < bytes.length) {
      const key = varint.next();
      const size = () => ({ 1: 8, 2: (key & 7) === 2 ? varint.next() : 0, 5: 4 })[key & 7]!;
      const value = (key & 7) === 0 ? varint.next() : bytes.slice(...varint.skip(size()));
      this.#fields.set(key >> 3, [...this.#all(key >> 3), value]);
    }
  }

  #all(field: number): (number | Bytes)[] {
    return this.#fields.get(field) ?? [];
  }

  messages(field: number): Message[] {
    return this.bytes(field).map((bytes) => new Message(bytes));
  }

  bytes(field: number): Bytes[] {
    return this.#all(field) as Bytes[];
  }

  texts(field: number): string[] {
    return this.bytes(field).map((bytes) => new TextDecoder().decode(bytes));
  }

  /** Whole numbers, packed or not. */
  integers(field: number): number[] {
    return this.#all(field).flatMap((value) => {
      if (typeof value === "number") return [value];
      const [varint, list]: [ReturnType<typeof varints>, number[]] = [varints(value), []];
      while (varint.at < value.length) list.push(varint.next());
      return list;
    });
  }

  /** Numbers of four bytes, packed or not. */
  floats(field: number): number[] {
    return this.bytes(field).flatMap(({ buffer }) => [...new Float32Array(buffer)]);
  }
}

// Goes through bytes; next() reads a number of up to 64 bits with a sign.
function varints(bytes: Bytes) {
  return {
    at: 0,
    next() {
      for (let value = 0n, shift = 0n;; shift += 7n) {
        const byte = bytes[this.at++]!;
        value |= BigInt(byte & 127) << shift;
        if (byte < 128) return Number(BigInt.asIntN(64, value));
      }
    },
    skip(size: number): [number, number] {
      return [this.at, this.at += size];
    },
  };
}

/** What an attribute says: a number, a text, or numbers. */
export type Attribute = number | string | number[];

export interface Node {
  kind: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, Attribute>;
}

// By ONNX's numbers; int64 becomes int32.
const kinds: Record<number, [DType, new (bytes: ArrayBuffer) => ArrayLike<number | bigint>]> = {
  1: ["float32", Float32Array],
  2: ["uint8", Uint8Array],
  6: ["int32", Int32Array],
  7: ["int32", BigInt64Array],
  11: ["float64", Float64Array],
};

/** The tensor of a TensorProto. */
export function tensorOf(message: Message, device: DeviceName): Tensor {
  const [dtype, array] = kinds[message.integers(2)[0]!]!;
  const raw = message.bytes(9)[0];
  const numbers = raw
    ? Array.from(new array(raw.buffer), Number)
    : [...message.floats(4), ...message.integers(5), ...message.integers(7)];
  return tensor(numbers, { shape: message.integers(1), dtype, device });
}

function nodeOf(node: Message): Node {
  const attributes = node.messages(5).map((a): [string, Attribute] => {
    const values: Record<number, Attribute | undefined> = {
      ...{ 2: a.integers(3)[0], 7: a.integers(8), 6: a.floats(7), 1: a.floats(2)[0] },
      3: a.texts(4)[0],
    };
    return [a.texts(1)[0]!, values[a.integers(20)[0]!] ?? 0];
  });
  return {
    ...{ kind: node.texts(4)[0]!, inputs: node.texts(1), outputs: node.texts(2) },
    attributes: Object.fromEntries(attributes),
  };
}

/** The graph of a ModelProto; its constants are tensors by name. */
export function graphOf(bytes: Bytes, device: DeviceName) {
  const graph = new Message(bytes).messages(7)[0]!;
  const values = graph.messages(5).map((x) => [x.texts(8)[0]!, tensorOf(x, device)] as const);
  const constants = new Map(values);
  const names = (field: number) => graph.messages(field).map((value) => value.texts(1)[0]!);
  const inputs = names(11).filter((name) => !constants.has(name));
  return { nodes: graph.messages(1).map(nodeOf), constants, inputs, outputs: names(12) };
}
