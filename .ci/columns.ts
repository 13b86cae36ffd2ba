/** Lists the lines of code that are longer than 100 columns, and fails if there are any. */

const limit = 100;
const code = /\.(ts|cu|h|cpp|py)$|^run$/;
const folders = ["lib", "cuda", "tests", "bench", "examples", ".ci"];
/** What is built or written by a program. */
const generated = ["cuda/build", "lib/native/symbols.ts", "lib/native/calls.ts"];

function* files(path: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(path)) {
    const file = `${path}/${name}`;
    if (generated.includes(file)) continue;
    if (isDirectory) yield* files(file);
    else if (code.test(name)) yield file;
  }
}

Deno.chdir(new URL("..", import.meta.url));
let found = 0;
for (const file of ["mod.ts", "Makefile", ...folders.flatMap((folder) => [...files(folder)])]) {
  Deno.readTextFileSync(file).split("\n").forEach((line, i) => {
    const columns = [...line].length;
    if (columns <= limit || /https?:\/\/\S+$/.test(line)) return; // an address cannot be broken
    found++;
    console.error(`${file}:${i + 1}: found ${columns} columns, at most ${limit} are wanted`);
  });
}
Deno.exit(found > 0 ? 1 : 0);
