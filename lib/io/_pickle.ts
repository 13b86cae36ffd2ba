/**
 * Python's pickles, protocols 2 to 5, of plain data. A pickle is a program: its instructions put
 * values on a stack, and may name any function of Python's and call it. Here a name that is not in
 * a given table is refused where it stands, and nothing is imported or run.
 *
 * See "pickletools.py" of CPython for the instructions.
 *
 * @module
 */

/** What a name of Python's stands for: what is called, or only named. */
export class Global {
  /** Its module and name. */
  readonly name: string;
  /** What it makes when it is called. */
  readonly call: ((...args: unknown[]) => unknown) | undefined;

  constructor(name: string, call?: (...args: unknown[]) => unknown) {
    this.name = name;
    this.call = call;
  }
}

/** What a pickle may refer to. */
export interface PickleContext {
  /** What a name as `collections.OrderedDict` stands for; undefined for one that is refused. */
  find(name: string): Global | undefined;
  /** What an object outside of the pickle is, by what is said of it. */
  persistent(id: unknown): unknown;
  /** Whether attributes may be set on a value, which are left out. */
  buildable(value: unknown): boolean;
  /** An error of this file. */
  fault(message: string): Error;
}

const maxLong = 256; // bytes of an integer, which takes time with the square of that
const maxMemo = 2 ** 22; // values to be used again: a Map has an end, too
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The value: null, booleans, numbers (bigints beyond 2^53), strings, bytes, arrays for lists and
 * tuples, Maps for dicts, Sets, and what the context makes.
 */
