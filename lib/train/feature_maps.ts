import { noGrad } from "../core/autograd.ts";
import { formatValue } from "../core/describe.ts";
import { checkOptions } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkModule } from "../nn/_check.ts";
import { ConvBase } from "../nn/_conv_base.ts";
import { addHook } from "../nn/_hooks.ts";
import type { Module } from "../nn/module.ts";
import { matcherOf, type NamePattern } from "../nn/_names.ts";
import { PoolBase } from "../nn/pooling.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/** Options of {@linkcode featureMaps}. */
export interface FeatureMapsOptions {
  /** Which layers, by name. Default: convolutions and pooling. */
  layers?: NamePattern | undefined;
}

/**
 * What layers of a model give for an input, by the layers' names in the order in which they ran: of
 * convolutions [n, channels, height, width]. plot.grid() draws them. Of a layer that runs more than
 * once it is the last. An activation is a layer by itself: a convolution's map is before it.
 *
 * The model runs in evaluation mode, without gradients, and stays as it is.
 *
 * @throws {ArgumentError} when none of such layers runs.
 *
 * ```ts
 * import { featureMaps, models, plot, rand } from "@cudeno/cudeno";
 * const maps = featureMaps(models.lenet5(), rand([1, 1, 28, 28]));
 * console.log(Object.keys(maps)); // conv1, pool1, conv2, pool2
 * const channels = maps.conv2!.select(0, 0); // [16, 10, 10], a picture each
 * const seen = await plot.grid(channels, { normalize: true, title: "conv2" });
 * ```
 */
export function featureMaps<Input = Tensor>(
  model: Module<Input, unknown>,
  input: Input,
  options: FeatureMapsOptions = {},
): Record<string, Tensor> {
  const op = "featureMaps";
  checkModule(op, "model", model);
  checkOptions(op, options, ["layers"]);
  const { layers } = options;
  const matches = layers === undefined ? undefined : matcherOf(op, layers);
  const modules = [...model.namedModules()];
  const modes = modules.map(([, part]) => [part, part.training] as const);
  const found = new Map<string, Tensor>();
  const hooks = new DisposableStack();
  try {
    for (const [name, part] of modules) {
      if (!(matches?.(name) ?? (part instanceof ConvBase || part instanceof PoolBase))) continue;
      hooks.use(addHook(part, "after", (_part, _x, y) => {
        checkTensor(`${op}: what ${name || "the model"} gives`, y);
        found.get(name)?.dispose();
        found.delete(name); // so that it comes last
        found.set(name, keep(y.detach())); // from scopes within forward() too
      }));
    }
    model.eval();
    scope(() => void noGrad(() => model.forward(input)));
    if (found.size > 0) {
      return Object.fromEntries(Array.from(found, ([name, y]) => [name, y.detach()]));
    }
    const names = modules.map(([name]) => name).filter(Boolean).join(", ");
    const wanted = layers === undefined ? "convolution or pooling" : formatValue(layers);
    throw new ArgumentError(`${op}: no layer runs that is ${wanted}; the layers are ${names}`);
  } finally {
    hooks.dispose();
    for (const [part, training] of modes) part.training = training;
    for (const y of found.values()) y.dispose();
  }
}
