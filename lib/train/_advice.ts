// Warnings, once a model, of mistakes that a step shows: training would go on, and come to nothing.
import { type Observer, observing } from "../core/autograd.ts";
import { isFloat } from "../core/dtype.ts";
import { noGrad } from "../core/autograd.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { mapTensors } from "../_structure.ts";
import type { Batch } from "../data/batch.ts";
import type { AnyModule } from "../nn/module.ts";
import { abs } from "../ops/elementwise/unary.ts";
import { max, min } from "../ops/reduce/max.ts";
import { norm } from "../ops/reduce/norm.ts";
import { sum } from "../ops/reduce/sum.ts";
import type { Tensor } from "../tensor.ts";

const given = new WeakMap<AnyModule, Set<string>>(); // kinds of warnings

const largest = (x: Tensor): number => x.size === 0 ? 0 : max(x.detach()).itemSync();
const least = (x: Tensor): number => x.size === 0 ? 0 : min(x.detach()).itemSync();

// Gradients above this, with the usual losses and rates, take the parameters far away.
const steep = 1e4;
// Inputs above this are numbers as they were collected: pixels, prices, years.
const wide = 100;

/** Does a step, and warns of what it shows. */
export function advised<T>(
  model: AnyModule,
  batch: Batch<unknown, unknown>,
  clipped: boolean,
  step: () => T,
): T {
  let said = given.get(model);
  if (!said) given.set(model, said = new Set());
  const warn = (kind: string, text: string) => {
    if (said.has(kind)) return;
    said.add(kind);
    console.warn(`cudeno: fit: ${text}`);
  };
  noGrad(() => scope(() => lookAtInputs(batch, warn)));
  const observer: Observer = {
    made(out, name) {
      scope(() => lookAtResult(out as Tensor, name, warn));
    },
    gradients() {},
  };
  const result = observing(observer, step);
  noGrad(() => scope(() => lookAtGradients(model, clipped, warn)));
  return result;
}

type Warn = (kind: string, text: string) => void;

function lookAtInputs({ input }: Batch<unknown, unknown>, warn: Warn): void {
  mapTensors(input, (x, place) => {
    if (!isFloat(x.dtype)) return x;
    const reach = largest(abs(x));
    if (reach > wide && reach < Infinity) {
      warn(
        "inputs",
        `input${place} reaches ${reach.toPrecision(3)}; networks learn best from numbers around ` +
          "-1 to 1: scale them, by { scale: 1 / 255 } of a TensorDataset or a data.Normalizer",
      );
    }
    return x;
  });
}

function lookAtResult(out: Tensor, name: string, warn: Warn): void {
  const { node } = out;
  const x = node?.inputs[0] as Tensor | undefined;
  if (!node || !x || x.disposed) return;
  if (name === "relu" || node.gate?.activation === "relu") {
    if (out.size > 1 && largest(out) === 0) {
      warn(
        "relu",
        `a relu of ${formatShape(out.shape)} gives nothing but zeros, so that no gradient passes ` +
          "it; a lower learning rate, another initialisation or LeakyReLU may help",
      );
    }
  } else if (name === "nllLoss" && largest(x) > 0) {
    warn(
      "nll",
      "nllLoss() takes logarithms of probabilities, which are never above 0; give the model a " +
        "LogSoftmax, or its scores to crossEntropy()",
    );
  } else if (name === "crossEntropy" && x.rank === 2 && x.size > x.shape[1]! && sharesOf(x)) {
    warn(
      "logits",
      "crossEntropy() takes scores, not probabilities, of which it would take the softmax again; " +
        "leave out the model's last Softmax",
    );
  }
}

// Whether rows are probabilities, all of them.
function sharesOf(x: Tensor): boolean {
  if (least(x) < 0 || largest(x) > 1) return false;
  const sums = sum(x.detach(), 1);
  return largest(abs(sums.sub(1))) < 1e-3;
}

function lookAtGradients(model: AnyModule, clipped: boolean, warn: Warn): void {
  const without: string[] = [];
  let squares = 0;
  for (const [name, parameter] of model.namedParameters()) {
    const grad = parameter.grad as Tensor | null;
    if (!grad) without.push(name);
    else if (!clipped) squares += norm(grad.detach()).itemSync() ** 2;
  }
  if (without.length > 0) {
    warn(
      "unused",
      `no gradient came to ${without.slice(0, 5).join(", ")}${
        without.length > 5 ? ` and ${without.length - 5} more` : ""
      }; forward() makes no use of them, or detaches what it makes`,
    );
  }
  if (squares > steep ** 2 && squares < Infinity) {
    warn(
      "steep",
      `the gradients' norm is ${Math.sqrt(squares).toPrecision(3)}; a lower learning rate, or ` +
        "{ clipGradNorm: 1 } of the Trainer, keeps steps small",
    );
  }
}

/** Warns of an epoch whose loss is no number, once a model, where nobody looks for the reason. */
export function warnOfLoss(model: AnyModule, loss: number, guard: unknown): void {
  const said = given.get(model);
  if (guard || !said || said.has("loss")) return;
  said.add("loss");
  console.warn(
    `cudeno: fit: the loss is ${loss}; callbacks: [new callbacks.TerminateOnNaN()] stops there, ` +
      "and says which step, layer and operation it comes from",
  );
}
