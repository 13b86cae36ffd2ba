// Attention beyond the table of cases: masks, layouts, dtypes, dropout, and what it refuses.
import { assert, assertEquals } from "@std/assert";
import {
  add,
  autocast,
  devices,
  type DType,
  full,
  grad,
  gradcheck,
  linear,
  manualSeed,
  nn,
  ones,
  rand,
  randn,
  scaledDotProductAttention,
  type Tensor,
  tensor,
  where,
  zeros,
} from "../../../mod.ts";
import { cleanTest, later, nativeCalls, refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);

function assertNear(found: Tensor, wanted: Tensor, tolerance = 1e-6) {
  assertEquals(found.shape, wanted.shape);
  const [a, b] = [found.dataSync(), wanted.dataSync()];
  for (let i = 0; i < a.length; i++) {
    assert(Math.abs(a[i]! - b[i]!) <= tolerance, `element ${i} is ${a[i]}, not ${b[i]}`);
  }
}

const bits = (rows: number[][]) => tensor(rows, { dtype: "uint8" });

for (const device of names) {
  cleanTest(`attention: a mask of uint8 says where to attend on ${device}`, () => {
    const x = randn([4, 3], { device });
    const mask = bits([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]).to(device);
    const causal = scaledDotProductAttention(x, x, x, { causal: true });
    assertNear(scaledDotProductAttention(x, x, x, { mask }), causal);
    const first = scaledDotProductAttention(x, x, x, { mask: bits([[1, 0, 0, 0]]).to(device) });
    assertNear(first, x.view(0, [1, 3]).broadcastTo([4, 3]));
    const none = scaledDotProductAttention(x, x, x, { mask: bits([[0, 0, 0, 0]]).to(device) });
    assertEquals([...none.dataSync()], new Array(12).fill(0));
  });

  cleanTest(`attention: a query kept from all keys gives 0 and no gradient on ${device}`, () => {
    const minus = tensor([[0, 0], [-Infinity, -Infinity]], { device });
    const rows = bits([[1, 1], [0, 0]]).to(device);
    for (const mask of [minus, rows]) {
      for (const dtype of ["float32", "float64"] as const) {
        const x = tensor([[1, 2], [3, 4]], { dtype, device, requiresGrad: true });
        const options = { mask: mask.dtype === "uint8" ? mask : mask.to(dtype) };
        const y = scaledDotProductAttention(x, x, x, options);
        const wanted = tensor([[2.9716678, 3.9716678], [0, 0]], { dtype, device });
        assertNear(y, wanted);
        for (const createGraph of [false, true]) {
          const [dx] = grad(y.sum(), [x], { createGraph, retainGraph: true });
          // The second row is hidden as a query, but there as a key and a value.
          assertNear(
            dx!,
            tensor([[0.0536667, 0.0141669], [1.0253341, 1.0648344]], { dtype, device }),
          );
        }
      }
    }
  });

  // What stands for "hidden" elsewhere, such as torch.finfo(dtype).min, still is a number.
  const single = -3.4028234663852886e38, half = -3.3895313892515355e38;
  for (
    const [dtype, maskDType, lowest, tolerance] of [
      ...[["float32", "float32", single, 1e-6], ["float32", "float32", -1e9, 1e-6]] as const,
      ...[["float64", "float64", -Number.MAX_VALUE, 1e-12]] as const,
      ...[["float16", "float32", single, 2e-3]] as const,
      ...[["bfloat16", "bfloat16", half, 2e-2], ["bfloat16", "float32", single, 2e-2]] as const,
    ]
  ) {
    cleanTest(
      `attention: a row of masks of ${lowest} is uniform, ${dtype}, ${maskDType} on ${device}`,
      () => {
        const [queries, keys] = [70, 150], x = { dtype, device, requiresGrad: true };
        const [q, k, v] = [queries, keys, keys].map((rows) => randn([2, rows, 8], x)) as [
          ...[Tensor, Tensor, Tensor],
        ];
        // Row 0 is masked throughout, of row 1 all but key 3, row 2 where it is not hidden.
        const at = (row: number, key: number) =>
          row > 2 || (row === 1 && key === 3) ? 0 : row === 2 && key > 9 ? -Infinity : lowest;
        const masks = Array.from(
          { length: queries * keys },
          (_, i) => at(Math.floor(i / keys), i % keys),
        );
        const mask = tensor(masks, {
          ...{ shape: [queries, keys], dtype: maskDType, device, requiresGrad: true },
        });
        const y = scaledDotProductAttention(q, k, v, { mask });
        const rows = y.detach().slice(1, 0, 3).to("float64");
        const wide = v.detach().to("float64");
        const means = [wide, wide.slice(1, 3, 4), wide.slice(1, 0, 10)].map((x, i) =>
          [rows.slice(1, i, i + 1), x.mean(1, { keepDims: true })] as const
        );
        for (const [found, wanted] of means) assertNear(found, wanted, tolerance);
        const dy = randn(y.shape, { dtype, device });
        const [fused, ops] = [false, true].map((createGraph) =>
          grad(y, [q, k, v, mask], { gradOutputs: dy, createGraph, retainGraph: true })
        );
        fused!.forEach((x, i) => {
          const wanted = ops![i]!.detach().to("float64");
          assertNear(
            x.to("float64"),
            wanted,
            tolerance * 8 * Math.max(1, wanted.abs().max().itemSync()),
          );
        });
      },
    );
  }

  for (
    const [dtype, tolerance] of [["float32", 1e-5], ["float16", 1e-2], ["bfloat16", 6e-2]] as const
  ) {
    for (const features of [8, 40, 72]) {
      cleanTest(
        `attention: queries that see nothing may have any dy, ${dtype} ${features} on ${device}`,
        () => {
          const [queries, keys] = [150, 90], shape = [2, 2, queries, features];
          const made = (rows: number) =>
            randn([2, 2, rows, features], { dtype, device, requiresGrad: true });
          const inputs = [made(queries), made(keys), made(keys)] as [Tensor, Tensor, Tensor];
          const keyLengths = tensor([keys, 5], { dtype: "int32", device });
          const rows = (see: (row: number, batch: number) => boolean) =>
            tensor(
              Array.from({ length: 2 * queries }, (_, i) =>
                Number(see(i % queries, Math.floor(i / queries)))),
              { shape: [2, 1, queries, 1], dtype: "uint8", device },
            );
          const mask = rows((row) => row % 7 !== 0);
          const minus = where(mask, 0, full([1], -Infinity, { device }));
          const end = { causal: true, offset: "end" } as const;
          const cases = [
            [{ mask }, mask],
            [{ mask: minus.to(dtype) }, mask],
            [end, rows((row) => row >= queries - keys)],
            [{ ...end, keyLengths }, rows((row, b) => row >= queries - [keys, 5][b]!)],
            [{ window: [9, Infinity] as const }, rows((row) => row < keys + 9)],
          ] as const;
          for (const [options, see] of cases) {
            const y = scaledDotProductAttention(...inputs, options);
            const dy = randn(shape, { dtype, device });
            const [wanted, ...others] = [0, Infinity, NaN].map((poison) =>
              grad(y, inputs, { gradOutputs: where(see, dy, poison), retainGraph: true })
            );
            for (const found of others) {
              found.forEach((x, i) =>
                assertNear(x.to("float32"), wanted![i]!.to("float32"), tolerance)
              );
            }
          }
        },
      );
    }
  }

  cleanTest(`attention: scales that overflow times log2(e) on ${device}`, () => {
    for (const dtype of ["float32", "bfloat16"] as const) {
      const q = full([3, 8], 2 ** -126, { dtype, device });
      const v = randn([3, 8], { dtype, device });
      const y = scaledDotProductAttention(q, v, v, { scale: 3e38 });
      const wanted = scaledDotProductAttention(q.mul(2 ** 126), v, v, { scale: 3e38 / 2 ** 126 });
      assertNear(y.to("float32"), wanted.to("float32"), 2e-2);
    }
  });

  cleanTest(`attention: keys that are all padding poison no parameter on ${device}`, () => {
    const attention = later(new nn.MultiHeadAttention(4, 2, { device, batchFirst: true }));
    const layer = later(new nn.TransformerEncoderLayer(4, 2, { device, dropout: 0 }));
    // The first query of a causal sequence whose first key is padding, and one of padding alone.
    const keyPaddingMask = bits([[1, 0, 0], [1, 1, 1]]).to(device);
    const x = randn([2, 3, 4], { device });
    const y = attention.forward(x, x, x, { causal: true, keyPaddingMask });
    const own = attention.out_proj.bias!.broadcastTo([1, 4]);
    assertNear(y.slice(0, 0, 1).slice(1, 0, 1).reshape([1, 4]), own);
    const z = layer.forward(x.transpose(0, 1), { causal: true, keyPaddingMask });
    y.sum().add(z.mul(z).sum()).backward();
    for (const parameter of [...attention.parameters(), ...layer.parameters()]) {
      assert(parameter.grad!.dataSync().every(Number.isFinite));
    }
  });

  cleanTest(`attention: scores of 16-bit floats do not overflow on ${device}`, () => {
    for (const dtype of ["float16", "bfloat16"] as const) {
      const q = full([2, 4], 300, { dtype, device, requiresGrad: true });
      const v = full([2, 4], 2, { dtype, device });
      const two = new Array(8).fill(2);
      const y = scaledDotProductAttention(q, q, v);
      assertEquals([...y.dataSync()], two);
      assertEquals([...grad(y.sum(), [q])[0]!.dataSync()], new Array(8).fill(0));
      const [wide, wideV] = [q.detach().to("float32"), v.to("float32")];
      const found = autocast(dtype, () => scaledDotProductAttention(wide, q.detach(), wideV));
      assertEquals([found.dtype, ...found.dataSync()], [dtype, ...two]);
    }
  });

  cleanTest(`attention: the 16-bit floats are near float32 on ${device}`, () => {
    const inputs = [randn([2, 5, 8], { device }), randn([2, 9, 8], { device })];
    const [q, k] = inputs as [Tensor, Tensor];
    const wanted = scaledDotProductAttention(q, k, k, { causal: true });
    for (const [dtype, tolerance] of [["float16", 1e-2], ["bfloat16", 6e-2]] as const) {
      const [a, b] = [q.to(dtype), k.to(dtype)];
      const found = scaledDotProductAttention(a, b, b, { causal: true });
      assertEquals(found.dtype, dtype);
      assertNear(found.to("float32"), wanted, tolerance);
    }
  });

  cleanTest(
    `attention: limits beyond int32 and all keys hold for both gradients on ${device}`,
    () => {
      const [q, k, v] = [3, 5, 5].map((n) => randn([2, n, 4], { device, requiresGrad: true }));
      const keyLengths = tensor([9, 4], { dtype: "int32", device }), far = 2 ** 40;
      const dy = randn([2, 3, 4], { device });
      for (
        const options of [
          ...[{ causal: true, offset: far }, { window: [far, far] }, {
            window: [2, 1],
            offset: -far,
          }],
          ...[{ window: [far, 0], offset: far }, { causal: true, offset: "end", keyLengths }],
        ] as const
      ) {
        const y = scaledDotProductAttention(q!, k!, v!, options).mul(dy).sum();
        const [once, again] = [false, true].map((createGraph) =>
          grad(y, [q!, k!, v!], { createGraph, retainGraph: true })
        );
        for (const [i, found] of again!.entries()) assertNear(found!, once![i]!, 1e-5);
      }
    },
  );

  cleanTest(`attention: dropout keeps the mean on ${device}`, () => {
    manualSeed(1);
    const q = zeros([1, 1], { device });
    const v = rand([2000, 1], { device });
    const found = scaledDotProductAttention(q, zeros([2000, 1], { device }), v, { dropout: 0.5 });
    assertNear(found, v.mean(0, { keepDims: true }), 0.05);
  });
}

