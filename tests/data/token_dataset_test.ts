// Pieces of a text, each with the tokens that follow.
import { assertEquals } from "@std/assert";
import { data, tensor } from "../../mod.ts";
import { cleanTest, later, refuse } from "../_helpers.ts";

cleanTest("TokenDataset: pieces, and the tokens that follow", () => {
  for (const tokens of [[5, 6, 7, 8], Uint16Array.of(5, 6, 7, 8)]) {
    const set = later(new data.TokenDataset(tokens, { contextLength: 2 }));
    assertEquals(set.length, 2);
    const index = later(tensor([1, 0], { dtype: "int32" }));
    const { input, target } = set.batch(index);
    assertEquals([...later(input).dataSync()], [6, 7, 5, 6]);
    assertEquals([...later(target).dataSync()], [7, 8, 6, 7]);
  }
});

cleanTest("TokenDataset refuses what is no token", () => {
  const wrong: [unknown, string][] = [
    [-1, "tokens[2] is -1"], // what indexOf() gives for a letter that is not there
    [undefined, "tokens[2] is undefined"], // and what a Map does
    [NaN, "tokens[2] is NaN"],
    [1.5, "tokens[2] is 1.5"],
    [2 ** 31, "tokens[2] is 2147483648"],
    ["3", 'tokens[2] is "3"'],
  ];
  for (const [token, message] of wrong) {
    const tokens = [0, 1, token] as number[];
    refuse(() => new data.TokenDataset(tokens, { contextLength: 2 }), "argument", message);
  }
  refuse(() => new data.TokenDataset([1, 2], { contextLength: 2 }), "shape", "one more");
});
