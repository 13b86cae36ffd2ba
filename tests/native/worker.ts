// A second isolate on its own thread, which opens the same library: tests/native_test.ts talks to it.
import { type LibraryKind, openLibrary } from "../../lib/native/library.ts";

/** What the worker is asked for: which library, and a buffer to double. */
export interface Request {
  kind: LibraryKind;
  path: string;
  handle: number;
  n: number;
}

/** What it did: the errors of its thread before and after a bad call, and a buffer of its own. */
export interface Reply {
  before: string;
  after: string;
  read: number[];
  handle: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Request>) => void;
  postMessage(reply: Reply): void;
};

scope.onmessage = ({ data: { kind, path, handle, n } }) => {
  const library = openLibrary(kind, path);
  const { cdn_add, cdn_alloc, cdn_free, cdn_read } = library.functions;
  const before = library.lastError();
  cdn_free(0);
  const after = library.lastError();

  const values = new Float32Array(n);
  library.check(cdn_read(values, handle, 0n, BigInt(values.byteLength)));
  const out = new Uint32Array(1);
  library.check(cdn_alloc(out, 0, BigInt(values.byteLength)));
  const layout = BigInt64Array.of(BigInt(n), 1n, 1n);
  library.check(cdn_add(out[0]!, handle, handle, layout, 1, 0, 0));
  scope.postMessage({ before, after, read: [...values], handle: out[0]! });
};
