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


def einsum():
    a, b = randn(first(64), 256, 256), randn(first(64), 256, 256)
    return forward(lambda: torch.einsum("bij,bjk->bik", a, b))


def lstm():
    layer = nn.LSTM(256, 256).to(device)
    x = randn(64, first(64), 256, grad=True)
    return both(lambda: layer(x)[0], [x, *layer.parameters()])


def transformer():
    layer = nn.TransformerEncoderLayer(512, 8, 2048, 0.0, batch_first=True).to(device)
    x = randn(first(32), 128, 512, grad=True)
    return both(lambda: layer(x), [x, *layer.parameters()])


ENTRIES = {
    **images("maxPool2d 3 stride 2", LARGE, lambda x: F.max_pool2d(x, 3, 2, 1)),
    **images("avgPool2d 3 stride 2", LARGE, lambda x: F.avg_pool2d(x, 3, 2, 1)),
    **images("instanceNorm", (16, 64, 256, 256), F.instance_norm),
    **images("upsample 2 bilinear", PHOTOS, resized("bilinear")),
    **images("upsample 2 bicubic", PHOTOS, resized("bicubic")),
    "einsum bij,bjk->bik 64x256": einsum,
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
