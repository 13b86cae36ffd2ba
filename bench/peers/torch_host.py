"""The entries of bench/host.ts in PyTorch, eager: one JSON line each.

    python3 torch_host.py cuda|cpu [FILTER]
"""

import json
import sys
import time

import torch
from torch import nn

device = sys.argv[1]
wanted = sys.argv[2] if len(sys.argv) > 2 else ""
torch.backends.cuda.matmul.allow_tf32 = False
if device == "cpu":
    torch.set_num_threads(1)  # the fastest for work as small as this
BATCH, BATCHES = 200, 300


def sync():
    if device == "cuda":
        torch.cuda.synchronize()


def measure(fn, launches=1):
    # In a row: the driver takes only so many launches before the host has to wait.
    calls = BATCH // launches
    times = []
    for i in range(-50, BATCHES):  # the first ones warm up
        start = time.perf_counter()
        for _ in range(calls):
            fn()
        us = (time.perf_counter() - start) * 1e6 / calls
        sync()
        if i >= 0:
            times.append(us)
    return sorted(times)


def randn(*shape, grad=False):
    return torch.randn(*shape, device=device, requires_grad=grad)


x, y, one = randn(16, 16), randn(16, 16), randn(1)
a, b = randn(64, 64), randn(64, 64)
leaves = [randn(64, 64, grad=True), randn(64, 64, grad=True)]
model = nn.Sequential(
    nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
).to(device)
model(randn(8, 64)).sum().backward()
optimizer = torch.optim.AdamW(
    model.parameters(), lr=1e-3, **({"fused": True} if device == "cuda" else {})
)


def backward():
    leaves[0].matmul(leaves[1]).relu().sum().backward()
    for leaf in leaves:
        leaf.grad = None


def reads_before_products():
    big, other = randn(8192, 8192), randn(8192, 8192)
    times = []
    for i in range(-2, 10):
        number = x.sum()
        for _ in range(16):
            x.relu()
        for _ in range(4):
            big @ other
        start = time.perf_counter()
        number.item()
        if i >= 0:
            times.append((time.perf_counter() - start) * 1e6)
        sync()
    return sorted(times)


ENTRIES = {
    "bare launch": lambda: one.fill_(0),
    "relu 16x16": lambda: x.relu(),
    "add 16x16": lambda: x + y,
    "softmax 16x16": lambda: x.softmax(-1),
    "matmul 64x64": lambda: a @ b,
    "matmul, relu, sum and backward 64x64": backward,
    "AdamW step of a 64-64-64-10 MLP": optimizer.step,
}
if device == "cuda":
    ENTRIES["item() before 4 products of 8192, queued"] = reads_before_products

for name, fn in ENTRIES.items():
    if wanted in name:
        times = fn() if fn is reads_before_products else measure(fn, 8 if fn is backward else 1)
        line = {"name": name, "us": times[len(times) // 2], "min_us": times[0]}
        print(json.dumps({**line, "peer": f"torch {torch.__version__} eager"}), flush=True)
