import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { getFiles, mirror } from "../../examples/data/get_files.ts";
import { mnistFiles } from "../../lib/data/mnist_files.ts";
import type { DataFile } from "../../lib/data/splits.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A stand-in for a data file: 10,000 bytes that hardly compress, with its table entry. */
const plain = crypto.getRandomValues(new Uint8Array(10_000));
const file: DataFile = { name: "digits", bytes: plain.length, sha256: await sha256(plain) };
const good = await gzip(plain);
const wrong = await gzip(plain.map((byte) => byte ^ 1));

async function sha256(bytes: Bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function gzip(bytes: Bytes): Promise<Bytes> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

/** Serves `body` as /digits.gz on the loopback, counts requests, and gives an empty folder. */
async function setUp(body: Bytes | "silence") {
  const folder = await Deno.makeTempDir({ prefix: "cudeno-test-" });
  const over = Promise.withResolvers<void>();
  let requests = 0;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    requests++;
    if (body === "silence") return over.promise.then(() => new Response("Too late"));
    return new URL(request.url).pathname === "/digits.gz"
      ? new Response(body)
      : new Response("No such file", { status: 404 });
  });
  const lines: string[] = [];
  return {
    folder,
    lines,
    log: (line: string) => void lines.push(line),
    base: `http://127.0.0.1:${server.addr.port}/`,
    requests: () => requests,
    names: () => [...Deno.readDirSync(folder)].map((entry) => entry.name),
    async [Symbol.asyncDispose]() {
      over.resolve();
      await server.shutdown();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test("getFiles fetches a file once and keeps it", async () => {
  await using s = await setUp(good);
  assertEquals(await getFiles([file], s.folder, [mirror(s.base)], s.log), 1);
  assertEquals(s.names(), ["digits.gz"]);
  assertEquals(await Deno.readFile(`${s.folder}/digits.gz`), good);
  assertEquals(await getFiles([file], s.folder, [mirror(s.base)], s.log), 0);
  assertEquals(s.requests(), 1);
});

Deno.test("getFiles refuses a truncated download and leaves nothing behind", async () => {
  await using s = await setUp(good.slice(0, 5_000));
  const error = await assertRejects(
    () => getFiles([file], s.folder, [mirror(s.base)], s.log),
    Error,
    "digits.gz is no complete gzip file: found 5000 bytes",
  );
  assertStringIncludes(error.message, `expected SHA-256 ${file.sha256}`);
  assertEquals(s.names(), []);
});

Deno.test("getFiles refuses wrong content and names both hashes", async () => {
  await using s = await setUp(wrong);
  const error = await assertRejects(
    () => getFiles([file], s.folder, [mirror(s.base)], s.log),
    Error,
    `digits.gz is not the right file: found 10000 bytes with SHA-256 `,
  );
  assertStringIncludes(error.message, await sha256(plain.map((byte) => byte ^ 1)));
  assertStringIncludes(error.message, `expected 10000 bytes with SHA-256 ${file.sha256}`);
  assertEquals(s.names(), []);
});

Deno.test("getFiles goes on to the next source when one is missing, wrong or silent", async () => {
  await using silent = await setUp("silence");
  await using bad = await setUp(wrong);
  await using s = await setUp(good);
  const sources = [
    mirror("http://127.0.0.1:1/"),
    mirror(`${s.base}nowhere/`),
    mirror(silent.base, 50),
    mirror(bad.base),
    mirror(s.base.slice(0, -1)), // the slash at the end may be left out
  ];
  assertEquals(await getFiles([file], s.folder, sources, s.log), 1);
  assertEquals(s.names(), ["digits.gz"]);
  assertStringIncludes(s.lines[0]!, `fetched from ${s.base.slice(0, -1)}`);

  const error = await assertRejects(
    () => getFiles([{ ...file, name: "letters" }], s.folder, sources.slice(1, 3), s.log),
    Error,
    "letters.gz could not be had",
  );
  assertStringIncludes(error.message, "answered 404");
  assertStringIncludes(error.message, "nothing arrived for 50 ms");
});

Deno.test("getFiles replaces a damaged file and says so", async () => {
  await using s = await setUp(good);
  await Deno.writeFile(`${s.folder}/digits.gz`, good.slice(0, -1));
  assertEquals(await getFiles([file], s.folder, [mirror(s.base)], s.log), 1);
  assertStringIncludes(s.lines[0]!, `${s.folder}/digits.gz is damaged and will be replaced`);
  assertEquals(await Deno.readFile(`${s.folder}/digits.gz`), good);
});

Deno.test("The committed subset of MNIST has the files of the full set, each whole", async () => {
  for (const { name } of mnistFiles) {
    const path = new URL(`../../examples/data/mnist_subset/${name}.gz`, import.meta.url);
    const stream = (await Deno.open(path)).readable.pipeThrough(new DecompressionStream("gzip"));
    const idx = await new Response(stream).bytes();
    const count = new DataView(idx.buffer).getUint32(4);
    assertEquals(count, name.startsWith("train") ? 5_000 : 1_000);
    const images = name.includes("idx3");
    assertEquals(idx.length, images ? 16 + count * 28 * 28 : 8 + count);
    assert(images || idx.subarray(8).every((label) => label < 10));
  }
});
