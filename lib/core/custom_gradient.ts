import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import { gradEnabled, record, recordAll, withRecording } from "./autograd.ts";
import type { Differentiable } from "./node.ts";
import { checkFunction, checkList, isTensor } from "./options.ts";
import { returned } from "./returned.ts";
import { innermost, type Scope, syncScope } from "./scope.ts";
import { formatShape, sameShape } from "./shape.ts";

/** The tensors that a function returns, one or several, as an array. */
export type ListOf<Out> = Out extends readonly Differentiable[] ? Out : [Out];

/** What the backward of a {@linkcode customGradient} knows of the call. */
export interface CustomGradientStep<In, Out, Saved> {
  /** What forward was given. */
  readonly inputs: In;
  /** What it returned. */
  readonly outputs: ListOf<Out>;
  /** What it saved. */
  readonly saved: Saved;
  /** Which inputs need a gradient; those of others are not asked for and may be null. */
  readonly needs: readonly boolean[];
}

/**
 * A function with a gradient of its own, as torch.autograd.Function and tf.custom_gradient: where
 * the true one is unstable, costly, or not what is wanted.
 *
 * `forward` gets tensors and returns one or several; it is not recorded, and what else it makes is
 * freed at its end. What backward needs beside inputs and outputs it returns along with them, as
 * `{ outputs, saved }`; those tensors live as long as results do. `backward` gets the gradients of
 * the outputs (zeros for one that was not used) and a {@linkcode CustomGradientStep}, and returns
 * an array with the gradient of each input, of its shape and dtype, or null. Both must be
 * synchronous. Parameters that forward uses without being given them get no gradients.
 *
 * Where gradients are to be differentiated again (createGraph) backward is recorded: then it must
 * compute with inputs, outputs and gradients, as what was saved is a constant to it. Under
 * autocast() forward runs as it is called, backward outside of it.
 *
 * @throws {ArgumentError} when forward does not return tensors, or backward not a gradient or null
 * for each input.
 * @throws {ShapeError} when a gradient is not of its input's shape.
 * @throws {DTypeError} when it is not of its dtype.
 *
 * ```ts
 * import { customGradient, exp, log1p, tensor, Tensor } from "@cudeno/cudeno";
 * // log(1 + e^x), whose gradient would be infinity / infinity for large x
 * const softplus = customGradient(
 *   (x: Tensor) => log1p(exp(x)),
 *   ([gradient], { inputs: [x] }) => [gradient.mul(x.sigmoid())],
 * );
 * const x = tensor([0, 1000], { requiresGrad: true });
 * softplus(x).sum().backward();
 * console.log(x.grad!.dataSync()); // 0.5, 1
 * ```
 */
export function customGradient<
  In extends readonly Differentiable[],
  Out extends Differentiable | readonly [Differentiable, ...Differentiable[]] | Differentiable[],
  Saved = undefined,
>(
  forward: (...inputs: In) => Out | { outputs: Out; saved: Saved },
  backward: (
    gradients: ListOf<Out>,
    step: CustomGradientStep<In, Out, Saved>,
  ) => readonly (Differentiable | null)[],
): (...inputs: In) => Out {
  checkFunction(op, "forward", forward);
  checkFunction(op, "backward", backward);
  return (...inputs) => {
    checkList(op, "inputs", inputs, isTensor, "an array of tensors");
    const needs = inputs.map((input) => input.requiresGrad);
    const recorded = gradEnabled() && needs.includes(true);
    const { single, outputs, saved } = syncScope(() => {
      const result = withRecording(false, () => forward(...inputs));
      const { outputs: made, saved } = partsOf<Out, Saved>(result);
      const outputs = fresh(returned(`${op}: forward`, made, "{ outputs, saved }"));
      return { single: !Array.isArray(made), outputs, saved: recorded ? saved : undefined };
    });
    const step = { inputs, outputs, needs, saved } as unknown as CustomGradientStep<In, Out, Saved>;
    recordAll<Differentiable>(outputs, op, inputs, (...given) => {
      const here = innermost();
      const gradients = outputs.map((out, i) => given[i] ?? out.make(out.shape, out.dtype).fill(0));
      const results = backward(gradients as unknown as ListOf<Out>, step);
      checkGradients(results, inputs, needs);
      return results.map((x, i) => x && needs[i] ? handedOver(x, gradients, here) : null);
    });
    return (single ? outputs[0] : outputs) as Out;
  };
}

const op = "customGradient";

function partsOf<Out, Saved>(result: Out | { outputs: Out; saved: Saved }) {
  const named = typeof result === "object" && result !== null && "outputs" in result;
  return named ? result : { outputs: result, saved: undefined };
}

// The tape writes on outputs: those that were there before, or are there twice, get other handles.
function fresh(list: readonly Differentiable[]): Differentiable[] {
  const here = innermost();
  return list.map((x, i) =>
    x.owner === here && !x.requiresGrad && list.indexOf(x) === i ? x : x.alias()
  );
}

// A pass frees gradients that it has used up, so that it must not be given what is somebody else's:
// what backward did not make itself, but for the gradients that it got.
function handedOver(
  x: Differentiable,
  gradients: readonly Differentiable[],
  here: Scope | undefined,
): Differentiable {
  if (gradients.includes(x) || (!gradEnabled() && x.owner === here)) return x;
  return record(x.make(x.shape).copyFrom(x), "clone", [x], (gradient) => [gradient]);
}

function checkGradients(
  results: readonly (Differentiable | null)[],
  inputs: readonly Differentiable[],
  needs: readonly boolean[],
): void {
  if (results instanceof Promise) results.catch(() => {}); // or its failure would end the process
  const wanted = "an array with a gradient or null for each input";
  const right = (x: unknown) => x === null || isTensor(x);
  checkList(`${op}: backward`, "what it returns", results, right, wanted);
  if (results.length !== inputs.length) {
    throw new ArgumentError(
      `${op}: backward returns ${results.length} gradients, forward has ${inputs.length} inputs; ` +
        "return one for each, null where there is none",
    );
  }
  results.forEach((result, i) => {
    const input = inputs[i]!;
    if (!result || !needs[i]) return;
    if (!sameShape(result.shape, input.shape)) {
      throw new ShapeError(
        `${op}: backward returns a gradient of shape ${
          formatShape(result.shape)
        } for input ${i}, ` +
          `which is ${formatShape(input.shape)}; sum over axes along which it was broadcast`,
      );
    }
    if (result.dtype !== input.dtype) {
      throw new DTypeError(
        `${op}: backward returns a gradient of ${result.dtype} for input ${i}, which is ` +
          `${input.dtype}; cast it by to("${input.dtype}")`,
      );
    }
  });
}
