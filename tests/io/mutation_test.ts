// Files and states that are damaged at random: whatever they hold, only errors of the library's own
// come out, and no tensor stays.
import { assert } from "@std/assert";
import { CudenoError, data, devices, io, memory, nn, optim, tensor } from "../../mod.ts";

devices(); // opens the library before the sanitizers look

const rounds = 3000;

/** Whole numbers below n, the same in every run (xorshift32). */
function randomFrom(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

type Random = ReturnType<typeof randomFrom>;
type Bytes = Uint8Array<ArrayBuffer>;

/**
 * One to four of: a bit turned, a byte set, cut off, a piece taken out, repeated or moved, a number
 * replaced.
 */
function mutated(file: Bytes, random: Random): Bytes {
  let bytes = file.slice();
  for (let count = 1 + random(4); count > 0 && bytes.length > 0; count--) {
    // Mostly near the front, where headers are.
    const at = random(random(2) ? bytes.length : Math.min(bytes.length, 120));
    const piece = bytes.subarray(at, at + 1 + random(16));
    switch (random(7)) {
      case 0:
        bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x22, 0x2c, 0x5b, 0x7b][random(9)]!;
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + piece.length));
        break;
      case 4:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...piece, ...bytes.subarray(at));
        break;
      case 5:
        bytes.copyWithin(random(bytes.length), at, at + piece.length);
        break;
      default: {
        // A length in eight or four bytes, or a number in digits.
        const view = new DataView(bytes.buffer);
        const value = [0, 1, 255, 2 ** 31, 2 ** 32 - 1, random(2 ** 20)][random(6)]!;
        if (random(2) && bytes.length >= 8) {
          view.setBigUint64(0, BigInt(value) << BigInt(random(40)), true);
        } else if (bytes.length >= at + 4) view.setUint32(at, value, random(2) === 0);
      }
    }
  }
  return bytes;
}

/**
 * As {@linkcode mutated}, of JSON: values replaced by others of the wrong kind or size, keys taken
 * out or renamed.
 */
function mutatedJson(value: unknown, random: Random): unknown {
  if (random(12) === 0) {
    const others = [null, -1, 0.5, 2 ** 53, 1e308, "", "F32", [], {}, [[]], [-1, 2], true, [
      2 ** 31,
      2 ** 31,
    ], NaN];
    return others[random(others.length)];
  }
  if (Array.isArray(value)) {
    const list = value.map((item) => mutatedJson(item, random));
    return random(12) ? list : list.slice(1);
  }
  if (Object.prototype.toString.call(value) !== "[object Object]") return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value; // a tensor
  const entries = Object.entries(value as object).flatMap(([key, item]) =>
    random(15) === 0 ? [] : [[random(15) ? key : `${random(3)}.${key}`, mutatedJson(item, random)]]
  );
  return Object.fromEntries(entries);
}

/** Tries `use` on what `make` makes, and says how often it was refused and how often taken. */
async function attack<T>(
  seed: number,
  make: (random: Random) => T,
  use: (mutant: T) => unknown,
): Promise<{ refused: number; taken: number }> {
  const random = randomFrom(seed);
  const before = memory().tensors;
  const result = { refused: 0, taken: 0 };
  for (let round = 0; round < rounds; round++) {
    const mutant = make(random);
    try {
      const made = await use(mutant);
      result.taken++;
      if (made && typeof made === "object") { for (const x of Object.values(made)) x.dispose?.(); }
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
      assert(error.message.length < 2000, "a message that nobody reads");
      result.refused++;
    }
    if (memory().tensors !== before) throw new Error(`round ${round} leaves a tensor`);
  }
  return result;
}

/** Both must happen, or the mutations try nothing. */
function some({ refused, taken }: { refused: number; taken: number }) {
  assert(refused > 100 && taken > 10, `${refused} refused, ${taken} taken`);
}

async function weights(): Promise<Bytes> {
  using a = tensor([[1, 2], [3, 4]]);
  using b = tensor([5, 6, 7], { dtype: "bfloat16" });
  using c = tensor([1, 0, 255], { dtype: "uint8" });
  return await io.toSafetensors({ "0.weight": a, "0.bias": b, mask: c });
}

