// The messages of onnx.proto that are read and written, described once: a message's fields by name,
// each with its number and kind, `[]` for repeated ones. The types follow from the table.

/** Fields by message. Numbers and meanings are those of onnx.proto, names are in camelCase. */
export const messages = {
  Model: {
    irVersion: [1, "int"],
    opsetImport: [8, "OperatorSetId[]"],
    producerName: [2, "string"],
    producerVersion: [3, "string"],
    graph: [7, "Graph"],
    metadataProps: [14, "StringStringEntry[]"],
    functions: [25, "Function[]"],
  },
  OperatorSetId: { domain: [1, "string"], version: [2, "int"] },
  StringStringEntry: { key: [1, "string"], value: [2, "string"] },
  Graph: {
    node: [1, "Node[]"],
    name: [2, "string"],
    initializer: [5, "Tensor[]"],
    sparseInitializer: [15, "bytes[]"],
    input: [11, "ValueInfo[]"],
    output: [12, "ValueInfo[]"],
    valueInfo: [13, "ValueInfo[]"],
  },
  Node: {
    input: [1, "string[]"],
    output: [2, "string[]"],
    name: [3, "string"],
    opType: [4, "string"],
    domain: [7, "string"],
    overload: [8, "string"],
    attribute: [5, "Attribute[]"],
  },
  Attribute: {
    name: [1, "string"],
    refAttrName: [21, "string"],
    type: [20, "int"],
    f: [2, "float"],
    i: [3, "int"],
    s: [4, "bytes"],
    t: [5, "Tensor"],
    g: [6, "Graph"],
    floats: [7, "float[]"],
    ints: [8, "int[]"],
    strings: [9, "bytes[]"],
    tensors: [10, "Tensor[]"],
    graphs: [11, "Graph[]"],
  },
  Tensor: {
    dims: [1, "int[]"],
    dataType: [2, "int"],
    floatData: [4, "float[]"],
    int32Data: [5, "int[]"],
    int64Data: [7, "int[]"],
    name: [8, "string"],
    rawData: [9, "bytes"],
    externalData: [13, "StringStringEntry[]"],
    dataLocation: [14, "int"],
    doubleData: [10, "double[]"],
    uint64Data: [11, "uint[]"],
  },
  ValueInfo: { name: [1, "string"], type: [2, "Type"] },
  Type: {
    tensorType: [1, "TensorType"],
    sequenceType: [4, "bytes"],
    mapType: [5, "bytes"],
    sparseTensorType: [8, "bytes"],
    optionalType: [9, "bytes"],
  },
  TensorType: { elemType: [1, "int"], shape: [2, "TensorShape"] },
  TensorShape: { dim: [1, "Dimension[]"] },
  Dimension: { dimValue: [1, "int"], dimParam: [2, "string"] },
  Function: {
    name: [1, "string"],
    input: [4, "string[]"],
    output: [5, "string[]"],
    attribute: [6, "string[]"],
    attributeProto: [11, "Attribute[]"],
    node: [7, "Node[]"],
    opsetImport: [9, "OperatorSetId[]"],
    domain: [10, "string"],
    overload: [13, "string"],
  },
} as const;

/** The name of a message. */
export type MessageName = keyof typeof messages;

// deno-fmt-ignore
type One<K, Whole extends boolean> = K extends "int" | "uint" | "float" | "double" ? number
  : K extends "string" ? string
  : K extends "bytes" ? Uint8Array
  : K extends MessageName ? (Whole extends true ? Message<K> : Draft<K>)
  : never;

/** A message as it is read: repeated fields are there, if empty. */
export type Message<M extends MessageName> = {
  -readonly [F in keyof typeof messages[M]]: typeof messages[M][F] extends
    readonly [number, infer K]
    ? K extends `${infer E}[]` ? One<E, true>[] : One<K, true> | undefined
    : never;
};

/** A message to be written: what is left out is not written. */
export type Draft<M extends MessageName> = {
  -readonly [F in keyof typeof messages[M]]?: typeof messages[M][F] extends
    readonly [number, infer K]
    ? (K extends `${infer E}[]` ? ArrayLike<One<E, false>> : One<K, false>) | undefined
    : never;
};

/** The wire type of an element alone: 0 varint, 1 and 5 fixed, 2 with a length. */
export function wireType(kind: string): number {
  return { int: 0, uint: 0, double: 1, float: 5 }[kind] ?? 2;
}

/** A field as the reader and the writer use it. */
export interface Field {
  readonly name: string;
  readonly number: number;
  /** The kind of one element. */
  readonly kind: string;
  readonly repeated: boolean;
}

/** Each message's fields, in the order in which they are written. */
export const fieldsOf: ReadonlyMap<string, readonly Field[]> = new Map(
  Object.entries(messages).map(([message, fields]) => [
    message,
    Object.entries(fields as Record<string, readonly [number, string]>).map(
      ([name, [number, kind]]) => ({
        name,
        number,
        kind: kind.replace("[]", ""),
        repeated: kind.endsWith("[]"),
      }),
    ),
  ]),
);
