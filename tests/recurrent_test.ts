// Recurrent operations and layers beyond the table of cases: second derivatives, memory, bad input, PyTorch's semantics.
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  devices,
  DTypeError,
  grad,
  gradcheck,
  gru,
  lstm,
  memory,
  rand,
  type RecurrentWeights,
  resetPeakMemory,
  rnn,
  scope,
  ShapeError,
  type Tensor,
} from "../mod.ts";
import { cleanTest } from "./fixtures/helpers.ts";

const names = devices().map(({ device }) => device);

type Op = (x: Tensor, weights: RecurrentWeights, h0: Tensor, reverse: boolean) => Tensor;
const ops: Record<string, { gates: number; op: Op }> = {
  lstm: {
    gates: 4,
    op: (x, weights, h0, reverse) => {
      const { output, c } = lstm(x, weights, { h0, c0: h0, reverse });
      return output.mul(c); // both outputs
    },
  },
  gru: { gates: 3, op: (x, weights, h0, reverse) => gru(x, weights, { h0, reverse }).output },
  rnn: { gates: 1, op: (x, weights, h0, reverse) => rnn(x, weights, { h0, reverse }).output },
};

for (const device of names) {
  for (const [name, { gates, op }] of Object.entries(ops)) {
    for (const reverse of [false, true]) {
      cleanTest(`${name}(reverse: ${reverse}): second derivatives on ${device}`, () => {
        const [features, hidden, steps, n] = [2, 2, 3, 2];
        const make = (shape: number[]) =>
          rand(shape, { low: -1, dtype: "float64", device, requiresGrad: true });
        const inputs = [
          make([steps, n, features]),
          make([gates * hidden, features]),
          make([gates * hidden, hidden]),
          make([gates * hidden]),
          make([gates * hidden]),
          make([1, n, hidden]),
        ];
        const penalty = (...[x, weightIh, weightHh, biasIh, biasHh, h0]: Tensor[]) => {
          const weights = { weightIh: weightIh!, weightHh: weightHh!, biasIh, biasHh };
          const y = op(x!, weights, h0!, reverse);
          const wrt = [x!, weightIh!, weightHh!, biasIh!, biasHh!, h0!];
          const first = grad(y.mul(y).sum(), wrt, { createGraph: true });
          return first.map((g) => g.mul(g).sum()).reduce((a, b) => a.add(b));
        };
        assert(gradcheck(penalty, inputs, { atol: 1e-6 }));
      });
    }
  }
}
