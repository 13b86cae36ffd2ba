// How a module becomes a graph: its forward() runs, and two listeners that are there anyway hear
// what it does: that of native calls, which have all attributes among their arguments, and the
// tape's observer, which knows operations as users call them, with their tensors. The table
// (rows/table.ts) says for either what nodes that is. Who comes later is right: an operation's row
// replaces what those of its kernels said, and nodes that nothing needs are left out.
//
// Which extents are the batch's is learnt by running twice, with two sizes of batch.
import { type Made as Recorded, noGrad, type Observer, observing } from "../../core/autograd.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { randomPlace, withRandomFrom } from "../../core/random.ts";
import { sameShape, sizeOf } from "../../core/shape.ts";
import { tell } from "../../native/arguments.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { AnyModule } from "../../nn/module.ts";
import type { Tensor } from "../../tensor.ts";
import { Call, type Made, outputCounts, type Row, tensorOf } from "./call.ts";
import { type Known, Nodes, typeOf } from "./nodes.ts";
import { ignored, kernels, operations, random } from "./rows/table.ts";

// A tensor in the memory of another one, from a byte on.
interface View {
  readonly within: Tensor;
  readonly at: number;
}

/** A run of a model: nodes and constants. */
export class Trace extends Nodes {
  readonly #known = new Map<Tensor, Known>();
  readonly #views = new Map<number, View>();
  readonly #calls = new Map<Tensor, Call>();
  readonly #fills = new Map<Tensor, number>();
  #view: { out: Uint32Array; source: Tensor; offset: number } | undefined;
  #busy = false;