cleanTest("MultiHeadAttention: layouts, with and without a batch, give the same", () => {
  const one = later(new nn.MultiHeadAttention(6, 3));
  const two = later(new nn.MultiHeadAttention(6, 3, { batchFirst: true }));
  two.loadStateDict(one.stateDict());
  const x = randn([4, 2, 6]);
  const memory = randn([5, 2, 6]);
  const masks = {
    mask: bits([[0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]),
  };
  const [flipped, flippedMemory] = [x.transpose(0, 1), memory.transpose(0, 1)];
  const wanted = one.forward(x, memory, memory, masks);
  assertNear(two.forward(flipped, flippedMemory, flippedMemory, masks).transpose(0, 1), wanted);
  for (const module of [one, two]) {
    const [q, k] = [flipped.view(0, [4, 6]), flippedMemory.view(0, [5, 6])];
    const alone = module.forward(q, k, k, masks);
    assertNear(alone, wanted.transpose(0, 1).view(0, [4, 6]));
  }
  // One projection for queries, keys and values, or three.
  assertNear(one.forward(x), one.forward(x, x.clone(), x.clone()));
  assertNear(
    one.forward(x, undefined, undefined, { causal: true }),
    one.forward(x, x, x, {
      mask: bits([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]),
    }),
  );
});

for (const batchFirst of [true, false]) {
  for (const kind of ["self", "keys are values", "three"] as const) {
    cleanTest(
      `MultiHeadAttention: of ${kind}, batchFirst ${batchFirst}, as of parted heads`,
      () => {
        const attention = later(
          new nn.MultiHeadAttention(6, 3, { batchFirst, dtype: "float64", dropout: 0.5 }),
        );
        attention.in_proj_bias!.copyFrom(rand([18], { dtype: "float64" }));
        const inputs = () =>
          [4, 5, 5].map((n) =>
            randn(batchFirst ? [2, n, 6] : [n, 2, 6], { dtype: "float64", requiresGrad: true })
          ) as [Tensor, Tensor, Tensor];
        const given = inputs();
        const pick = ([a, b, c]: readonly Tensor[]): [Tensor, Tensor, Tensor] =>
          kind === "self" ? [a!, a!, a!] : kind === "three" ? [a!, b!, c!] : [a!, b!, b!];
        const keys = kind === "self" ? 4 : 5;
        const mask = randn([4, keys], { dtype: "float64", requiresGrad: true });
        const [weight, bias] = [attention.in_proj_weight, attention.in_proj_bias!];
        const parted = (...[q, k, v, w, b, mask]: Tensor[]) => {
          const heads = pick([q!, k!, v!]).map((x, i) =>
            linear(x, w!.slice(0, 6 * i, 6 * i + 6), b!.slice(0, 6 * i, 6 * i + 6))
              .reshape([x.shape[0]!, x.shape[1]!, 3, 2])
              .permute(batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3])
          ) as [Tensor, Tensor, Tensor];
          const y = scaledDotProductAttention(...heads, { mask: mask!, causal: true });
          const { out_proj } = attention;
          return out_proj.forward(
            y.permute(batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3]).reshape(q!.shape),
          );
        };
        const module = (...[q, k, v, , , mask]: Tensor[]) =>
          attention.forward(...pick([q!, k!, v!]), { mask: mask!, causal: true });
        attention.eval();
        const all = [...given, weight, bias, mask];
        const used = kind === "self"
          ? [0, 3, 4, 5]
          : kind === "three"
          ? [0, 1, 2, 3, 4, 5]
          : [0, 1, 3, 4, 5];
        assertNear(module(...all), parted(...all), 1e-12);
        const loss = (fn: typeof parted) => {
          const y = fn(...all);
          return y.mul(y).sum();
        };
        const asked = used.map((i) => all[i]!);
        const [found, wanted] = [module, parted].map((fn) => grad(loss(fn), asked));
        found!.forEach((x, i) => assertNear(x, wanted![i]!, 1e-11));
        const [second, expected] = [module, parted].map((fn) => {
          const first = grad(loss(fn), asked, { createGraph: true });
          return grad(first.map((x) => x.mul(x).sum()).reduce(add), asked);
        });
        second!.forEach((x, i) => assertNear(x, expected![i]!, 1e-9));
        // Dropout leaves out the same weights forward and back, in either derivative.
        attention.train();
        const dropped = (x: Tensor) => {
          manualSeed(3);
          return attention.forward(...pick([x, given[1], given[2]]));
        };
        assert(gradcheck(dropped, [given[0]]));
        assert(gradcheck((x: Tensor) => {
          const y = dropped(x);
          return grad(y.mul(y).sum(), [x], { createGraph: true })[0]!;
        }, [given[0]]));
      },
    );
  }
}

