import { traced } from "../native/arguments.ts";
import { call } from "../native/call.ts";
import { debugging } from "../native/environment.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { allocate } from "./allocate.ts";
import { parametersChanged } from "./autocast.ts";
import { checkGradDType, record } from "./autograd.ts";
import { backward } from "./backward.ts";
import type { Backend, DeviceName } from "./backend.ts";
import { convert } from "./convert.ts";
import { checkValue, type DataOf, type DType, dtypeInfo } from "./dtype.ts";
import type { Memory } from "./elements.ts";
import { formatValue } from "./describe.ts";
import { checkFormat, type MemoryFormat, writeFlat } from "./layout.ts";
import type { BackwardOptions, Differentiable, Node } from "./node.ts";
import { refuse } from "./options.ts";
import { printed } from "./print.ts";
import { disposedError, lineOf, own, ownedMark, placeOf, type Scope } from "./scope.ts";
import { checkShape, formatShape, sameShape, type Shape, sizeOf } from "./shape.ts";
import { read, readAsync, write, writeAsync } from "./transfer.ts";

const out = new Uint32Array(1);

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
      [Symbol.for("Deno.customInspect")]: { value: this.prototype.toString },
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
      if (this.format === "contiguous") return this;
      return { handle: this.#live(), backend: this.backend, of: this };
    }
    const copy = this.make(this.shape, this.dtype, format);
    convert(this, copy);
    const memory = { handle: copy.#handle, backend: this.backend, of: copy };
    call("cdn_freeze", memory);
    return memory;
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
   * The same memory from element `offset` on, as another tensor; for all elements in another shape
   * there is reshape(). Of a tensor in another format than contiguous it is a copy, which can only
   * be read.
   */
  view(offset: number, shape: Shape): this {
    return record<this>(this.part(offset, shape), "view", [this], (grad) => {
      const whole = grad.make(this.shape).fill(0);
      using place = whole.part(offset, shape);
      place.copyFrom(grad);
      return [record(whole, "view", [grad], (g) => [g.view(offset, shape)])];
    });
  }

  /**
   * As {@linkcode view}, but not recorded.
   *
   * @ignore
   */
  part(offset: number, shape: Shape): this {
    const bytes = dtypeInfo(this.dtype).bytes;
    if (typeof offset !== "number" || !Array.isArray(shape)) {
      throw new ArgumentError(
        `view: the arguments are ${formatValue(offset)} and ${formatValue(shape)}; the first one ` +
          "must be an offset, the element to start at, and the second the shape: " +
          "view(0, [2, 3]). For all elements in another shape there is reshape()",
      );
    }
    checkShape("view", shape);
    const size = sizeOf(shape);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + size > this.size) {
      throw new ShapeError(
        `view: ${size} elements from ${
          formatValue(offset)
        } on are outside the tensor's ${this.size}`,
      );
    }
    return this.#viewed(this.stored("contiguous"), offset * bytes, size * bytes, shape);
  }

  #viewed(memory: Memory, at: number, bytes: number, shape: Shape, format?: MemoryFormat): this {
    call("cdn_view", out, memory, at, bytes);
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
    const { size, dtype, shape, format } = this;
    return this.#viewed(this.stored(format), 0, size * dtypeInfo(dtype).bytes, shape, format);
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
    call("cdn_fill", this.stored(this.format), this.size, value, this.code);
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
    const { format } = this;
    const sum = this.make(this.shape, this.dtype, format);
    const [to, from, addend] = [sum.stored(format), this.stored(format), other.stored(format)];
    call("cdn_add", to, from, addend, writeFlat(this.size), 1, 0, this.code);
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
    if (
      this.shared || this.requiresGrad || this.dtype !== gradient.dtype ||
      !sameShape(this.shape, gradient.shape)
    ) {
      return false;
    }
    const [to, from] = [this.stored(this.format), gradient.stored(this.format)];
    call("cdn_add", to, to, from, writeFlat(this.size), 1, 0, this.code);
    return true;
  }

  /**
   * Overwrites the elements with those of a typed array of this dtype, or of a tensor of this shape
   * and dtype on the same device. What was recorded of the old values is not told.
   */
  copyFrom(source: ArrayBufferView | TensorBase): this {
    if (!(source instanceof TensorBase)) write(this, source);
    else if (
      source.dtype !== this.dtype || source.backend !== this.backend ||
      !sameShape(source.shape, this.shape)
    ) {
      throw new ShapeError(
        `copyFrom: the source is ${source.dtype} ${
          formatShape(source.shape)
        } on ${source.device}; ` +
          `wanted is ${this.dtype} ${formatShape(this.shape)} on ${this.device}`,
      );
    } else if (source === this) return this;
    else convert(source, this);
    this.#changed();
    return this;
  }

  // A view may be of a parameter.
  #changed(): void {
    if (this.#requiresGrad || this.#shared) parametersChanged();
  }

  /**
   * As copyFrom() a typed array, which must not change meanwhile; the event loop goes on. Throws an
   * ArgumentError when the array's buffer is transferred or shrunk before the end: part of the
   * elements are overwritten then.
   */
  async copyFromAsync(source: ArrayBufferView): Promise<this> {
    await writeAsync(this, source);
    this.#changed();
    return this;
  }

  /**
   * The elements, in row-major order, once the device has computed them; the event loop goes on
   * meanwhile. What kind of typed array it is goes by the dtype: `x.data<"float32">()` tells
   * TypeScript.
   */
  data<D extends DType = DType>(): Promise<DataOf<D>> {
    return readAsync(this);
  }

  /** As {@linkcode data}, but waits here. */
  dataSync<D extends DType = DType>(): DataOf<D> {
    return read(this);
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
    traced?.("cdn_free", [handle]);
    this.backend.check(this.backend.functions.cdn_free(handle));
  }

  /**
   * What console.log shows: shape, dtype, device, whether it has gradients, and the elements as
   * PyTorch shows them, rounded to 4 decimals; of more than 1000 only the three at each end of each
   * axis, which is all that is read.
   */
  toString(): string {
    return printed(this);
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
