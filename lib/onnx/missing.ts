import { CudenoError } from "../native/errors.ts";
import { labelOf, nodesOf } from "./_missing.ts";

/** An operator that a model needs and that is not there. */
export interface MissingOperator {
  /** What ONNX calls it. */
  readonly op: string;
  /** `""` for ONNX's own. */
  readonly domain: string;
  /** Of the domain. */
  readonly opset: number;
  /** The names of the nodes that need it. */
  readonly nodes: readonly string[];
}

/** A model needs operators that are not there: all are listed. */
export class MissingOperatorError extends CudenoError {
  /** Which, and where they are needed. */
  readonly missing: readonly MissingOperator[];

  /** For a file. */
  constructor(file: string, missing: readonly MissingOperator[]) {
    const lines = missing.map((each) => `${labelOf(each)} in ${nodesOf(each)}`);
    super("operators", `${file} needs operators that are not there: ${lines.join("; ")}`);
    this.missing = missing;
  }
}