cleanTest("MultiHeadAttention: heads are neither parted nor joined by copies", () => {
  const attention = later(new nn.MultiHeadAttention(8, 2, { batchFirst: true }));
  const x = randn([2, 3, 8]);
  const copies = ["cdn_strided_copy", "cdn_strided_write", "cdn_transpose", "cdn_copy"] as const;
  const attentions = ["cdn_attention", "cdn_attention_grad"] as const;
  const calls = nativeCalls([...copies, ...attentions], () => {
    attention.forward(x).backward(ones([2, 3, 8]));
  });
  assertEquals(calls.map(({ name }) => name), [...attentions]);
});

cleanTest("MultiHeadAttention: masks of either kind together", () => {
  const attention = later(new nn.MultiHeadAttention(4, 2));
  const x = randn([3, 2, 4]);
  const block = [[0, 1, 0], [0, 0, 0], [1, 0, 0]];
  const hide = [[0, 0, 0], [0, 0, 1]];
  const floats = (rows: number[][]) => tensor(rows.map((row) => row.map((b) => b ? -1e9 : 0)));
  const doubles = (rows: number[][]) => floats(rows).to("float64");
  const results = [bits, floats, doubles].flatMap((a) =>
    [bits, floats, doubles].map((b) =>
      attention.forward(x, x, x, { mask: a(block), keyPaddingMask: b(hide) })
    )
  );
  for (const found of results) assertNear(found, results[0]!);
  const each = bits([...block, ...block]).reshape([2, 3, 3]);
  const perHead = tensor(
    Array.from({ length: 2 }, () => [...each.to("float32").dataSync()]).flat(),
  ).reshape([4, 3, 3]).to("uint8");
  assertNear(
    attention.forward(x, x, x, { mask: perHead, keyPaddingMask: bits(hide) }),
    results[0]!,
  );
});

