import { formatElements, formatValue } from "./format.ts";
import { refuse } from "./options.ts";
import { debugging } from "../native/environment.ts";
import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import { allocate } from "./allocate.ts";
import { parametersChanged } from "./autocast.ts";
import { checkGradDType, record } from "./autograd.ts";
import { backward } from "./backward.ts";
import type { Backend, DeviceName } from "./backend.ts";
import { checkValue, type DataOf, type DType, dtypeInfo, dtypeOf } from "./dtype.ts";
import { byteLengthOf, bytesOf, type HostArray, plainArray } from "./host.ts";
import { checkFormat, type MemoryFormat, writeFlat } from "./layout.ts";
import type { BackwardOptions, Differentiable, Node } from "./node.ts";
import { disposedError, lineOf, own, ownedMark, placeOf, type Scope } from "./scope.ts";
import { checkShape, formatShape, sameShape, type Shape, sizeOf } from "./shape.ts";

const out = new Uint32Array(1);

type Bytes = Uint8Array<ArrayBuffer>; // as Deno wants the memory that it passes on

/** A tensor as calls of the library take it. */
export interface Memory {
  /** What the library knows it by. */
  readonly handle: number;
  /** The device as operations see it. */
  readonly backend: Backend;
}

/**
 * A tensor without its operations: memory, reading and writing, lifetime, and its place on the
 * tape. lib/tensor.ts adds the methods that compute.
 */
export abstract class TensorBase implements Differentiable, Disposable {
  /** The extents, outermost first; `[]` is a single number. */
  readonly shape: Shape;
  /** The type of the elements. */
  readonly dtype: DType;
  /** The order in which the elements lie in memory, which is all that it changes. */
  readonly format: MemoryFormat;
  /** The number of elements. */
  readonly size: number;
  /** The dtype as the library numbers it. */
  readonly code: number;
  /** The device as operations see it. */
  readonly backend: Backend;
  /** How it was made, when a gradient has to go back there; null for a leaf. */
  node: Node | null = null;
  /** The gradient that backward() has added up; only leaves have one. */
  grad: this | null = null;
  /**
   * The scope that frees it, if there is one.
   *
   * @ignore
   */
  owner: Scope | undefined = undefined;

  #requiresGrad = false;
  #shared = false;
  #watched = false;
  #handle: number;
  #disposedAt: Error | undefined;

  /** Takes over `handle`. Tensors are made by tensor(), zeros(), rand() and the like. */
  constructor(
    backend: Backend,
    shape: Shape,
    dtype: DType,
    handle: number,
    format: MemoryFormat = "contiguous",
  ) {
    if (!Array.isArray(shape)) {
      throw new ArgumentError("Tensor: make one with tensor(), zeros(), rand() and the like");
    }
    this.backend = backend;
    this.shape = Object.isFrozen(shape) ? shape : Object.freeze([...shape]);
    this.dtype = dtype;
    this.format = format;
    this.size = sizeOf(shape);
    this.code = dtypeInfo(dtype).code;
    this.#handle = handle;
    own(this);
  }