/** A file whose header is a mutant; what the header is about stays. */
function withHeader(file: Bytes, random: Random): Bytes {
  const end = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, end)));
  const text = new TextEncoder().encode(JSON.stringify(mutatedJson(header, random)));
  const bytes = new Uint8Array(8 + text.length + file.length - end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(file.subarray(end), 8 + text.length);
  return bytes;
}

const idx = Uint8Array.of(...[0, 0, 0x0d, 2, 0, 0, 0, 2, 0, 0, 0, 3], ...new Array(24).fill(7));

async function gzip(bytes: Bytes): Promise<Bytes> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

Deno.test("mutations of .safetensors bytes and headers", async () => {
  const file = await weights();
  some(await attack(1, (random) => mutated(file, random), (bytes) => io.fromSafetensors(bytes)));
  some(await attack(2, (random) => withHeader(file, random), (bytes) => io.fromSafetensors(bytes)));
});

Deno.test("mutations of .safetensors files", async () => {
  const good = await weights();
  const path = await Deno.makeTempFile();
  using file = await Deno.open(path, { write: true });
  const load = (bytes: Bytes) => {
    file.seekSync(0, Deno.SeekMode.Start);
    file.writeSync(bytes);
    file.truncateSync(bytes.length);
    return io.loadSafetensors(path);
  };
  some(
    await attack(3, (random) => random(2) ? mutated(good, random) : withHeader(good, random), load),
  );
  await Deno.remove(path);
});

Deno.test("mutations of IDX, plain, within gzip and of the gzip itself", async () => {
  const zipped = await gzip(idx);
  some(await attack(4, (random) => mutated(idx, random), (bytes) => data.readIdx(bytes)));
  const within = async (bytes: Bytes) => data.readIdx(await gzip(bytes));
  some(await attack(5, (random) => mutated(idx, random), within));
  const { refused } = await attack(
    6,
    (random) => mutated(zipped, random),
    (bytes) => data.readIdx(bytes),
  );
  assert(refused > rounds / 2);
});

Deno.test("mutations of MNIST's files", async () => {
  const images = Uint8Array.of(
    ...[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2],
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
  );
  const labels = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 4);
  const part = (name: string) => name.includes("labels") ? labels : images;
  some(
    await attack(7, (random) => random, (random) => {
      const bad = random(4);
      let count = 0;
      const read = (name: string) => count++ === bad ? mutated(part(name), random) : part(name);
      return data.mnist({ verify: false, read });
    }),
  );
});

Deno.test("mutations of states: modules, optimizers, averages, schedules and scalers", async () => {
  const model = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3));
  const make = () => new optim.Adam(model.parameters(), { lr: 0.1 });
  const [from, to] = [make(), make()];
  using x = tensor([[1, 2], [3, 4]]);
  using loss = model.forward(x).sum();
  loss.backward();
  from.step();
  const plateau = () =>
    new optim.schedule.ChainedScheduler([
      new optim.schedule.ExponentialLR(to, { gamma: 0.9 }),
      new optim.schedule.ReduceLROnPlateau(to),
    ]);
  const [scaler, ema, schedule] = [new optim.GradScaler(), new optim.EMA(model), plateau()];
  // so that what is there to be freed is as much as what is loaded
  to.loadStateDict(from.stateDict());
  type Loads = [string, { loadStateDict(state: never): unknown }, unknown];
  const pairs: Loads[] = [
    ["module", model, model.stateDict()],
    ["optimizer", to, from.stateDict()],
    ["averages", ema, ema.stateDict()],
    ["schedule", schedule, schedule.stateDict()],
    ["scaler", scaler, scaler.stateDict()],
  ];
  for (const [name, target, state] of pairs) {
    const load = (mutant: unknown) => {
      try {
        target.loadStateDict(mutant as never);
      } finally {
        // whatever was taken before, the whole one is taken now
        target.loadStateDict(state as never);
      }
    };
    const counts = await attack(8, (random) => mutatedJson(state, random), load);
    assert(counts.refused > 100, `${name}: ${counts.refused} refused`);
  }
  for (const thing of [model, from, to, ema]) thing.dispose();
});
