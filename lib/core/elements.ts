// Types alone, so that what moves and shows elements, and tensors, which use it, need not know one
// another.
import type { Backend, DeviceName } from "./backend.ts";
import type { DType } from "./dtype.ts";
import type { MemoryFormat } from "./layout.ts";
import type { Shape } from "./shape.ts";

/** A tensor as calls of the library take it. */
export interface Memory {
  /** What the library knows it by. */
  readonly handle: number;
  /** The device as operations see it. */
  readonly backend: Backend;
  /** The tensor, where this is none. */
  readonly of?: object;
}

/** A tensor as what moves and shows its elements sees it. */
export interface Elements extends Disposable {
  readonly shape: Shape;
  readonly dtype: DType;
  /** The dtype as the library numbers it. */
  readonly code: number;
  readonly format: MemoryFormat;
  readonly size: number;
  readonly backend: Backend;
  readonly device: DeviceName;
  readonly disposed: boolean;
  readonly requiresGrad: boolean;
  /** Made by which operation, when gradients go back through it. */
  readonly node: { readonly name: string } | null;
  /** What the library knows it by, in row-major order. */
  readonly handle: number;
  /** The memory in a format. */
  stored(format: MemoryFormat): Memory;
  /** An uninitialised tensor of the same class on the same device. */
  make(shape: Shape, dtype?: DType, format?: MemoryFormat): this;
  /** The same memory from an element on, as another tensor. */
  view(offset: number, shape: Shape): this;
  /** The elements, in row-major order. */
  dataSync(): ArrayLike<number> & { subarray(begin: number, end: number): ArrayLike<number> };
  dispose(): void;
}