  /**
   * Frees the memory when the tensor is collected. One that a scope is sure to free needs it not,
   * and it costs.
   *
   * @ignore
   */
  watch(): void {
    if (this.#watched || this.#handle === 0) return;
    this.#watched = true;
    const handle = this.#handle, { dtype, shape } = this;
    const what = debugging()
      ? `a ${dtype} tensor of shape ${formatShape(shape)}, made ${lineOf(placeOf("", 30)) ?? ""},`
      : "";
    this.backend.forgotten.register(this, what ? { handle, what } : handle, this);
  }

  // The names of methods have to be plain for an importer's isolatedDeclarations.
  static {
    Object.defineProperties(this.prototype, {
      [ownedMark]: { value: true },
      [Symbol.for("Deno.customInspect")]: {
        value(this: TensorBase): string {
          return `${this}`;
        },
      },
    });
  }

  /** The number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Where the memory is: `"cpu"`, `"cuda:0"`. */
  get device(): DeviceName {
    return this.backend.device;
  }

  /** Whether operations on this tensor are recorded for backward(). */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  set requiresGrad(value: boolean) {
    if (value) checkGradDType("requiresGrad", this);
    this.#requiresGrad = value;
  }

  /** Whether the memory is gone. */
  get disposed(): boolean {
    return this.#handle === 0;
  }

  /**
   * The native handle, of elements in row-major order: where the tensor has another format, of a
   * copy, which is freed as other tensors are. The library refuses to write to that. Throws a
   * DisposedError when the memory is gone.
   */
  get handle(): number {
    return this.format === "contiguous" ? this.#live() : this.stored("contiguous").handle;
  }

  /**
   * The memory in a format, for operations that know of formats: the tensor's own, or a copy that
   * can only be read.
   *
   * @ignore
   */
  stored(format: MemoryFormat): Memory {
    if (format === this.format || (this.rank === 4 && sameInBoth(this.shape))) {
      return this.format === "contiguous" ? this : { handle: this.#live(), backend: this.backend };
    }
    const { backend } = this;
    const copy = this.make(this.shape, this.dtype, format);
    this.#convertInto(copy);
    backend.check(backend.functions.cdn_freeze(copy.#handle));
    return { handle: copy.#handle, backend };
  }

  #live(): number {
    if (this.#handle === 0) {
      throw disposedError(
        `A ${this.dtype} tensor of shape ${formatShape(this.shape)}`,
        this.#disposedAt,
      );
    }
    return this.#handle;
  }

  /** An uninitialised tensor of the same class on the same device. */
  make(shape: Shape, dtype: DType = this.dtype, format: MemoryFormat = "contiguous"): this {
    if (format !== "contiguous") checkFormat("make", format, shape);
    return this.#sibling(shape, dtype, allocate(this.backend, shape, dtype), format);
  }

  /**
   * The same memory from element `offset` on, as another tensor. Not recorded. Of a tensor in
   * another format than contiguous it is a copy, which can only be read.
   */
  view(offset: number, shape: Shape): this {
    const bytes = dtypeInfo(this.dtype).bytes;
    checkShape("view", shape);
    const size = sizeOf(shape);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + size > this.size) {
      throw new ShapeError(
        `view: ${size} elements from ${
          formatValue(offset)
        } on are outside the tensor's ${this.size}`,
      );
    }
    return this.#viewed(this.handle, BigInt(offset * bytes), BigInt(size * bytes), shape);
  }

  #viewed(handle: number, at: bigint, bytes: bigint, shape: Shape, format?: MemoryFormat): this {
    const { backend } = this;
    backend.check(backend.functions.cdn_view(out, handle, at, bytes));
    const viewed = this.#sibling(shape, this.dtype, out[0]!, format);
    this.#shared = viewed.#shared = true;
    return viewed;
  }

  /** Whether another tensor has, or has had, this memory too. */
  get shared(): boolean {
    return this.#shared;
  }

  /** The same memory and shape under a handle of its own. Not recorded. */
  alias(): this {
    const bytes = BigInt(this.size * dtypeInfo(this.dtype).bytes);
    return this.#viewed(this.#live(), 0n, bytes, this.shape, this.format);
  }

  #sibling(shape: Shape, dtype: DType, handle: number, format?: MemoryFormat): this {
    const Class = this.constructor as new (
      backend: Backend,
      shape: Shape,
      dtype: DType,
      handle: number,
      format?: MemoryFormat,
    ) => this;
    return new Class(this.backend, shape, dtype, handle, format);
  }

  /** Sets every element. */
  fill(value: number): this {
    checkValue("fill", value, this.dtype);
    const { backend } = this;
    backend.check(backend.functions.cdn_fill(this.#live(), BigInt(this.size), value, this.code));
    this.#changed();
    return this;
  }

  /**
   * The sum with a tensor of the same shape and dtype: what the tape adds gradients with.
   *
   * @ignore
   */
  plus(other: this): this {
    if (!(other instanceof TensorBase)) refuse("plus", "the other", other, "a tensor");
    if (other.dtype !== this.dtype || !sameShape(other.shape, this.shape)) {
      throw new ShapeError(
        `plus: ${other.dtype} ${formatShape(other.shape)} is not like ${this.dtype} ${
          formatShape(this.shape)
        }`,
      );
    }
    const { backend, format } = this;
    const sum = this.make(this.shape, this.dtype, format);
    const addend = other.stored(format).handle;
    const at = writeFlat(this.size);
    backend.check(
      backend.functions.cdn_add(sum.#handle, this.#live(), addend, at, 1, 0, this.code),
    );
    return record(sum, "add", [this, other], (grad) => [grad, grad]);
  }

  /**
   * Adds a gradient to this one where it is, and a captured step finds it there: unless that is
   * memory of another tensor too.
   *
   * @ignore
   */
  accumulate(gradient: this): boolean {
    if (!(gradient instanceof TensorBase)) {
      refuse("accumulate", "the gradient", gradient, "a tensor");
    }
    const { backend, format } = this;
    if (
      this.shared || this.requiresGrad || this.dtype !== gradient.dtype ||
      !sameShape(this.shape, gradient.shape)
    ) {
      return false;
    }
    const to = this.#live(), from = gradient.stored(format).handle, at = writeFlat(this.size);
    backend.check(backend.functions.cdn_add(to, to, from, at, 1, 0, this.code));
    return true;
  }

  /**
   * Overwrites the elements with those of a typed array of this dtype, or of a tensor of this shape
   * and dtype on the same device. What was recorded of the old values is not told.
   */
  copyFrom(source: ArrayBufferView | TensorBase): this {
    const { backend } = this;
    if (source instanceof TensorBase) {
      if (
        source.dtype !== this.dtype || source.backend !== backend ||
        !sameShape(source.shape, this.shape)
      ) {
        throw new ShapeError(
          `copyFrom: the source is ${source.dtype} ${
            formatShape(source.shape)
          } on ${source.device}; ` +
            `wanted is ${this.dtype} ${formatShape(this.shape)} on ${this.device}`,
        );
      }
      if (source === this) return this;
      source.#convertInto(this);
      this.#changed();
      return this;
    }
    const data = this.#plainData("copyFrom", source);
    const carrier = this.#carrier();
    try {
      const bytes = BigInt(this.#hostBytes);
      backend.check(backend.functions.cdn_write(carrier.handle, data as Bytes, 0n, bytes));
      if (carrier !== this) carrier.#convertInto(this);
      this.#changed();
    } finally {
      if (carrier !== this) carrier.dispose();
    }
    return this;
  }

  // A view may be of a parameter.
  #changed(): void {
    if (this.#requiresGrad || this.#shared) parametersChanged();
  }

  // What is not contiguous, and bfloat16, which has no typed array, goes to and from the host by
  // way of a contiguous tensor, of float32 then.
  #carrier(): this {
    const { host } = dtypeInfo(this.dtype);
    const plain = host === this.dtype && this.format === "contiguous";
    return plain ? this : this.make(this.shape, host);
  }

  // The elements in another tensor's dtype and format, by one kernel for each that differs.
  #convertInto(target: TensorBase): void {
    const { backend, shape, code } = this;
    const { functions } = backend;
    const [to, from] = [target.#live(), this.#live()];
    const n = BigInt(this.size);
    if (this.format === target.format) {
      backend.check(
        code === target.code
          ? functions.cdn_copy(to, from, 0n, 0n, n * BigInt(dtypeInfo(this.dtype).bytes))
          : functions.cdn_cast(to, from, n, target.code, code),
      );
    } else if (code !== target.code) {
      using cast = this.make(shape, target.dtype, this.format);
      this.#convertInto(cast);
      cast.#convertInto(target);
    } else {
      const [batch, channels, pixels] = [shape[0]!, shape[1]!, shape[2]! * shape[3]!].map(BigInt);
      const [rows, cols] = this.format === "contiguous" ? [channels, pixels] : [pixels, channels];
      backend.check(functions.cdn_transpose(to, from, batch!, rows!, cols!, code));
    }
  }

  // What a read reads: this tensor, or its elements in a dtype that has a typed array.
  #readable(): this {
    const carrier = this.#carrier();
    try {
      if (carrier !== this) this.#convertInto(carrier);
      return carrier;
    } catch (error) {
      carrier.dispose();
      throw error;
    }
  }

  /**
   * As copyFrom() a typed array, which must not change meanwhile; the event loop goes on. Throws an
   * ArgumentError when the array's buffer is transferred or shrunk before the end: part of the
   * elements are overwritten then.
   */
  async copyFromAsync(source: ArrayBufferView): Promise<this> {
    const data = bytesOf("copyFromAsync", this.#plainData("copyFromAsync", source))!;
    const { backend } = this;
    const { functions } = backend;
    const bytes = this.#hostBytes;
    const carrier = this.#carrier();
    try {
      // By way of memory that only we have: the caller's may be transferred or shrunk while another
      // thread reads it.
      const most = Math.min(bytes, 1 << 22);
      const piece = new Uint8Array(most);
      for (let at = 0; at < bytes; at += most) {
        if (byteLengthOf(data) !== bytes) {
          throw new ArgumentError(
            "copyFromAsync: the array's buffer was transferred or shrunk before it was copied",
          );
        }
        const size = Math.min(most, bytes - at), count = BigInt(size);
        piece.set(data.subarray(at, at + size));
        backend.check(functions.cdn_write_begin(out, carrier.handle, BigInt(at), count));
        const ticket = out[0]!;
        await functions.wait_for_write(ticket, piece, count);
        backend.check(functions.cdn_write_end(ticket, count)); // what the wait met, too
      }
      if (carrier !== this) carrier.#convertInto(this);
      this.#changed();
    } finally {
      if (carrier !== this) carrier.dispose();
    }
    return this;
  }

  #plainData(op: string, source: ArrayBufferView): HostArray {
    const { host } = dtypeInfo(this.dtype);
    const data = plainArray(op, source);
    if (!data || dtypeOf(data) !== host) {
      throw new DTypeError(`${op}: a ${this.dtype} tensor needs the typed array of ${host}`);
    }
    const [found, wanted] = [byteLengthOf(data), this.#hostBytes];
    if (found !== wanted) {
      throw new ShapeError(`${op}: ${found} bytes were given; ${wanted} are wanted`);
    }
    return data;
  }

  // The bytes of the elements as the host holds them.
  get #hostBytes(): number {
    return this.size * dtypeInfo(dtypeInfo(this.dtype).host).bytes;
  }

  /**
   * The elements, in row-major order, once the device has computed them; the event loop goes on
   * meanwhile. What kind of typed array it is goes by the dtype: `x.data<"float32">()` tells
   * TypeScript.
   */
  async data<D extends DType = DType>(): Promise<DataOf<D>> {
    const { backend } = this;
    const data = dtypeInfo(this.dtype).make(this.size);
    const bytes = BigInt(this.#hostBytes);
    const source = this.#readable();
    try {
      backend.check(backend.functions.cdn_read_begin(out, source.handle, 0n, bytes));
    } finally {
      if (source !== this) source.dispose(); // the read has captured it
    }
    const ticket = out[0]!;
    await backend.functions.wait_for_read(ticket);
    backend.check(backend.functions.cdn_read_end(data as Bytes, ticket, bytes));
    return data as DataOf<D>;
  }

  /** As {@linkcode data}, but waits here. */
  dataSync<D extends DType = DType>(): DataOf<D> {
    const { backend } = this;
    const data = dtypeInfo(this.dtype).make(this.size);
    const source = this.#readable();
    try {
      const bytes = BigInt(this.#hostBytes);
      backend.check(backend.functions.cdn_read(data as Bytes, source.handle, 0n, bytes));
    } finally {
      if (source !== this) source.dispose();
    }
    return data as DataOf<D>;
  }

  /** The number in a tensor of one element. */
  async item(): Promise<number> {
    this.#checkSingle();
    return (await this.data())[0]!;
  }

  /** As {@linkcode item}, but waits here. */
  itemSync(): number {
    this.#checkSingle();
    return this.dataSync()[0]!;
  }

  #checkSingle(): void {
    if (this.size !== 1) {
      throw new ShapeError(
        `item: the tensor has shape ${formatShape(this.shape)}; it must have one element`,
      );
    }
  }

  /**
   * Computes the gradients of this tensor with respect to every leaf with requiresGrad that it was
   * made from, and adds them to those leaves' `grad`. A tensor of several elements needs
   * `gradient`, of its own shape.
   */
  backward(gradient?: this, options: BackwardOptions = {}): void {
    backward(this, gradient, options);
  }

  /** Frees the memory now, unless views of it are left. Disposing twice is harmless. */
  dispose(at?: Error): void {
    if (this.#handle === 0) return;
    const handle = this.#handle;
    this.#handle = 0;
    this.#disposedAt = at ?? (debugging() ? placeOf("disposed") : undefined);
    this.owner?.delete(this);
    if (this.#watched) this.backend.forgotten.unregister(this);
    this.backend.check(this.backend.functions.cdn_free(handle));
  }

  /**
   * What console.log shows: shape, dtype, device, and the elements nested, rounded to 4 decimals;
   * of a large tensor only those at the ends of each axis, which is all that is read.
   */
  toString(): string {
    const format = this.format === "contiguous" ? "" : ` ${this.format}`;
    const what = `Tensor ${formatShape(this.shape)} ${this.dtype} ${this.device}${format}`;
    if (this.disposed) return `${what}, disposed`;
    const elements = formatElements(this.shape, (offset, count) => {
      if (count === this.size || format) return this.dataSync().subarray(offset, offset + count);
      const part = this.view(offset, [count]);
      try {
        return part.dataSync();
      } finally {
        part.dispose();
      }
    });
    return `${what}${elements.includes("\n") ? "\n" : " "}${elements}`;
  }

  /**
   * What JSON.stringify() writes: shape, dtype and all elements, in row-major order; NaN and
   * infinities become null.
   */
  toJSON(): { shape: Shape; dtype: DType; data: number[] } {
    return { shape: this.shape, dtype: this.dtype, data: Array.from(this.dataSync()) };
  }

  /** `using x = …` frees x at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

// Whether the elements lie in the same order in both formats.
function sameInBoth(shape: Shape): boolean {
  return shape[1] === 1 || shape[2]! * shape[3]! === 1;
}
