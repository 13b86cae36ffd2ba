// LeNet-5 with its gradients as plain loops: what one would write without a library.

type Numbers = Float32Array<ArrayBuffer>;

/** A step back: takes the gradient of the result, gives that of the input. */
type Back = (dy: Numbers) => Numbers;

/** The network, with parameters in the order of lenet5()'s. */
export class TypescriptLeNet {
  readonly parameters: Numbers[];

  constructor(parameters: Iterable<ArrayLike<number>>) {
    this.parameters = Array.from(parameters, (p) => Float32Array.from(p));
  }

  /** A step of SGD on n images of 28 x 28; the mean of their losses. */
  step(images: Numbers, classes: ArrayLike<number>, lr: number): number {
    const n = classes.length;
    const backs: Back[] = [];
    const grads: Numbers[] = this.parameters.map((p) => new Float32Array(p.length));
    const at = (i: number) => [this.parameters[i]!, grads[i]!] as const;
    const run = ([y, back]: [Numbers, Back]) => {
      backs.push(back);
      return y;
    };
    let x = run(conv(images, [n, 1, 28], [6, 5, 2], at(0), at(1)));
    x = run(maxPool(run(relu(x)), n * 6, 28));
    x = run(conv(x, [n, 6, 14], [16, 5, 0], at(2), at(3)));
    x = run(maxPool(run(relu(x)), n * 16, 10));
    // linear layers: images of one pixel
    x = run(relu(run(conv(x, [n, 400, 1], [120, 1, 0], at(4), at(5)))));
    x = run(relu(run(conv(x, [n, 120, 1], [84, 1, 0], at(6), at(7)))));
    x = run(conv(x, [n, 84, 1], [10, 1, 0], at(8), at(9)));
    const { loss, dx } = crossEntropy(x, classes);
    backs.reduceRight((dy, back) => back(dy), dx);
    this.parameters.forEach((p, i) => p.forEach((value, j) => p[j] = value - lr * grads[i]![j]!));
    return loss;
  }
}

type Parameter = readonly [value: Numbers, grad: Numbers];

function conv(
  x: Numbers,
  [n, c, size]: [n: number, channels: number, size: number],
  [k, taps, padding]: [filters: number, taps: number, padding: number],
  [w, dw]: Parameter,
  [b, db]: Parameter,
): [Numbers, Back] {
  const out = size + 2 * padding - taps + 1;
  const y = new Float32Array(n * k * out * out), dx = new Float32Array(x.length);
  const each = (dy?: Numbers) => { // the sums, or with dy their gradients
    for (let at = 0, i = 0; i < n; i++) {
      for (let f = 0; f < k; f++) {
        for (let p = 0; p < out; p++) {
          for (let q = 0; q < out; q++, at++) {
            const g = dy ? dy[at]! : 0;
            let sum = b[f]!;
            for (let ch = 0; ch < c; ch++) {
              for (let r = 0; r < taps; r++) {
                const row = p + r - padding;
                if (row < 0 || row >= size) continue;
                for (let s = 0; s < taps; s++) {
                  const column = q + s - padding;
                  if (column < 0 || column >= size) continue;
                  const from = ((i * c + ch) * size + row) * size + column;
                  const weight = ((f * c + ch) * taps + r) * taps + s;
                  if (dy) {
                    dw[weight]! += g * x[from]!;
                    dx[from]! += g * w[weight]!;
                  } else sum += x[from]! * w[weight]!;
                }
              }
            }
            if (dy) db[f]! += g;
            else y[at] = sum;
          }
        }
      }
    }
  };
  each();
  return [y, (dy) => {
    each(dy);
    return dx;
  }];
}

function relu(x: Numbers): [Numbers, Back] {
  return [x.map((v) => v > 0 ? v : 0), (dy) => dy.map((g, i) => x[i]! > 0 ? g : 0)];
}

function maxPool(x: Numbers, images: number, size: number): [Numbers, Back] {
  const half = size / 2;
  const y = new Float32Array(images * half * half), places = new Int32Array(y.length);
  for (let at = 0, i = 0; i < images; i++) {
    for (let p = 0; p < half; p++) {
      for (let q = 0; q < half; q++, at++) {
        let best = (i * size + 2 * p) * size + 2 * q;
        for (const place of [best + 1, best + size, best + size + 1]) {
          if (x[place]! > x[best]!) best = place;
        }
        y[at] = x[best]!;
        places[at] = best;
      }
    }
  }
  return [y, (dy) => {
    const dx = new Float32Array(x.length);
    dy.forEach((g, i) => dx[places[i]!]! += g);
    return dx;
  }];
}

function crossEntropy(x: Numbers, classes: ArrayLike<number>): { loss: number; dx: Numbers } {
  const n = classes.length, dx = new Float32Array(x.length);
  let loss = 0;
  for (let i = 0; i < n; i++) {
    const scores = x.subarray(i * 10, i * 10 + 10);
    const top = Math.max(...scores);
    const exps = Array.from(scores, (s) => Math.exp(s - top));
    const sum = exps.reduce((a, b) => a + b);
    loss -= Math.log(exps[classes[i]!]! / sum) / n;
    exps.forEach((e, c) => dx[i * 10 + c] = (e / sum - (c === classes[i] ? 1 : 0)) / n);
  }
  return { loss, dx };
}
