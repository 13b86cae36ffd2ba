// CIFAR-10 and Fashion-MNIST, of which small files are made here.
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { data, DataError, memory } from "../../mod.ts";
import { cleanTest as test, inFolder, later } from "../_helpers.ts";

const record = 1 + 3 * 32 * 32;

/** Some images of CIFAR-10's format: image i of a file is of class i mod 10, byte p is i + p. */
function images(count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count * record }, (_, at) => {
    const [i, p] = [Math.floor(at / record), at % record - 1];
    return p < 0 ? i % 10 : i + p;
  });
}

async function through(bytes: Uint8Array<ArrayBuffer>, stream: GenericTransformStream) {
  return await new Response(new Blob([bytes]).stream().pipeThrough(stream)).bytes();
}

test("cifar10: five files for training and one for testing, plain or gzipped", async () => {
  await inFolder(async (dir) => {
    for (const [i, { name }] of data.cifar10Files.entries()) {
      const file = images(i + 1);
      const packed = await through(file, new CompressionStream("gzip"));
      if (i % 2) await Deno.writeFile(`${dir}/${name}.gz`, packed);
      else await Deno.writeFile(`${dir}/${name}`, file);
    }
    const { train, test, classes } = await data.cifar10({ dir, verify: false });
    later(train);
    later(test);
    assertEquals([train.inputs.shape, train.inputs.dtype], [[15, 3, 32, 32], "uint8"]);
    assertEquals([...train.targets.dataSync()], [0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4]);
    assertEquals([test.length, classes.length, classes[0], classes[9]], [
      ...[6, 10],
      ...["airplane", "truck"],
    ]);
    const third = test.inputs.select(0, 2).dataSync();
    assertEquals(third, images(3).slice(2 * record + 1));
    const real = await assertRejects(() => data.cifar10({ dir }), DataError);
    assertStringIncludes(real.message, "data_batch_1.bin is not CIFAR-10's: it has 3073 bytes");
    assertStringIncludes(real.message, "Delete it and run `make data DATA=cifar10`");
  });
});

test("cifar10: files that are missing, cut off, too large or of no class", async () => {
  const before = memory().tensors;
  const refuse = async (file: Uint8Array, message: string) => {
    const read = (name: string) => name.startsWith("test") ? file : images(1);
    const error = await assertRejects(() => data.cifar10({ read, verify: false }), DataError);
    assertStringIncludes(error.message, message);
  };
  await refuse(images(2).subarray(1), "test_batch.bin: found 6145 bytes, expected 3073 for each");
  await refuse(new Uint8Array(10_001 * record), "of at most 10000");
  await refuse(images(2).with(record, 10), "image 1 is of class 10");
  const gzip = await through(images(2), new CompressionStream("gzip"));
  await refuse(gzip.subarray(0, -9), "damaged or truncated");
  const many = await through(images(10_001), new CompressionStream("gzip"));
  await refuse(many, "test_batch.bin: the gzip file holds more than the 30730000 bytes");
  const missing = await assertRejects(() => data.cifar10({ dir: "/nowhere" }), DataError);
  assertStringIncludes(missing.message, "data_batch_1.bin.gz is missing; download CIFAR-10 by");
  assertEquals(memory().tensors, before);
});

test("fashionMnist: MNIST's format under other names and hashes", async () => {
  const dir = new URL("../../examples/data/mnist_subset", import.meta.url).pathname;
  const { train, test, classes } = await data.fashionMnist({ dir, verify: false, normalize: true });
  later(train);
  later(test);
  assertEquals([train.inputs.shape, test.length, classes[5]], [[5000, 1, 28, 28], 1000, "Sandal"]);
  const error = await assertRejects(() => data.fashionMnist({ dir }), DataError);
  assertStringIncludes(error.message, "train-images-idx3-ubyte is not Fashion-MNIST's");
});
