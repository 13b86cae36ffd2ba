"""The entries of bench/ops.ts in PyTorch, eager: one JSON line each.

    python3 torch_ops.py cuda|cpu [FILTER]
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

device = sys.argv[1]
wanted = sys.argv[2] if len(sys.argv) > 2 else ""
scale = 16 if device == "cpu" else 1
M = 2**20
torch.backends.cuda.matmul.allow_tf32 = False


def sync():
    if device == "cuda":
        torch.cuda.synchronize()


def time_us(fn):
    def run(calls):
        start = time.perf_counter()
        for _ in range(calls):
            fn()
        sync()
        return (time.perf_counter() - start) * 1e6 / calls

    run(2)
    calls = min(5000, max(1, int(30000 / run(1)) + 1))
    return sorted(run(calls) for _ in range(7))[3]


def first(n):
    return max(1, n // scale)


def randn(*shape, grad=False):
    return torch.randn(*shape, device=device, requires_grad=grad)


def classes(n, high):
    return torch.randint(0, high, (n,), device=device)


def both(fn, leaves):
    seed = torch.ones_like(fn())

    def step():
        fn().backward(seed)
        for x in leaves:
            x.grad = None

    return step


def forward(fn):
    def step():
        with torch.no_grad():
            fn()

    return step


ROWS, WIDE, FLAT = first(16384), 1024, first(64 * M)


def gelu():
    x = randn(FLAT)
    return forward(lambda: F.gelu(x))


def where():
    a, b = randn(FLAT), randn(FLAT)
    c = a > b
    return forward(lambda: torch.where(c, a, b))


def dropout():
    x = randn(FLAT)
    return forward(lambda: F.dropout(x, 0.1))


def slice_():
    x = randn(FLAT)
    return forward(lambda: x[::2].contiguous())


def on_rows(fn):
    def setup():
        x = randn(ROWS, WIDE)
        return forward(lambda: fn(x))

    return setup


def cumsum_long():
    x = randn(first(16 * M))
    return forward(lambda: x.cumsum(0))


def layer_norm():
    x, w, b = randn(ROWS, WIDE, grad=True), randn(WIDE, grad=True), randn(WIDE, grad=True)
    return both(lambda: F.layer_norm(x, (WIDE,), w, b), [x, w, b])


def batch_norm():
    x, w, b = randn(first(65536), 256, grad=True), randn(256, grad=True), randn(256, grad=True)
    return both(lambda: F.batch_norm(x, None, None, w, b, True), [x, w, b])


def images(name, size, fn):
    n, c, h, w = size
    size = (first(n), c, h, w)
    kind = f"{name} {n}x{c}x{h}x{w}"

    def make(layout, grad):
        x = randn(*size).to(memory_format=layout)
        return x.requires_grad_(grad)

    def setup(layout, grad):
        def start():
            x = make(layout, grad)
            return both(lambda: fn(x), [x]) if grad else forward(lambda: fn(x))

        return start

    formats = {"contiguous": torch.contiguous_format, "channelsLast": torch.channels_last}
    return {
        f"{kind} {format}{', forward and backward' if grad else ''}": setup(layout, grad)
        for format, layout in formats.items()
        for grad in (False, True)
    }


LARGE, PHOTOS = (256, 64, 112, 112), (8, 3, 512, 512)


def resized(mode):
    return lambda x: F.interpolate(x, scale_factor=2, mode=mode)


def cross_entropy():
    x, t = randn(ROWS, WIDE, grad=True), classes(ROWS, WIDE)
    return both(lambda: F.cross_entropy(x, t), [x])


def embedding():
    w, i = randn(50000, 512, grad=True), classes(ROWS, 50000)
    return both(lambda: F.embedding(i, w), [w])


def scatter_add():
    x, s, i = randn(M), randn(first(4 * M)), classes(first(4 * M), M)
    return forward(lambda: x.scatter_add(0, i, s))


def top_k(k, n, cols):
    def setup():
        x = torch.rand(first(n), cols, device=device)
        return forward(lambda: x.topk(k))

    return setup


def sort():
    x = torch.rand(first(M), device=device)
    return forward(lambda: x.sort())


def einsum():
    a, b = randn(first(64), 256, 256), randn(first(64), 256, 256)
    return forward(lambda: torch.einsum("bij,bjk->bik", a, b))


def adamw(count, size):
    def setup():
        p = [randn(size, grad=True) for _ in range(count)]
        for x in p:
            x.grad = torch.randn_like(x)
        fused = {"fused": True} if device == "cuda" else {}
        optimizer = torch.optim.AdamW(p, lr=1e-3, **fused)
        return optimizer.step

    return setup


def lstm():
    layer = nn.LSTM(256, 256).to(device)
    x = randn(64, first(64), 256, grad=True)
    return both(lambda: layer(x)[0], [x, *layer.parameters()])


def transformer():
    layer = nn.TransformerEncoderLayer(512, 8, 2048, 0.0, batch_first=True).to(device)
    x = randn(first(32), 128, 512, grad=True)
    return both(lambda: layer(x), [x, *layer.parameters()])


ENTRIES = {
    "gelu 64M": gelu,
    "where 64M": where,
    "dropout 64M": dropout,
    "slice ::2 of 64M": slice_,
    "softmax 16384x1024": on_rows(lambda x: x.softmax(1)),
    "variance 16384x1024": on_rows(lambda x: x.var(1)),
    "logSumExp 16384x1024": on_rows(lambda x: x.logsumexp(1)),
    "cumsum 16384x1024": on_rows(lambda x: x.cumsum(1)),
    "cumsum 16M": cumsum_long,
    "layerNorm 16384x1024, forward and backward": layer_norm,
    "batchNorm 65536x256, forward and backward": batch_norm,
    **images("batchNorm", LARGE, lambda x: F.batch_norm(x, None, None, training=True)),
    **images("maxPool2d 3 stride 2", LARGE, lambda x: F.max_pool2d(x, 3, 2, 1)),
    **images("avgPool2d 3 stride 2", LARGE, lambda x: F.avg_pool2d(x, 3, 2, 1)),
    **images("instanceNorm", (16, 64, 256, 256), F.instance_norm),
    **images("upsample 2 bilinear", PHOTOS, resized("bilinear")),
    **images("upsample 2 bicubic", PHOTOS, resized("bicubic")),
    "crossEntropy 16384x1024, forward and backward": cross_entropy,
    "embedding 16384 of 50000x512, forward and backward": embedding,
    "scatterAdd 4M into 1M": scatter_add,
    "topK 5 of 4096x1000": top_k(5, 4096, 1000),
    "topK 50 of 256x50000": top_k(50, 256, 50000),
    "sort 1M": sort,
    "einsum bij,bjk->bik 64x256": einsum,
    "AdamW 16 x 4M parameters": adamw(16, first(4 * M)),
    "AdamW 100 x 1000 parameters": adamw(100, 1000),
    "lstm 64 steps of 64x256, 256 hidden, forward and backward": lstm,
    "TransformerEncoderLayer 32x128x512, forward and backward": transformer,
}

for name, setup in ENTRIES.items():
    if wanted in name:
        us = time_us(setup())
        print(
            json.dumps({"name": name, "us": us, "peer": f"torch {torch.__version__} eager"}),
            flush=True,
        )
