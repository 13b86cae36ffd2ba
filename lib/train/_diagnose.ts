// Where a step that is not finite went wrong: it is done again, and every result looked at.
import { type Observer, observing } from "../core/autograd.ts";
import { isFloat } from "../core/dtype.ts";
import type { Node } from "../core/node.ts";
import { formatShape } from "../core/shape.ts";
import { mapTensors } from "../_structure.ts";
import type { Batch } from "../data/batch.ts";
import { addHook } from "../nn/_hooks.ts";
import type { AnyModule } from "../nn/module.ts";
import { isfinite } from "../ops/elementwise/compare.ts";
import type { Tensor } from "../tensor.ts";

/** What of a tensor is not finite, in words; undefined where all is. */
function trouble(x: Tensor): string | undefined {
  if (!isFloat(x.dtype) || x.disposed || x.size === 0) return undefined;
  const finite = Array.from(isfinite(x.detach()).dataSync());
  const at = finite.indexOf(0);
  if (at < 0) return undefined;
  const count = finite.filter((ok) => ok === 0).length;
  const where: number[] = [];
  let rest = at;
  for (const extent of x.shape.toReversed()) {
    where.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  const value = x.dataSync()[at];
  return `${value} at ${formatShape(where)} (${count} of ${x.size} not finite)`;
}

/** The first thing in a batch's step that is not finite, in words; undefined where all is. */
export function diagnose(
  model: AnyModule,
  batch: Batch<unknown, unknown>,
  loss: (batch: Batch<unknown, unknown>) => Tensor,
): string | undefined {
  let found: string | undefined;
  for (const [name, x] of Object.entries(model.stateDict())) {
    const wrong = x.requiresGrad && trouble(x);
    if (wrong) return `the parameter ${name} is ${wrong} before the step`;
  }
  for (const [name, part] of Object.entries(batch)) {
    mapTensors(part, (x, place) => {
      const wrong = trouble(x);
      if (wrong) found ??= `the data: ${name}${place} is ${wrong}`;
      return x;
    });
  }
  if (found) return found;

  const layers: string[] = [];
  const placeOf = new Map<Node, string>();
  const place = () => layers.length > 0 ? ` in ${layers.at(-1)}` : " outside of the model's layers";
  const observer: Observer = {
    made(out, name) {
      const x = out as Tensor;
      if (x.node) placeOf.set(x.node, place());
      if (found) return;
      const wrong = trouble(x);
      if (wrong) found = `${name}${place()} gave ${wrong}`;
    },
    gradients(node, gradients) {
      if (found) return;
      for (const gradient of gradients) {
        const wrong = gradient && trouble(gradient as Tensor);
        if (wrong) found ??= `the gradient of ${node.name}${placeOf.get(node) ?? ""} is ${wrong}`;
      }
    },
  };
  using hooks = new DisposableStack();
  for (const [name, module] of model.namedModules()) {
    const title = name ? `${name}: ${module.describe()}` : module.constructor.name;
    hooks.use(addHook(module, "before", () => void layers.push(title)));
    hooks.use(addHook(module, "after", () => void layers.pop()));
  }
  observing(observer, () => {
    const l = loss(batch);
    if (!found) l.backward();
  });
  return found;
}
