// The table of what is written for what the library computes: by native calls, whose arguments have
// all attributes, and, where several calls or a copy are one operation, by the operation's name.
import type { Row } from "../call.ts";
import { elementwise } from "./elementwise.ts";
import { heads, products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { copies, shapes } from "./shapes.ts";
import { windows } from "./windows.ts";

/** Kernels that draw random numbers, which no graph can repeat. */
export const random: ReadonlySet<string> = new Set([
  ...["uniform", "normal", "randint", "dropout", "bernoulli", "multinomial"],
]);

/** Kernels that are only parts of operations with rows. */
export const ignored: ReadonlySet<string> = new Set([
  ...["strided_copy", "strided_write", "transpose", "take"],
]);

/** By kernel, without `cdn_`. */
export const kernels: Readonly<Record<string, Row>> = {
  ...{ ...elementwise, ...reductions, ...windows, ...copies, ...heads },
};

/** By operation, as the tape names it. */
export const operations: Readonly<Record<string, Row>> = { ...shapes, ...products };
