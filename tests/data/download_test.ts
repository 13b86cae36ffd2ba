// Files that are fetched from a server of the test's own, and verified.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { data, DataError } from "../../mod.ts";
import { fetchMissing } from "../../lib/data/_download.ts";
import { sha256Hex } from "../../lib/data/_sha256.ts";
import { inFolder, modUrl, program } from "../_helpers.ts";

const gzip = async (bytes: Uint8Array<ArrayBuffer>) =>
  await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).bytes();

/** A tar archive of files, each in blocks of 512 bytes. */
function tar(files: Record<string, Uint8Array<ArrayBuffer>>): Uint8Array<ArrayBuffer> {
  const blocks = Object.entries(files).flatMap(([name, bytes]) => {
    const header = new Uint8Array(512), body = new Uint8Array(Math.ceil(bytes.length / 512) * 512);
    const encoder = new TextEncoder();
    encoder.encodeInto(name, header);
    encoder.encodeInto(bytes.length.toString(8).padStart(11, "0"), header.subarray(124));
    body.set(bytes);
    return [header, body];
  });
  const all = new Uint8Array((blocks.length + 1) * 512 + blocks.reduce((n, b) => n + b.length, 0));
  blocks.reduce((at, block) => (all.set(block, at), at + block.length), 0);
  return all;
}

/** Serves files by path while fn runs; counts what was asked for. */
async function serving<T>(
  files: Record<string, Uint8Array<ArrayBuffer>>,
  fn: (base: string, asked: string[]) => Promise<T>,
): Promise<T> {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const path = new URL(request.url).pathname.slice(1);
    asked.push(path);
    const body = files[path];
    return body ? new Response(body) : new Response("none", { status: 404 });
  });
  try {
    return await fn(`http://127.0.0.1:${server.addr.port}/`, asked);
  } finally {
    await server.shutdown();
  }
}

const content = Uint8Array.from({ length: 3000 }, (_, i) => i % 251);
const file = async (name: string) => ({ name, bytes: 3000, sha256: await sha256Hex(content) });

Deno.test("download: what is missing, once, from the first mirror that has it", async () => {
  const gz = await gzip(content);
  await serving(
    { "good/a.gz": gz, "good/b.gz": gz, "bad/a.gz": await gzip(content.slice(1)) },
    async (base, asked) => {
      await inFolder(async (folder) => {
        const files = [await file("a"), await file("b")];
        const mirrors = [`${base}bad`, `${base}good/`];
        await fetchMissing("mnist", files, `${folder}/new/place`, { mirrors });
        assertEquals(asked, ["bad/a.gz", "good/a.gz", "good/b.gz"]);
        await fetchMissing("mnist", files, `${folder}/new/place`, { mirrors });
        assertEquals(asked.length, 3);
        const found = Array.from(Deno.readDirSync(`${folder}/new/place`), ({ name }) => name)
          .sort();
        assertEquals(found, ["a.gz", "b.gz"]);
        const error = await assertRejects(
          () =>
            fetchMissing("mnist", files, `${folder}/other`, {
              mirrors: [`${base}bad`, `${base}none`],
            }),
          DataError,
          "mnist: a could not be downloaded to",
        );
        assert(error.message.includes("is not the right file: it has 2999 bytes"), error.message);
        assert(error.message.includes("answered 404"), error.message);
        assertEquals([...Deno.readDirSync(`${folder}/other`)], []);
      });
    },
  );
});

Deno.test("download: an archive, and what is none", async () => {
  const archive = { name: "all.tar.gz", folder: "in" };
  const packed = await gzip(tar({ "in/a": content, "./in/b": content, "other": content }));
  const files = [await file("a"), await file("b")];
  await serving(
    { "all.tar.gz": packed, "x/all.tar.gz": await gzip(content) },
    async (base, asked) => {
      await inFolder(async (folder) => {
        await fetchMissing("cifar10", files, folder, { mirrors: [base], archive });
        assertEquals(asked, ["all.tar.gz"]);
        assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name).sort(), [
          "a.gz",
          "b.gz",
        ]);
        await assertRejects(
          () => fetchMissing("cifar10", files, `${folder}/c`, { mirrors: [`${base}x`], archive }),
          DataError,
          "the archive has no in/a",
        );
      });
    },
  );
});

Deno.test("download: mnist() looks in the folder that CUDENO_DATA names", async () => {
  await serving({}, async (base) => {
    await inFolder(async (folder) => {
      const run = (download: string) =>
        program(
          `import { data, init } from "${modUrl}";
           init({ device: "cpu" });
           const options = { download: ${download} };
           await data.mnist(options).catch((e) => console.log(e.name, e.message));`,
          {
            flags: ["--allow-ffi", "--allow-env", "--allow-net", "--allow-read", "--allow-write"],
            env: { CUDENO_DATA: folder },
          },
        );
      const { out } = await run(`"${base}"`);
      assert(
        out.startsWith("DataError mnist: train-images-idx3-ubyte could not be downloaded to"),
        out,
      );
      assert(out.includes(`${folder}/mnist`), out);
      const { out: missing } = await run("false");
      assert(missing.includes(`${folder}/mnist/train-images-idx3-ubyte.gz is missing`), missing);
      assert(missing.includes("{ download: true }"), missing);
    });
  });
  await assertRejects(
    () => data.mnist({ download: 3 as never }),
    Error,
    "download is 3; it must be true, or the address of a mirror",
  );
});
