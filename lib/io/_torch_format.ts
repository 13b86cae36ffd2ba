// What torch.save() writes of tensors: how its pickles speak of them, and where they lie in their
// storages. Nothing here makes a tensor.
import { Global, type PickleContext, unpickle } from "./_pickle.ts";

/** A tensor as the file has it: a view of a storage. */
export class TorchTensor {
  /** The record of its storage. */
  readonly key: string;
  /** The type, by safetensors' name. */
  readonly type: string;
  /** Bytes of an element. */
  readonly width: number;
  /** Elements of the storage before its first. */
  readonly offset: number;
  /** Its sizes. */
  readonly shape: readonly number[];
  /** Elements of the storage from one to the next, along each axis. */
  readonly strides: readonly number[];
  /** How many elements it has. */
  readonly size: number;
  /** Elements of the storage from its first to after its last. */
  readonly span: number;

  constructor(storage: Storage, type: Type, offset: number, shape: number[], strides: number[]) {
    [this.key, this.type, this.width] = [storage.key, type.name, type.width];
    [this.offset, this.shape, this.strides] = [offset, shape, strides];
    this.size = shape.reduce((product, n) => product * n, 1);
    this.span = this.size === 0
      ? 0
      : shape.reduce((last, n, axis) => last + (n - 1) * strides[axis]!, 1);
  }

  /** Whether its elements lie one after another. */
  get contiguous(): boolean {
    let step = 1;
    return this.shape.toReversed().every((n, i) => {
      const fits = n === 1 || this.strides.at(-1 - i) === step;
      step *= n;
      return fits;
    }) || this.size === 0;
  }

  /** Its elements in row-major order, by the bytes of its span. */
  gather(from: Uint8Array): Uint8Array {
    const { shape, strides, width, size } = this;
    const to = new Uint8Array(size * width);
    const index = shape.map(() => 0);
    let place = 0;
    for (let i = 0; i < size; i++) {
      for (let byte = 0; byte < width; byte++) to[i * width + byte] = from[place * width + byte]!;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        place += strides[axis]!;
        if (++index[axis]! < shape[axis]!) break;
        place -= shape[axis]! * strides[axis]!;
        index[axis] = 0;
      }
    }
    return to;
  }
}

// Of elements: safetensors' name, and the bytes of one.
interface Type {
  name: string;
  width: number;
}

interface Storage {
  key: string;
  /** None for one of bytes. */
  type: Type | undefined;
  /** How many elements, or bytes. */
  count: number;
}

// PyTorch's names of dtypes and of their storages.
const types: [dtype: string, storage: string, name: string, width: number][] = [
  ["float32", "FloatStorage", "F32", 4],
  ["float64", "DoubleStorage", "F64", 8],
  ["float16", "HalfStorage", "F16", 2],
  ["bfloat16", "BFloat16Storage", "BF16", 2],
  ["int64", "LongStorage", "I64", 8],
  ["int32", "IntStorage", "I32", 4],
  ["int16", "ShortStorage", "I16", 2],
  ["int8", "CharStorage", "I8", 1],
  ["uint8", "ByteStorage", "U8", 1],
  ["bool", "BoolStorage", "BOOL", 1],
  ["complex64", "ComplexFloatStorage", "C64", 8],
  ["complex128", "ComplexDoubleStorage", "C128", 16],
  ["uint16", "", "U16", 2],
  ["uint32", "", "U32", 4],
  ["uint64", "", "U64", 8],
  ["float8_e4m3fn", "", "F8_E4M3", 1],
  ["float8_e5m2", "", "F8_E5M2", 1],
  ["float8_e4m3fnuz", "", "F8_E4M3FNUZ", 1],
  ["float8_e5m2fnuz", "", "F8_E5M2FNUZ", 1],
  ["float8_e8m0fnu", "", "F8_E8M0", 1],
];
const typeOf = new Map<string, Type>(
  types.flatMap(([dtype, storage, name, width]) =>
    [dtype, storage || dtype].map((key) => [`torch.${key}`, { name, width }] as const)
  ),
);

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
const areCounts = (list: unknown): list is number[] => Array.isArray(list) && list.every(isCount);