export function unpickle(bytes: Uint8Array, context: PickleContext): unknown {
  const { fault } = context;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;

  const take = (count: number): number => {
    if (!(count <= bytes.length - at)) {
      throw fault(`the pickle ends at ${at}, within an instruction`);
    }
    at += count;
    return at - count;
  };
  const u8 = () => bytes[take(1)]!;
  const u32 = () => view.getUint32(take(4), true);
  const u64 = () => Number(view.getBigUint64(take(8), true));
  const raw = (count: number) => bytes.slice(take(count), at);
  const text = (count: number) => {
    const part = raw(count);
    try {
      return utf8.decode(part);
    } catch {
      throw fault(`a text at ${at} of the pickle is not valid UTF-8`);
    }
  };
  const line = () => {
    const end = bytes.indexOf(10, at);
    const result = text(end < 0 ? Infinity : end - at);
    at++;
    return result;
  };
  const pop = (): unknown => {
    const floor = marks.at(-1) ?? 0;
    if (stack.length <= floor) throw fault(`the pickle takes what is not there, at ${at}`);
    return stack.pop();
  };
  const items = (): unknown[] => {
    const from = marks.pop();
    if (from === undefined) throw fault(`the pickle has no mark, at ${at}`);
    return stack.splice(from);
  };
  const topOf = <T>(kind: new () => T): T => {
    const top = stack.at(-1);
    if (stack.length > (marks.at(-1) ?? 0) && top instanceof kind) return top;
    throw fault(`the pickle adds to what is no ${kind.name}, at ${at}`);
  };
  const set = (map: Map<unknown, unknown>, pairs: unknown[]) => {
    if (pairs.length % 2) throw fault(`the pickle has a key without a value, at ${at}`);
    for (let i = 0; i < pairs.length; i += 2) map.set(pairs[i], pairs[i + 1]);
    return map;
  };
  const long = (count: number) => {
    if (count > maxLong) throw fault(`the pickle has an integer of ${count} bytes, at ${at}`);
    const digits = raw(count).reverse();
    let n = 0n;
    for (const digit of digits) n = n << 8n | BigInt(digit);
    n = BigInt.asIntN(count * 8, n);
    return Number.isSafeInteger(Number(n)) ? Number(n) : n;
  };
  const find = (module: unknown, name: unknown) => {
    const whole = `${module}.${name}`.slice(0, 200);
    const found = context.find(whole);
    if (!found) throw fault(refusal(whole));
    return found;
  };
  const call = (args: unknown, callee: unknown) => {
    if (!(callee instanceof Global && callee.call && Array.isArray(args) && args.length < 16)) {
      const name = callee instanceof Global ? callee.name : "what is no function";
      throw fault(`the pickle calls ${name}, at ${at}`);
    }
    return callee.call(...args);
  };
  const memoized = (index: number) => {
    if (memo.has(index)) return memo.get(index);
    throw fault(`the pickle uses ${index}, which it did not note, at ${at}`);
  };
  const note = (index: number) => {
    const top = pop();
    if (memo.size >= maxMemo) throw fault(`the pickle notes more than ${maxMemo} values`);
    memo.set(index, top);
    return top;
  };

  // Each gives what goes on the stack; undefined for none.
  const instructions: Record<number, () => unknown> = {
    0x80: () => { // PROTO
      const version = u8();
      if (version < 2 || version > 5) throw fault(`the pickle has protocol ${version}, not 2 to 5`);
    },
    0x95: () => void take(8), // FRAME, whose length says nothing that is needed
    0x28: () => void marks.push(stack.length), // MARK
    0x30: () => void pop(), // POP
    0x31: () => void items(), // POP_MARK
    0x32: () => { // DUP
      const top = pop();
      stack.push(top);
      return top;
    },
    0x4e: () => null, // NONE
    0x88: () => true, // NEWTRUE
    0x89: () => false, // NEWFALSE
    0x4a: () => view.getInt32(take(4), true), // BININT
    0x4b: u8, // BININT1
    0x4d: () => view.getUint16(take(2), true), // BININT2
    0x8a: () => long(u8()), // LONG1
    0x8b: () => long(u32()), // LONG4
    0x47: () => view.getFloat64(take(8)), // BINFLOAT
    0x58: () => text(u32()), // BINUNICODE
    0x8c: () => text(u8()), // SHORT_BINUNICODE
    0x8d: () => text(u64()), // BINUNICODE8
    0x55: () => text(u8()), // SHORT_BINSTRING, Python 2's texts
    0x54: () => text(u32()), // BINSTRING
    0x42: () => raw(u32()), // BINBYTES
    0x43: () => raw(u8()), // SHORT_BINBYTES
    0x8e: () => raw(u64()), // BINBYTES8
    0x5d: () => [], // EMPTY_LIST
    0x7d: () => new Map(), // EMPTY_DICT
    0x29: () => [], // EMPTY_TUPLE
    0x8f: () => new Set(), // EMPTY_SET
    0x74: items, // TUPLE
    0x6c: items, // LIST
    0x85: () => [pop()], // TUPLE1
    0x86: () => [pop(), pop()].reverse(), // TUPLE2
    0x87: () => [pop(), pop(), pop()].reverse(), // TUPLE3
    0x64: () => set(new Map(), items()), // DICT
    0x91: () => new Set(items()), // FROZENSET
    0x61: () => { // APPEND
      const item = pop();
      topOf<unknown[]>(Array).push(item);
    },
    0x65: () => { // APPENDS
      const all = items();
      const list = topOf<unknown[]>(Array);
      for (const item of all) list.push(item);
    },
    0x73: () => { // SETITEM
      const pair = [pop(), pop()].reverse();
      set(topOf<Map<unknown, unknown>>(Map), pair);
    },
    0x75: () => { // SETITEMS
      const pairs = items();
      set(topOf<Map<unknown, unknown>>(Map), pairs);
    },
    0x90: () => { // ADDITEMS
      const all = items();
      const to = topOf<Set<unknown>>(Set);
      for (const item of all) to.add(item);
    },
    0x71: () => note(u8()), // BINPUT
    0x72: () => note(u32()), // LONG_BINPUT
    0x94: () => note(memo.size), // MEMOIZE
    0x68: () => memoized(u8()), // BINGET
    0x6a: () => memoized(u32()), // LONG_BINGET
    0x63: () => find(line(), line()), // GLOBAL
    0x93: () => { // STACK_GLOBAL
      const name = pop();
      return find(pop(), name);
    },
    0x52: () => call(pop(), pop()), // REDUCE
    0x81: () => call(pop(), pop()), // NEWOBJ
    0x62: () => { // BUILD
      pop();
      const value = pop();
      if (!context.buildable(value)) throw fault(`the pickle sets attributes, at ${at}`);
      return value;
    },
    0x51: () => context.persistent(pop()), // BINPERSID
  };

  for (;;) {
    const code = u8();
    if (code === 0x2e) break; // STOP
    const instruction = instructions[code];
    if (!instruction) {
      throw fault(
        `the pickle has the instruction 0x${code.toString(16)} at ${at - 1}, not known here`,
      );
    }
    const value = instruction();
    if (value !== undefined) stack.push(value);
  }
  if (stack.length !== 1 || marks.length > 0) {
    throw fault("the pickle leaves more or less than a value");
  }
  return pop();
}

function refusal(name: string): string {
  return `it needs ${
    JSON.stringify(name)
  }, which is not loaded: a file may hold tensors in dicts, ` +
    "lists and tuples, beside texts and numbers. In Python, save model.state_dict() alone";
}
