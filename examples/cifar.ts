// Trains a residual network to tell what is on small photos.
//
//   make data DATA=cifar10
//   deno run --allow-ffi --allow-read examples/cifar.ts --help
//
// cifar_record.ts gets to 0.94 in far less time, by a network and an optimizer made for it.
import { data, models } from "../mod.ts";
import { photoDefaults, photoHelp, trainOnPhotos } from "./photos.ts";
import { program } from "./program.ts";

const own = { epochs: 32, batch: 512, lr: 0.4 };
const help = `Trains ResNet-18 on CIFAR-10, with random crops, flips and cutouts.
${photoHelp(own, "cifar10")}`;

await program(help, { ...photoDefaults, ...own }, async (options) => {
  const sets = await data.cifar10({ dir: options.data, verify: options.limit === 0 });
  const model = models.resnet18({ classes: 10, smallImages: true });
  console.log(model.summary({ inputShape: [1, 3, 32, 32] }));
  const { compose, cutout, normalize, randomCrop, randomHorizontalFlip } = data.transforms;
  const prepare = normalize({ mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] });
  const augment = compose([
    ...[randomCrop(32, { padding: 4, paddingMode: "reflect" }), randomHorizontalFlip()],
    ...[prepare, cutout(8)],
  ]);
  const recipe = { name: "cifar10_resnet18", model, sets, augment, prepare };
  return await trainOnPhotos({ ...recipe, labelSmoothing: 0.1 }, options);
});
