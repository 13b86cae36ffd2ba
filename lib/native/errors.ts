/** The base of every error that cudeno throws; `code` names the kind for programs. */
export class CudenoError extends Error {
  /** The kind of error, for programs: `"shape"`, `"dtype"`, `"device"`, … */
  readonly code: string;

  /** Makes an error of the kind `code`. */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/**
 * An argument that no shape or dtype rule covers: an unknown option, a number out of range, NaN for
 * an integer.
 */
export class ArgumentError extends CudenoError {
  constructor(message: string, options?: ErrorOptions) {
    super("argument", message, options);
  }
}

/** Shapes that do not fit. */
export class ShapeError extends CudenoError {
  constructor(message: string) {
    super("shape", message);
  }
}

/** A dtype that the operation does not take. */
export class DTypeError extends CudenoError {
  constructor(message: string) {
    super("dtype", message);
  }
}

/** Tensors on different devices, or a device that is not there. */
export class DeviceError extends CudenoError {
  constructor(message: string, options?: ErrorOptions) {
    super("device", message, options);
  }
}

/** A tensor that was used after it was disposed; the message says where that happened. */
export class DisposedError extends CudenoError {
  constructor(message: string, options?: ErrorOptions) {
    super("disposed", message, options);
  }
}

/**
 * A gradient that cannot be computed: no graph, a graph already freed, an operation without a
 * gradient.
 */
export class GradientError extends CudenoError {
  constructor(message: string) {
    super("gradient", message);
  }
}

/**
 * A native library that is missing, cannot be opened, or was built for another version of cudeno.
 */
export class LibraryError extends CudenoError {
  constructor(message: string, options?: ErrorOptions) {
    super("library", message, options);
  }
}

/** A file that is missing, truncated or not what it should be. */
export class DataError extends CudenoError {
  constructor(message: string, options?: ErrorOptions) {
    super("data", message, options);
  }
}

/**
 * An index, or a class number in a target, that is out of range. The device finds it while it
 * works, so that a later call reports it: the next one that reads or waits. With `CUDENO_SYNC=1` in
 * the environment it is the operation's own.
 */
export class IndexError extends CudenoError {
  /** The index. */
  readonly index: number;
  /** How many places there are: the index must be below it. */
  readonly limit: number;

  constructor(message: string, index: number, limit: number) {
    super("index", message);
    this.index = index;
    this.limit = limit;
  }
}

/**
 * Device memory ran out. All tensors stay usable: free some by dispose(), or let scope() do it for
 * each step of a loop, or use a smaller batch, and go on.
 */
export class OutOfMemoryError extends CudenoError {
  constructor(message: string) {
    super("memory", message);
  }
}

/** Any other failure that the native library reports. */
export class NativeError extends CudenoError {
  /** The library's status code, as in `cuda/cudeno.h`. */
  readonly status: number;
  /** The library's own text, with the place in its source. */
  readonly detail: string;

  constructor(status: number, message: string, detail: string = message) {
    super("native", message);
    this.status = status;
    this.detail = detail;
  }
}