cleanTest("TransformerEncoderLayer: keys, evaluation without dropout, second derivatives", () => {
  const layer = later(
    new nn.TransformerEncoderLayer(4, 2, { feedForward: 3, dropout: 0.5, dtype: "float64" }),
  );
  assertEquals(Object.keys(layer.stateDict()).sort(), [
    "linear1.bias",
    "linear1.weight",
    "linear2.bias",
    "linear2.weight",
    "norm1.bias",
    "norm1.weight",
    "norm2.bias",
    "norm2.weight",
    "self_attn.in_proj_bias",
    "self_attn.in_proj_weight",
    "self_attn.out_proj.bias",
    "self_attn.out_proj.weight",
  ]);
  const x = randn([3, 2, 4], { dtype: "float64", requiresGrad: true });
  const differ = (a: Tensor, b: Tensor) => a.sub(b).abs().max().itemSync() > 1e-3;
  assert(differ(layer.forward(x), layer.forward(x)));
  layer.eval();
  assertNear(layer.forward(x), layer.forward(x), 0);
  const [first] = grad(layer.forward(x).mul(x).sum(), [x], { createGraph: true });
  const [second] = grad(first!.mul(first!).sum(), [x]);
  assert(second!.dataSync().every(Number.isFinite));
  assertEquals(later(new nn.MultiheadAttention(4, 2)).describe(), "MultiHeadAttention(4, 2)");
});

