import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ArgumentError } from "../../lib/native/errors.ts";
import { ProgressLine, type ProgressOptions } from "../../lib/train/callbacks/_progress.ts";

/** A line on a stand-in for the terminal, with a clock that the test sets. */
function setUp(terminal: boolean, options: Partial<ProgressOptions> = {}) {
  const state = { time: 1000, text: "", writes: 0 };
  const line = new ProgressLine({
    total: 1000,
    label: "Epoch 1/5",
    unit: "images",
    color: false,
    columns: 120,
    now: () => state.time,
    stream: {
      isTerminal: () => terminal,
      writeSync(bytes) {
        state.writes++;
        state.text += new TextDecoder().decode(bytes);
        return bytes.length;
      },
    },
    ...options,
  });
  const take = () => {
    const text = state.text;
    state.text = "";
    return text;
  };
  return { line, state, take };
}

Deno.test("ProgressLine: a terminal's line shows count, fields, rate and times", () => {
  const { line, state, take } = setUp(true);
  assertEquals(take(), "");
  line.update(0);
  assertEquals(take(), `\rEpoch 1/5 [>${" ".repeat(23)}]   0% 0/1000 0.0s\x1b[K`);
  state.time += 2000;
  line.update(250, { loss: 0.29314, accuracy: "91%", step: 4 });
  assertEquals(
    take(),
    `\rEpoch 1/5 [======>${" ".repeat(17)}]  25% 250/1000 loss 0.2931 accuracy 91% step 4 ` +
      "125 images/s 2.0s ETA 6.0s\x1b[K",
  );
  state.time += 6000;
  line.update(1000, { loss: 1 / 8 });
  line.finish({ val: 1e-5 });
  const last = `\rEpoch 1/5 [${"=".repeat(24)}] 100% 1000/1000 loss 0.1250 `;
  assertEquals(
    take(),
    `${last}125 images/s 8.0s\x1b[K${last}val 1.00e-5 125 images/s 8.0s\x1b[K\n`,
  );
});

Deno.test("ProgressLine: it is redrawn at most once in an interval", () => {
  const { line, state } = setUp(true, { intervalMs: 50 });
  for (let i = 0; i < 1000; i++) {
    line.update(i);
    state.time += 1;
  }
  assertEquals(state.writes, 20);
  line.finish();
  assertEquals(state.writes, 21);
  assertStringIncludes(state.text, " 99% 999/1000 "); // the last update, though it was not drawn
});

Deno.test("ProgressLine: nothing but a plain last line is written to a file", () => {
  const { line, state, take } = setUp(false, { color: true });
  for (let i = 1; i <= 1000; i++) {
    line.update(i, { loss: 0.5 });
    state.time += 10;
  }
  assertEquals(take(), "");
  line.finish({ accuracy: 0.975 });
  assertEquals(
    take(),
    "Epoch 1/5 100% 1000/1000 loss 0.5000 accuracy 0.9750 100 images/s 10s\n",
  );
  const bare = setUp(false, { label: undefined });
  bare.line.finish();
  assertEquals(bare.take(), "0% 0/1000 0.0s\n");
});

Deno.test("ProgressLine: after the end nothing more is written, and `using` ends it", () => {
  const { line, state } = setUp(true);
  line.finish();
  line.finish();
  line.update(5);
  line[Symbol.dispose]();
  assertEquals(state.writes, 1);

  const other = setUp(false);
  assertThrows(
    () => {
      using line = other.line;
      other.state.time += 1000;
      line.update(3);
      throw new Error("NaN loss");
    },
    Error,
    "NaN loss",
  );
  assertEquals(other.take(), "Epoch 1/5   0% 3/1000 3 images/s 1.0s\n");
});

