// What layers give.
import { assert, assertEquals } from "@std/assert";
import { featureMaps, memory, models, nn, noGrad, rand, scope, type Tensor } from "../../mod.ts";
import { cleanTest as test, later, refuse } from "../_helpers.ts";

test("featureMaps: what the layers give one after another, as the model evaluates", () => {
  const model = later(models.lenet5()), x = rand([2, 1, 28, 28]);
  const maps = featureMaps(model, x);
  assertEquals(Object.keys(maps), ["conv1", "pool1", "conv2", "pool2"]);
  const all = featureMaps(model, x, { layers: /./ });
  let y = x;
  for (const [name, layer] of model.entries()) {
    y = noGrad(() => layer.forward(y));
    assertEquals(all[name]!.dataSync(), y.dataSync(), name);
    if (maps[name]) assertEquals(maps[name].dataSync(), y.dataSync(), name);
    assert(!Object.hasOwn(layer, "forward"), "the hook is gone");
  }
  assert(Object.values(all).every((map) => !map.requiresGrad));
  assertEquals(Object.keys(featureMaps(model, x, { layers: "pool?" })), ["pool1", "pool2"]);
});

test("featureMaps: of any model, which stays as it is", () => {
  const makers = ["resnet18", "mobilenetV2", "squeezenet", "unet"] as const;
  for (const name of makers) {
    const model = models[name]({ classes: 4, channels: 3 }), x = rand([1, 3, 64, 64]);
    const sums = () => Object.values(model.stateDict()).map((x) => x.sum().itemSync());
    const modes = () => [...model.namedModules()].map(([, { training }]) => training);
    [...model.namedModules()][1]![1].eval(); // a mode of its own
    const before = [sums(), modes()];
    const maps = featureMaps(model, x);
    for (const [layer, { shape }] of Object.entries(maps)) {
      assertEquals([shape[0], shape.length], [1, 4], `${name} ${layer}`);
    }
    const convs = [...model.namedModules()].filter(([, part]) => part instanceof nn.Conv2d);
    assert(convs.every(([layer]) => maps[layer]), name);
    assertEquals([sums(), modes()], before, `${name}: no statistics move`);
    model.dispose();
  }
});

class Twice extends nn.Module {
  conv = new nn.Conv2d(1, 1, 3, { padding: 1 });
  broken = false;
  override forward(x: Tensor): Tensor {
    const y = scope(() => this.conv.forward(this.conv.forward(x)).relu());
    if (this.broken) throw new Error("broken");
    return y;
  }
}

test("featureMaps: a layer's last run, within scopes; frees all else; says what is wrong", () => {
  const model = later(new Twice()), x = rand([1, 1, 5, 5]);
  const { conv } = featureMaps(model, x);
  assertEquals(conv!.dataSync(), model.conv.forward(model.conv.forward(x)).dataSync());
  const { live } = memory();
  scope(() => void featureMaps(model, x));
  model.broken = true;
  refuse(() => featureMaps(model, x), Error, "broken");
  assertEquals([memory().live, model.training], [live, true]);
  model.broken = false;
  refuse(() => featureMaps(model, x, { layers: "fc" }), "argument", '"fc"', "layers are conv");
  refuse(() => featureMaps(later(new nn.ReLU()), x), "argument", "no layer runs");
});