/** The value that a file's pickle holds, tensors as {@linkcode TorchTensor}s. */
export function readTorchPickle(bytes: Uint8Array, fault: PickleContext["fault"]): unknown {
  const storages = new WeakSet<object>();
  const tensor = (
    storage: unknown,
    offset: unknown,
    shape: unknown,
    strides: unknown,
    type?: Type,
  ) => {
    if (typeof storage !== "object" || storage === null || !storages.has(storage)) {
      throw fault("a tensor has no storage");
    }
    const { key, type: own, count } = storage as Storage;
    const known = type ?? own;
    const fits = isCount(offset) && areCounts(shape) && areCounts(strides) &&
      shape.length === strides.length;
    if (!known || !fits) throw fault(`a tensor of storage ${show(key)} has no valid place in it`);
    const x = new TorchTensor(storage as Storage, known, offset, shape, strides);
    if (!Number.isSafeInteger(x.size * x.width)) throw fault(`a tensor's size overflows`);
    const room = own ? count : Math.floor(count / known.width);
    if (x.size > 0 && !(offset + x.span <= room)) {
      throw fault(`a tensor reaches beyond the ${room} elements of its storage ${show(key)}`);
    }
    return x;
  };
  const plain = (metadata: unknown) => {
    const empty = metadata === undefined || metadata === null ||
      (metadata instanceof Map && metadata.size === 0);
    if (!empty) throw fault("a tensor is negated or conjugated lazily; save x.resolve_neg()");
  };
  const rebuild = new Map<string, (...args: unknown[]) => unknown>([
    [
      "torch._utils._rebuild_tensor",
      (...[s, offset, shape, strides]) => tensor(s, offset, shape, strides),
    ],
    ["torch._utils._rebuild_tensor_v2", (...[s, offset, shape, strides, , , metadata]) => {
      plain(metadata);
      return tensor(s, offset, shape, strides);
    }],
    ["torch._utils._rebuild_tensor_v3", (...[s, offset, shape, strides, , , dtype, metadata]) => {
      plain(metadata);
      const type = dtype instanceof Global ? typeOf.get(dtype.name) : undefined;
      return tensor(s, offset, shape, strides, type);
    }],
    ["torch._utils._rebuild_parameter", (x) => x],
    ["torch._utils._rebuild_parameter_with_state", (x) => x],
    ["torch._tensor._rebuild_from_type_v2", (make, _type, args) => {
      if (make instanceof Global && rebuild.has(make.name) && Array.isArray(args)) {
        return make.call!(...args);
      }
      throw fault("a tensor is made by what is not known here");
    }],
    ["collections.OrderedDict", (pairs = []) => {
      const all = Array.isArray(pairs) ? pairs : [undefined];
      if (!all.every((pair) => Array.isArray(pair) && pair.length === 2)) {
        throw fault("an OrderedDict is made of what is no pairs");
      }
      return new Map(all as [unknown, unknown][]);
    }],
    ["torch.Size", (sizes) => sizes],
    ["torch.device", (...args) => args],
    ["_codecs.encode", (text) => text],
  ]);
  for (const module of ["builtins", "__builtin__"]) {
    for (const name of ["set", "frozenset"]) {
      rebuild.set(`${module}.${name}`, (list = []) => new Set(Array.isArray(list) ? list : []));
    }
  }
  const named = ["torch.Tensor", "torch.nn.parameter.Parameter", "torch.storage.UntypedStorage"];
  return unpickle(bytes, {
    fault,
    find(name) {
      const call = rebuild.get(name);
      if (call) return new Global(name, call);
      return typeOf.has(name) || named.includes(name) ? new Global(name) : undefined;
    },
    persistent(id) {
      const [kind, type, key, , count] = Array.isArray(id) ? id : [];
      const valid = kind === "storage" && type instanceof Global && typeof key === "string" &&
        isCount(count);
      if (!valid) throw fault("it refers to what is no storage");
      const storage: Storage = { key, type: typeOf.get(type.name), count };
      storages.add(storage);
      return storage;
    },
    buildable: (value) => value instanceof Map || value instanceof TorchTensor,
  });
}

function show(key: string): string {
  return JSON.stringify(key.slice(0, 40));
}

const maxDepth = 100;

/**
 * The tensors in a value, by the way to them: `optimizer.state.0.exp_avg`; a lone one is `tensor`.
 * What holds itself, or the same many times, is refused after as many steps as are given.
 */
export function tensorsIn(
  value: unknown,
  steps: number,
  fault: PickleContext["fault"],
): Map<string, TorchTensor> {
  const found = new Map<string, TorchTensor>();
  const visit = (item: unknown, path: string, depth: number) => {
    if (--steps < 0 || depth > maxDepth) throw fault("its dicts and lists hold themselves");
    if (item instanceof TorchTensor) {
      const name = path.slice(1) || "tensor";
      if (found.has(name)) throw fault(`two tensors are called ${show(name)}; choose by key`);
      found.set(name, item);
    } else if (item instanceof Map || Array.isArray(item)) {
      for (const [key, inner] of item.entries()) {
        if (inner === null || typeof inner !== "object") continue;
        const named = ["string", "number", "bigint", "boolean"].includes(typeof key);
        if (!named) throw fault(`a dict within ${show(path)} has a key that is no text or number`);
        visit(inner, `${path}.${key}`, depth + 1);
      }
    }
  };
  visit(value, "", 0);
  return found;
}
