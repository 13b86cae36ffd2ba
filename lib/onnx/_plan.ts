// What runs go by: the steps of a graph, and the values by name while they run.
import type { Tensor } from "../tensor.ts";
import type { GraphNode } from "./graph.ts";
import type { Operator } from "./ops/_operator.ts";
import type { Value } from "./value.ts";

/** What nodes gave on the host, by step. */
export type Notes = Map<Step, readonly (Value | undefined)[]>;

export interface Step {
  readonly node: GraphNode;
  readonly operator: Operator;
  /** Names that nothing uses from here on. */
  readonly frees: string[];
}

/** A graph without what depends on constants alone, which is computed, and what nobody uses. */
export interface Plan {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly constants: Map<string, Value>;
  readonly steps: readonly Step[];
  /** The constants that this plan alone has. */
  readonly own?: readonly Value[];
}

/** The values by name while a graph runs, and those of the graphs around. */
export class Frame {
  readonly values: Map<string, Value> = new Map();
  /** The tensors that a name holds, which are those that there were when it was bound. */
  readonly held: Map<string, readonly Tensor[]> = new Map();
  readonly plan: Plan;
  readonly outer: Frame | undefined;

  constructor(plan: Plan, outer: Frame | undefined) {
    [this.plan, this.outer] = [plan, outer];
  }

  find(name: string): Value | undefined {
    return this.values.get(name) ?? this.plan.constants.get(name) ?? this.outer?.find(name);
  }
}

/**
 * Folded results above this many elements stay computed by each run, unless they shrink what they
 * are made of.
 */
export const foldLimit: number = 2 ** 22;
