// Gradients of all parameters of a model against differences.
import { assert, assertEquals } from "@std/assert";
import {
  customGradient,
  DTypeError,
  gradcheckModel,
  GradientError,
  manualSeed,
  mseLoss,
  nn,
  ones,
  rand,
  randint,
  scope,
  Tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, later, refuse } from "../_helpers.ts";

const float64 = { dtype: "float64" } as const;
const values = (model: nn.Module) => Object.values(model.stateDict()).map((x) => x.dataSync());

test("gradcheckModel: right gradients pass, with dropout and batch normalisation", () => {
  const model = later(
    new nn.Sequential(
      new nn.Linear(3, 4, float64),
      new nn.BatchNorm1d(4, float64),
      new nn.Dropout(0.3),
      new nn.Tanh(),
      new nn.Linear(4, 2, float64),
    ),
  );
  const [input, target] = [rand([5, 3], { ...float64, requiresGrad: true }), randint(0, 2, [5])];
  const before = values(model);
  manualSeed(4);
  assert(gradcheckModel(model, input, target, new nn.CrossEntropyLoss()));
  assertEquals(values(model), before);
  assertEquals([input, ...model.parameters()].filter((x) => x.grad), []);
  const next = rand([4]).dataSync();
  manualSeed(4);
  assertEquals(rand([4]).dataSync(), next);
});

test("gradcheckModel: whole numbers as input, a function as loss, parameters used twice", () => {
  const table = later(new nn.Embedding(4, 3, float64));
  const [input, target] = [randint(0, 4, [6]), rand([6, 3], float64)];
  assert(gradcheckModel(table, input, target, (y, target) => mseLoss(y.mul(y).tanh(), target)));
});

test("gradcheckModel: a wrong gradient is named by parameter and element", () => {
  const halved = customGradient((w: Tensor) => w.mul(1), ([g]) => {
    const factors = ones(g.shape, float64);
    factors.view(3, [1]).fill(0.5);
    return [g.mul(factors)];
  });
  class Wrong extends nn.Module {
    inner = new nn.Linear(2, 2, float64);
    override forward(x: Tensor): Tensor {
      return x.matmul(halved(this.inner.weight)).add(this.inner.bias!);
    }
  }
  const model = later(new Wrong());
  const [x, y] = [ones([3, 2], float64), zeros([3, 2], float64)];
  const before = values(model);
  const check = () => gradcheckModel(model, x, y, (y) => y.mean());
  refuse(check, GradientError, "gradcheckModel", "element 3 of inner.weight", "is 0.25", "give 0.");
  assertEquals(values(model), before);
  model.inner.weight.requiresGrad = false; // not trained, not checked
  assert(check());
});

test("gradcheckModel: what it cannot check is said", () => {
  const [model, x] = [later(new nn.Linear(2, 2)), ones([1, 2])];
  const loss = new nn.MSELoss();
  refuse(() => gradcheckModel(model, x, x, loss), DTypeError, "weight is float32", "float64");
  refuse(() => gradcheckModel(new nn.ReLU(), x, x, loss), "argument", "no parameters");
  const double = later(new nn.Linear(2, 2, float64));
  const y = ones([1, 2], float64);
  const check = (loss: unknown, options = {}) => () =>
    scope(() => gradcheckModel(double, y, y, loss as typeof mseLoss, options));
  refuse(check((y: Tensor) => y), "shape", "2 elements", "mean()");
  refuse(check(() => 3), "argument", "loss");
  refuse(check(null), "argument", "loss");
  refuse(check(mseLoss, { epsilon: 1 }), "argument", "epsilon");
  refuse(() => gradcheckModel({} as nn.Module, y, y, loss), "argument", "model");
  refuse(() => gradcheckModel(double, [1] as never, y, loss), "argument", "input");
});