Deno.test("ProgressLine: it never wraps, whatever the width and the text", () => {
  const labels = [
    "",
    "Epoch",
    "訓練 1/5 と長い",
    "x".repeat(300),
    "🙂🙂",
    "e\u0301",
    "a\nb\x1b[2J\r\t",
  ];
  for (const label of labels) {
    for (let columns = 1; columns < 100; columns++) {
      const { line, take } = setUp(true, { label, columns, color: true });
      line.update(500, { "loss\n": 0.5, note: "好\x07" });
      const text = take();
      assert(text.startsWith("\r") && text.endsWith("\x1b[K"));
      // deno-lint-ignore no-control-regex
      const visible = text.slice(1, -3).replaceAll(/\x1b\[(32|0)m/g, "");
      assert(!/\p{Cc}/u.test(visible), JSON.stringify(visible));
      const cells = [...visible].reduce(
        (sum, char) => sum + (char === "\u0301" ? 0 : /[\u3000-\u9fff🙂]/u.test(char) ? 2 : 1),
        0,
      );
      assert(cells < columns, `${cells} cells in ${columns}: ${visible}`);
    }
  }
});

Deno.test("ProgressLine: colour only where it is wanted, and only around the bar", () => {
  const { line, take } = setUp(true, { color: true });
  line.update(500);
  assertStringIncludes(take(), "[\x1b[32m============>\x1b[0m           ]");
});

Deno.test("ProgressLine: numbers and times take few characters", () => {
  const shown = (ms: number, done: number, value: number) => {
    const { line, state, take } = setUp(true, { total: 1e9 });
    state.time += ms;
    line.update(done, { v: value });
    return take().match(/v (\S+) (.*) images\/s (\S+) ETA ([\d:.s]+)/)!.slice(1);
  };
  assertEquals(shown(9_940, 5e8, 3), ["3", "50.3M", "9.9s", "9.9s"]);
  assertEquals(shown(59_400, 5e8, 123.456), ["123.5", "8.42M", "59s", "59s"]);
  assertEquals(shown(59_600, 5e8, -0.5), ["-0.5000", "8.39M", "1:00", "1:00"]);
  assertEquals(shown(3_723_000, 5e8, NaN), ["NaN", "134K", "1:02:03", "1:02:03"]);
  assertEquals(shown(4_000, 1, Infinity), ["Infinity", "0.25", "4.0s", "1111111:06:36"]);
  assertEquals(shown(1_000, 5e8, 1234567.5)[0], "1.23e+6");
});

Deno.test("ProgressLine: a total of 0, and more done than the total", () => {
  const none = setUp(false, { total: 0 });
  none.line.finish();
  assertStringIncludes(none.take(), "100% 0/0");
  const more = setUp(true);
  more.state.time += 1;
  more.line.update(2000);
  assertStringIncludes(more.take(), `[${"=".repeat(24)}] 100% 2000/1000 2M images/s`);
});

Deno.test("ProgressLine: wrong arguments", () => {
  for (const total of [-1, 1.5, NaN, Infinity]) {
    assertThrows(() => new ProgressLine({ total }), ArgumentError, `found total ${total}`);
  }
  const { line } = setUp(true);
  for (const done of [-1, NaN]) {
    assertThrows(() => line.update(done), ArgumentError, `found ${done} done`);
  }
});

Deno.test("ProgressLine: a stream that writes in parts, takes nothing or fails", () => {
  let text = "";
  const stream = (writeSync: (bytes: Uint8Array) => number) => ({
    isTerminal: () => false,
    writeSync,
  });
  setUp(false, {
    stream: stream((bytes) => {
      text += new TextDecoder().decode(bytes.subarray(0, 3));
      return Math.min(3, bytes.length);
    }),
  }).line.finish();
  assertEquals(text, "Epoch 1/5   0% 0/1000 0.0s\n");
  setUp(false, { stream: stream(() => 0) }).line.finish();
  setUp(false, {
    stream: stream(() => {
      throw new Deno.errors.BrokenPipe();
    }),
  }).line.finish();
});

Deno.test({
  name: "ProgressLine: the defaults need no permission",
  permissions: "none",
  fn() {
    const line = new ProgressLine({ total: 1, columns: undefined });
    line.update(0);
    assert(line instanceof ProgressLine);
    // A terminal whose size is asked for.
    const { line: other, take } = setUp(true, { columns: undefined });
    other.update(1);
    assertStringIncludes(take(), "Epoch 1/5");
  },
});

Deno.test("ProgressLine: without a known total there is neither bar nor time left", () => {
  const { line, state, take } = setUp(true, { total: undefined });
  line.update(0);
  assertEquals(take(), "\rEpoch 1/5 0 0.0s\x1b[K");
  state.time += 2000;
  line.update(250, { loss: 0.5 });
  assertEquals(take(), "\rEpoch 1/5 250 loss 0.5000 125 images/s 2.0s\x1b[K");
  line.finish();
  assertEquals(take(), "\rEpoch 1/5 250 loss 0.5000 125 images/s 2.0s\x1b[K\n");
  const plain = setUp(false, { total: undefined });
  plain.line.update(3);
  plain.line.finish();
  assertEquals(plain.take(), "Epoch 1/5 3 0.0s\n");
});
