import type { Differentiable } from "./node.ts";
import { isTensor, refuse } from "./options.ts";

/** The tensors that a user's function returned, one or several, as an array; throws for others. */
export function returned(op: string, made: unknown, other: string = ""): Differentiable[] {
  const list: unknown[] = Array.isArray(made) ? made : [made];
  if (list.length > 0 && list.every(isTensor)) return list as Differentiable[];
  if (made instanceof Promise) made.catch(() => {}); // or its failure would end the process
  const wanted = `a tensor, or several in an array${other && `, or ${other}`}`;
  refuse(op, "what the function returns", made, wanted);
}