  /** Of a batch, and beside another run of another size of batch. */
  constructor(
    parameters: Iterable<[string, Tensor]>,
    batchAxis: number,
    batch: number,
    by?: Trace,
  ) {
    super(batchAxis, batch, by);
    for (const [name, x] of parameters) {
      if (this.#known.has(x)) continue;
      const type = typeOf(x.dtype);
      this.names.add(name);
      this.#known.set(x, {
        ...{ name, type, shape: x.shape, batch: x.shape.map(() => 0), depends: false },
      });
      this.constants.set(name, { type, shape: x.shape, read: () => x.dataSync() });
    }
  }

  /** Names an input. */
  input(x: Tensor, name: string): void {
    if (this.names.has(name)) throw new ArgumentError(`onnx.save: two things are named ${name}`);
    this.names.add(name);
    this.inputs.push(this.#define(x, { name, depends: true }));
  }

  /** Runs `fn`, which calls the model. */
  run<T>(model: AnyModule, fn: () => T): T {
    using undo = new DisposableStack();
    for (const [name, module] of model.namedModules()) {
      undo.use(module.registerForwardPreHook(() => void this.layers.push(name)));
      undo.use(module.registerForwardHook(() => void this.layers.pop()));
      const { training } = module;
      undo.defer(() => module.training = training);
      module.training = false;
    }
    const observer: Observer = {
      made: (out, name, made) => this.#aside(() => this.#recorded(out as Tensor, name, made)),
      gradients: () => {},
      composes: true,
    };
    undo.defer(() => tell(undefined));
    tell((name, args) => this.#aside(() => this.#called(name.slice("cdn_".length), args)));
    return withRandomFrom(randomPlace(), () => noGrad(() => observing(observer, fn)));
  }

  #aside(look: () => void): void {
    if (this.#busy) return;
    this.#busy = true;
    try {
      look();
    } finally {
      this.#busy = false;
    }
  }

  /** What the graph knows a tensor as; a constant if it has not heard of it. */
  known(x: Tensor): Known {
    const part = this.#find(this.sourceOf(x))?.depends; // of what the graph knows
    return this.#find(x) ?? (part ? this.#missing(x, "view") : this.#capture(x));
  }

  #find(x: Tensor): Known | undefined {
    const found = this.#known.get(x);
    if (found) return found;
    const view = this.#viewOf(x);
    const source = view && this.#known.get(view.within);
    if (!source || view.within.size !== x.size) return undefined;
    if (sameShape(source.shape, x.shape)) return source;
    const call = new Call(this, "view", [x, view.within], x);
    return this.#define(x, { ...call.reshaped(source), depends: source.depends });
  }

  // A tensor that was made outside, or of nothing that the graph knows. What depends on the size of
  // the batch must be the same for each of its entries.
  #capture(x: Tensor): Known {
    const data = x.dataSync();
    const type = typeOf(x.dtype);
    const name = this.unique(this.path("constant"));
    const known = this.#define(x, { name, depends: false }, data);
    const varies = known.batch.findIndex((n) => n > 0);
    if (varies < 0) {
      this.constants.set(name, { type, shape: x.shape, read: () => data });
      return known;
    }
    const inner = sizeOf(x.shape.slice(varies + 1)), extent = x.shape[varies]!;
    const at = (i: number) => i - Math.floor(i / inner) % extent * inner;
    if (known.batch.filter((n) => n > 0).length > 1 || data.some((v, i) => v !== data[at(i)])) {
      throw new ArgumentError(
        `onnx.save: ${this.where()} uses numbers that depend on the size of the batch; compute ` +
          "them from the input, or save with batch: null",
      );
    }
    const dims = x.shape.with(varies, 1);
    const one = this.constant(type, dims, Array.from(data).filter((_, i) => at(i) === i));
    this.node("Expand", [one, this.shape(x.shape, known.batch)], {}, [name]);
    return known;
  }

  #define(x: Tensor, made: Partial<Known> & { name: string }, data?: ArrayLike<number>): Known {
    const batch = this.step(x.shape, data);
    const known = { depends: true, type: typeOf(x.dtype), ...made, shape: x.shape, batch };
    this.#known.set(x, known);
    return known;
  }

  /** What a tensor was filled with last. */
  fillOf(x: Tensor): number {
    return this.#fills.get(x) ?? 0;
  }

  /** The last native call that was given a tensor first. */
  callOf(x: Tensor): Call | undefined {
    return this.#calls.get(x);
  }

  #viewOf(x: Tensor): View | undefined {
    return x.disposed ? undefined : this.#views.get(x.stored(x.format).handle);
  }

  /** Where in another tensor a view begins, in elements. */
  offsetOf(x: Tensor): number | undefined {
    const view = this.#viewOf(x);
    return view && view.at / dtypeInfo(x.dtype).bytes;
  }

  /** The tensor that a view is of. */
  sourceOf(x: Tensor): Tensor {
    return this.#viewOf(x)?.within ?? x;
  }

  // A result that no row makes; the error comes at the end, if something needs it.
  #missing(x: Tensor, op: string, inputs: readonly Tensor[] = []): Known {
    const used = inputs.flatMap((input) => this.#known.get(input)?.name ?? []);
    const [name] = this.node("?", used, {}, 1, `${op} in ${this.where()}`);
    return this.#define(x, { name: name! });
  }

  // Noted before it happens: what it makes is not there yet.
  #called(name: string, passed: readonly unknown[]): void {
    this.#settle();
    const args = passed.map((x) => x instanceof BigInt64Array ? Array.from(x, Number) : x);
    const tensors = args.map(tensorOf);
    if (name === "view") {
      const [out, source] = [args[0] as Uint32Array, tensors[1]!];
      this.#view = { out, source, offset: args[2] as number };
      return;
    }
    const y = tensors.find((x) => x !== undefined);
    if (!y || /^(free|freeze|read|read_begin|list_.*)$/.test(name)) return;
    const call = new Call(this, name, args, y);
    this.#calls.set(y, call);
    if (/^(fill|write|write_begin|stage)$/.test(name)) {
      this.#known.delete(y);
      if (name === "fill") this.#fills.set(y, args[2] as number);
      return;
    }
    const own = outputCounts[name] ?? 1;
    const given = tensors.slice(own).filter((x) => x !== undefined);
    if (random.has(name)) {
      this.#missing(y, name);
      return;
    }
    if (name === "transpose" && y.format !== given[0]!.format) { // of the same in another format
      const x = this.#find(given[0]!);
      if (x) this.#known.set(y, x);
      return;
    }
    if (ignored.has(name)) return;
    this.#apply(call, kernels[name], given, y);
    if (!kernels[name]) { // results before the first operand
      const first = tensors.findIndex((x) => x && x !== y && this.#find(x)?.depends);
      for (const x of tensors.slice(0, Math.max(first, 0))) {
        if (x && x !== y && !this.#find(x)) this.#missing(x, name, given);
      }
    }
  }

  #recorded(out: Tensor, name: string, { inputs, outputs, about }: Recorded): void {
    this.#settle();
    if (out !== outputs[0]) return; // those of several come with the first
    const given = inputs as readonly Tensor[];
    const row = operations[name];
    if (!row && this.#known.has(out)) return;
    const call = new Call(this, name, [out, ...given], out, outputs as readonly Tensor[], about);
    this.#apply(call, row, given, out);
  }

  #apply(call: Call, row: Row | undefined, given: readonly Tensor[], y: Tensor): void {
    const found = given.flatMap((x) => this.#find(x) ?? this.#find(this.sourceOf(x)) ?? []);
    const depends = found.some((x) => x.depends);
    if (found.length === 0 || (!row && !depends)) return void this.#known.delete(y);
    const made = row?.(call);
    if (made === undefined) {
      if (depends) this.#missing(y, call.name, given);
      return;
    }
    const list = Array.isArray(made) ? made as readonly Made[] : [made as Made];
    list.forEach((item, i) => {
      const x = call.outputs[i]!;
      this.#define(x, { ...(typeof item === "string" ? { name: item } : item), depends });
    });
    for (const x of call.outputs.slice(list.length)) {
      if (depends) this.#missing(x, call.name, given);
    }
  }

  #settle(): void {
    if (!this.#view) return;
    const { out, source, offset } = this.#view;
    this.#view = undefined;
    this.#views.set(out[0]!, { within: source, at: offset });
  }
}
