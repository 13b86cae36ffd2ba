import { checkShape, formatShape, type Shape, sizeOf } from "../core/shape.ts";
import { type DType, dtypeInfo, dtypeOf } from "../core/dtype.ts";
import { keep } from "../core/scope.ts";
import type { MemoryFormat } from "../core/layout.ts";
import type { DeviceName } from "../core/backend.ts";
import { tensor } from "../create.ts";
import { DTypeError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { elements, type ElementType, type HostData } from "./_elements.ts";

/** Up to how many elements operators compute on the host what is there. */
export const hostLimit = 1024;

/** Where a model computes, and the tensors that live as long as it does. */
export class Place {
  readonly device: DeviceName | undefined;
  /** What float32 of the file is computed in. */
  readonly float: DType;
  /** Tensors of constants, which are not freed during a run. */
  readonly kept: Set<Tensor> = new Set();

  /** Makes one. */
  constructor(device: DeviceName | undefined, float: DType) {
    [this.device, this.float] = [device, float];
  }

  /** The dtype of a tensor of such elements. */
  dtype(type: ElementType): DType {
    const dtype = type === "float32" ? this.float : elements[type].dtype;
    if (!dtype) throw new DTypeError(`tensors of ${type} are not supported`);
    return dtype;
  }

  /** What a tensor's elements are called where nothing else is known. */
  typeOf(dtype: DType): ElementType {
    return dtype === this.float ? "float32" : dtype;
  }

  /** Frees what is kept. */
  dispose(): void {
    for (const x of this.kept) x.dispose();
    this.kept.clear();
  }
}

/**
 * A value of a graph: its ONNX element type and shape, and the elements as a tensor on the device,
 * on the host, or both. Each is made of the other when it is asked for.
 *
 * Shape arithmetic stays on the host, where int64 are plain numbers, exact to 2^53; as tensors they
 * are int32.
 */
export class Value {
  /** Is told of each value whose elements an operator reads on the host. */
  static reading: ((value: Value) => void) | undefined;

  readonly type: ElementType;
  readonly shape: Shape;
  /** Of a sequence its values. */
  readonly items: readonly Value[] | undefined;
  readonly #place: Place;
  #data: HostData | (() => HostData) | undefined;
  #tensor: Tensor | undefined;
  #constant: boolean;

  private constructor(
    place: Place,
    type: ElementType,
    shape: Shape,
    data: HostData | (() => HostData) | undefined,
    tensor: Tensor | undefined,
    constant: boolean,
    items?: readonly Value[],
  ) {
    [this.#place, this.type, this.shape, this.items] = [place, type, shape, items];
    [this.#data, this.#tensor, this.#constant] = [data, tensor, constant];
  }

  /** A value on the host. */
  static host(place: Place, type: ElementType, shape: Shape, data: HostData): Value {
    if (checkShape("onnx", shape) !== data.length) {
      throw new ShapeError(`${data.length} elements are not those of ${formatShape(shape)}`);
    }
    return new Value(place, type, shape, data, undefined, false);
  }

  /** A value on the device. */
  static device(place: Place, type: ElementType, x: Tensor): Value {
    return new Value(place, type, x.shape, undefined, x, false);
  }

  /** A constant of the model, decoded when it is first used. */
  static constant(place: Place, type: ElementType, shape: Shape, read: () => HostData): Value {
    return new Value(place, type, shape, read, undefined, true);
  }

  /** A sequence of values, of which operators for sequences know. */
  static sequence(place: Place, type: ElementType, items: readonly Value[]): Value {
    return new Value(place, type, [items.length], undefined, undefined, false, items);
  }

  /** How many elements it has. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Whether it is there on the host. */
  get onHost(): boolean {
    return this.#data !== undefined;
  }

  /** Whether it is there on the host, and small enough for operators to compute there. */
  get small(): boolean {
    return this.onHost && this.size <= hostLimit;
  }

  /** The tensors that are there already: its own, or those of a sequence. */
  get tensors(): readonly Tensor[] {
    if (this.items) return this.items.flatMap(({ tensors }) => tensors);
    return this.#tensor && !this.#tensor.disposed ? [this.#tensor] : [];
  }

  /** Whether it lives as long as the model. */
  get constant(): boolean {
    return this.#constant;
  }

  /** Keeps the value as long as the model. */
  persist(): this {
    this.#constant = true;
    for (const x of this.tensors) if (!this.#place.kept.has(x)) this.#place.kept.add(keep(x));
    return this;
  }

  /** The elements in row-major order, read back from the device where they are not on the host. */
  numbers(): HostData {
    Value.reading?.(this);
    return this.#read();
  }

  #read(): HostData {
    if (this.items) throw new DTypeError("found a sequence where a tensor is wanted");
    const data = typeof this.#data === "function" ? this.#data() : this.#data;
    return this.#data = data ?? this.#tensor!.dataSync();
  }

  /**
   * The elements as a tensor; of integers that do not fit int32 a DTypeError. A constant that is
   * first asked for in a memory format stays in it.
   */
  tensor(format: MemoryFormat = "contiguous"): Tensor {
    if (this.#tensor && !this.#tensor.disposed) return this.#tensor;
    const dtype = this.#place.dtype(this.type);
    const { device } = this.#place;
    const data = this.#read();
    const fits = dtypeOf(data) === dtypeInfo(dtype).host;
    const x = tensor(fits ? data : hostArray(data, dtype, this.type), {
      shape: this.shape,
      dtype,
      device,
    }).to({ format: this.#constant && this.shape.length === 4 ? format : "contiguous" });
    this.#tensor = x;
    if (this.#constant) {
      this.#place.kept.add(keep(x));
      if (this.size > hostLimit) this.#data = undefined; // is on the device now
    }
    return x;
  }
}

function hostArray(data: HostData, dtype: DType, type: ElementType): HostData {
  const made = dtypeInfo(dtypeInfo(dtype).host).make(data.length);
  for (let i = 0; i < data.length; i++) made[i] = data[i]!;
  if (elements[type].float) return made;
  for (let i = 0; i < data.length; i++) {
    if (made[i] === data[i]) continue;
    throw new DTypeError(
      `found ${data[i]} among ${type}, which on the device are ${dtype} and do not reach that far`,
    );
  }
  return made;
}
