// The convolutions of bench/results/<machine>/conv.json, of its ladder, and random ones.
import { generator } from "../random.ts";
import { type Layer, samePadding } from "./layer.ts";

type Images = [n: number, c: number, h: number, w: number];

function layer([n, c, h, w]: Images, k: number, taps: number, rest: Partial<Layer> = {}): Layer {
  const { stride = 1, dilation = 1, groups = 1, padding = samePadding(taps, dilation) } = rest;
  return { n, c, h, w, k, taps, stride, padding, dilation, groups };
}

const lenet = layer([128, 6, 12, 12], 16, 5, { padding: 0 });

// Layers of MobileNet V2: channels, extent, stride.
const depthwise: [number, number, number][] = [
  [32, 112, 1],
  [96, 112, 2],
  [144, 56, 1],
  [192, 28, 2],
  [384, 14, 1],
  [576, 14, 2],
  [960, 7, 1],
];

/** Layers of LeNet-5, ResNet and MobileNet V2. */
export const layers: readonly Layer[] = [
  layer([128, 1, 28, 28], 6, 5, { padding: 0 }),
  lenet,
  layer([32, 64, 56, 56], 64, 3),
  layer([32, 128, 28, 28], 128, 3),
  layer([32, 256, 14, 14], 256, 3),
  layer([32, 512, 7, 7], 512, 3),
  layer([256, 64, 56, 56], 64, 3),
  layer([32, 3, 224, 224], 64, 7, { stride: 2 }),
  layer([32, 64, 56, 56], 128, 1, { stride: 2 }),
  layer([32, 64, 56, 56], 128, 3, { stride: 2 }),
  ...depthwise.map(([c, size, stride]) => layer([32, c, size, size], c, 3, { stride, groups: c })),
];

/** On which all methods are compared. */
export const ladder: readonly Layer[] = [
  layer([32, 64, 56, 56], 64, 3),
  layer([32, 256, 14, 14], 256, 3),
  lenet,
];

/**
 * Layers of batch 1 to 64, images of 7 to 112, filters of 1 to 7, one in three with groups and half
 * of these depthwise, strides and dilations; the same at each run. `most` bounds multiply-adds.
 */
export function randomLayers(count: number, most: number): Layer[] {
  const random = generator(20_260_101);
  const whole = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const spread = (low: number, high: number) =>
    Math.floor(Math.exp(Math.log(low) + random() * Math.log((high + 1) / low)));
  const channels = () => random() < 0.5 ? 8 * spread(1, 64) : spread(1, 512);
  const drawn: Layer[] = [];
  while (drawn.length < count) {
    const groups = [1, 1, 1, 1, spread(2, 16), channels()][whole(0, 5)]!;
    const each = (own: number) => groups > 16 ? groups : groups * Math.ceil(own / groups);
    const [c, k] = [each(channels()), each(channels())];
    const [taps, dilation] = [whole(1, 7), random() < 0.2 ? 2 : 1];
    const x = layer([spread(1, 64), c, spread(7, 112), spread(7, 112)], k, taps, {
      ...{ groups, dilation, stride: random() < 0.3 ? 2 : 1 },
      padding: whole(0, samePadding(taps, dilation)),
    });
    const room = Math.min(x.h, x.w) + 2 * x.padding - dilation * (taps - 1);
    const work = x.n * x.h * x.w * k * (c / groups) * taps ** 2 / x.stride ** 2;
    if (room > 0 && work <= most) drawn.push(x);
  }
  return drawn;
}
