import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ArgumentError, devices, models, nn, optim, rand, scope, type Tensor } from "../../mod.ts";

const names = devices().map(({ device }) => device);
const layers = (model: nn.Module) =>
  Array.from(model.namedChildren(), ([name, child]) => `${name} ${child.describe()}`);

Deno.test("models.mlp: layers in PyTorch's order, with its keys", () =>
  scope(() => {
    const model = models.mlp({
      in: 4,
      hidden: [8, 6],
      out: 3,
      activation: "tanh",
      norm: "layer",
      dropout: 0.25,
    });
    assertEquals(layers(model), [
      "0 Linear(4, 8)",
      "1 LayerNorm(8)",
      "2 Tanh",
      "3 Dropout(0.25)",
      "4 Linear(8, 6)",
      "5 LayerNorm(6)",
      "6 Tanh",
      "7 Dropout(0.25)",
      "8 Linear(6, 3)",
    ]);
    const plain = models.mlp({ in: 4, hidden: [8], out: 3, bias: false });
    assertEquals(Object.keys(plain.stateDict()), ["0.weight", "2.weight"]);
    assertEquals(layers(models.mlp({ in: 4, hidden: [], out: 3 })), ["0 Linear(4, 3)"]);
    const batch = models.mlp({ in: 4, hidden: [8], out: 3, norm: "batch", dtype: "float64" });
    assert(Object.keys(batch.stateDict()).includes("1.running_var"));
    assertEquals(batch.forward(rand([5, 4], { dtype: "float64" })).shape, [5, 3]);
  }));

Deno.test("models.perceptron: one layer, and an activation where one is named", () =>
  scope(() => {
    assertEquals(layers(models.perceptron(4, 3)), ["0 Linear(4, 3)"]);
    const model = models.perceptron(4, 1, { activation: "sigmoid", bias: false });
    assertEquals(layers(model), ["0 Linear(4, 1, { bias: false })", "1 Sigmoid"]);
    assertEquals(model.forward(rand([2, 4])).shape, [2, 1]);
  }));

for (const device of names) {
  Deno.test(`models: every activation and norm trains on ${device}`, () =>
    scope(() => {
      const activations = [
        "relu",
        "leakyRelu",
        "elu",
        "gelu",
        "silu",
        "sigmoid",
        "softplus",
        "tanh",
      ] as const;
      for (const activation of activations) {
        for (const norm of [undefined, "layer", "batch"] as const) {
          const model = models.mlp({
            in: 3,
            hidden: [8],
            out: 1,
            activation,
            device,
            ...(norm ? { norm } : {}),
          });
          const optimizer = new optim.SGD(model.parameters(), { lr: 0.05 });
          const x = rand([32, 3], { device });
          const target = x.sum(1, { keepDims: true });
          const losses: number[] = [];
          for (let step = 0; step < 30; step++) {
            optimizer.zeroGrad();
            const loss = new nn.SmoothL1Loss().forward(model.forward(x), target);
            loss.backward();
            optimizer.step();
            losses.push(loss.itemSync());
          }
          assert(losses.at(-1)! < losses[0]!, `${activation}, ${norm}: ${losses[0]} stays`);
          model.dispose();
          optimizer.dispose();
        }
      }
    }));
}

Deno.test("bad input of models is refused", () => {
  assertThrows(() => models.mlp({ in: 0, hidden: [], out: 1 }), ArgumentError, "in is 0");
  assertThrows(() => models.mlp({ in: 1, hidden: [0.5], out: 1 }), ArgumentError, "hidden is 0.5");
  assertThrows(() => models.mlp({ in: 1, hidden: 8 as never, out: 1 }), ArgumentError, "list");
  assertThrows(
    () => models.mlp({ in: 1, hidden: [2], out: 1, activation: "swish" as never }),
    ArgumentError,
    "swish",
  );
  assertThrows(
    () => models.mlp({ in: 1, hidden: [], out: 1, norm: "group" as never }),
    ArgumentError,
    "group",
  );
  assertThrows(() => models.mlp({ in: 1, hidden: [], out: 1, dropout: 2 }), ArgumentError, "2");
  assertThrows(() => models.perceptron(1, 1, { activaton: "relu" } as never), ArgumentError);
});

Deno.test("nn.Residual adds what its module gives, whose keys begin with inner", () =>
  scope(() => {
    const block = new nn.Residual(new nn.Linear(3, 3));
    assertEquals(Object.keys(block.stateDict()), ["inner.weight", "inner.bias"]);
    const x = rand([2, 3]);
    assertEquals(
      block.forward(x).dataSync(),
      x.add(block.inner.forward(x)).dataSync(),
    );
    block.eval();
    assert(!block.inner.training);
    block.dispose();
  }));

Deno.test("nn.ModuleList: numbered children, at, append and iteration", () =>
  scope(() => {
    class Deep extends nn.Module {
      layers = new nn.ModuleList([new nn.Linear(3, 3), new nn.Linear(3, 3)]);
      override forward(x: Tensor): Tensor {
        for (const layer of this.layers) x = layer.forward(x);
        return x;
      }
    }
    const model = new Deep();
    assert(model.layers.append(new nn.Linear(3, 2)) === model.layers);
    assertEquals(model.layers.length, 3);
    assertEquals(Object.keys(model.stateDict()), [
      "layers.0.weight",
      "layers.0.bias",
      "layers.1.weight",
      "layers.1.bias",
      "layers.2.weight",
      "layers.2.bias",
    ]);
    assertEquals(model.forward(rand([2, 3])).shape, [2, 2]);
    assert(model.layers.at(-1) === [...model.layers][2]);
    assertThrows(() => model.layers.at(3), ArgumentError, "no module 3 among 3");
    const { message } = assertThrows(() => model.layers.forward(rand([1])), ArgumentError);
    assertStringIncludes(message, "Sequential");
    model.dispose();
  }));