cleanTest("MultiHeadAttention starts as PyTorch's", () => {
  const attention = later(new nn.MultiHeadAttention(64, 4));
  const weights = attention.in_proj_weight.dataSync();
  const bound = Math.sqrt(6 / 256);
  assert(weights.every((w) => Math.abs(w) <= bound));
  assert(weights.some((w) => Math.abs(w) > 0.99 * bound));
  for (const bias of [attention.in_proj_bias!, attention.out_proj.bias!]) {
    assert(bias.dataSync().every((b) => b === 0));
  }
  const bare = later(new nn.MultiHeadAttention(4, 2, { bias: false }));
  assertEquals(Object.keys(bare.stateDict()).sort(), ["in_proj_weight", "out_proj.weight"]);
});

cleanTest("bad input: attention", () => {
  const x = zeros([2, 3, 4]);
  const attend = scaledDotProductAttention;
  refuse(() => attend(x, zeros([2, 3, 5]), x), "shape", "as many features");
  refuse(() => attend(x, x, zeros([2, 2, 4])), "shape", "as many keys as values");
  refuse(() => attend(zeros([4]), x, x), "shape", "two axes");
  refuse(() => attend(x, x, x, { mask: zeros([3, 3], { dtype: "int32" }) }), "dtype", "int32");
  for (const dtype of ["float32", "uint8"] as const) {
    refuse(() => attend(x, x, x, { mask: zeros([1, 2], { dtype }) }), "shape", "mask", "[1, 2]");
  }
  refuse(() => attend(x, x, zeros([2, 3, 4], { dtype: "float64" })), "dtype", "float64");
  refuse(() => attend(x, x, x, { scale: NaN }), "argument", "scale");
  refuse(() => attend(x, x, x, { dropout: 2 }), "argument", "dropout is 2");
  refuse(() => attend(x, x, x, { offset: 0.5 }), "argument", "offset is 0.5", 'or "end"');
  refuse(() => attend(x, x, x, { window: [1, -1] }), "argument", "right is -1", "or Infinity");
  refuse(() => attend(x, x, x, { casual: true } as object), "argument", "did you mean causal");
  const dtype: DType = "uint8";
  const attention = later(new nn.MultiHeadAttention(4, 2));
  refuse(() => new nn.MultiHeadAttention(6, 4), "argument", "multiple of 4");
  refuse(() => new nn.TransformerEncoderLayer(4, 2, { activation: "tanh" as "relu" }), "argument");
  refuse(() => new nn.TransformerEncoder([attention as unknown as never]), "argument", "layers");
  refuse(() => attention.forward(zeros([2, 3, 5])), "shape", "[2, 3, 5]", "[sequence, batch, 4]");
  refuse(() => attention.forward(x, zeros([5, 2, 4])), "shape", "one batch");
  refuse(() => attention.forward(x, zeros([5, 3, 4]), x), "shape", "as many keys as values");
  const forward = (masks: nn.AttentionMasks) => () => attention.forward(x, x, x, masks);
  refuse(forward({ mask: zeros([3, 3], { dtype }) }), "shape", "mask is [3, 3]", "[2, 2]");
  refuse(forward({ keyPaddingMask: zeros([2, 3], { dtype }) }), "shape", "[3, 2]");
  refuse(forward({ mask: zeros([2, 2], { dtype: "int32" }) }), "dtype", "int32");
});

for (const device of names) {
  cleanTest(`MultiHeadAttention of no keys, or of no queries, on ${device}`, () => {
    for (const batch of [1, 2]) {
      const attention = later(new nn.MultiHeadAttention(4, 2, { device }));
      const [x, none] = [randn([3, batch, 4], { device }), zeros([0, batch, 4], { device })];
      const y = attention.forward(x, none);
      const bias = attention.out_proj.bias!.dataSync();
      y.dataSync().forEach((value, i) => assertEquals(value, bias[i % 4]));
      assertEquals(attention.forward(none, x).shape, [0, batch, 4]);
      none.requiresGrad = true;
      attention.forward(none, x).sum().backward();
      none.grad!.dispose();
    }
  });
}
