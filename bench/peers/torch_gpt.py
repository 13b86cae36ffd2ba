"""The rows of bench/gpt.ts in PyTorch, eager and compiled: one JSON line each.

    python3 torch_gpt.py cuda|cpu ROWS MODES

ROWS is a JSON list of {name, model, dModel, layers, heads, batch, length, vocab, method}; MODES is
eager, compile or both with a comma between. The times are those that a program waits for.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch_models import GPT

device, rows, modes = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].split(",")
gpu = device == "cuda"


def wait():
    if gpu:
        torch.cuda.synchronize()


def time_us(step):
    for _ in range(4):
        step()
    wait()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(3):
            step()
        wait()
        times.append((time.perf_counter() - start) / 3)
    return statistics.median(times) * 1e6


def measure(row, mode):
    torch.backends.cuda.matmul.allow_tf32 = row["method"] == "tf32"
    half = row["method"] == "bfloat16"
    batch, length, features = row["batch"], row["length"], row["dModel"]
    if row["vocab"]:
        model = GPT(features, row["layers"], row["heads"], row["vocab"], length).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        tokens = torch.randint(0, row["vocab"], (batch, length), device=device)
        target = torch.randint(0, row["vocab"], (batch * length,), device=device)
    else:
        model = nn.TransformerEncoderLayer(features, row["heads"], dropout=0, batch_first=True)
        model = model.to(device)
        x = torch.randn(batch, length, features, device=device, requires_grad=True)
        slope = torch.randn(batch, length, features, device=device)
    forward = torch.compile(model) if mode == "compile" else model

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=half):
            if row["vocab"]:
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(forward(tokens).flatten(0, 1), target)
            else:
                y = forward(x)
        if row["vocab"]:
            loss.backward()
            optimizer.step()
        else:
            model.zero_grad(set_to_none=True)
            x.grad = None
            y.backward(slope.to(y.dtype))

    if gpu:
        torch.cuda.reset_peak_memory_stats()
    us = time_us(step)
    return {"us": us} | ({"bytes": torch.cuda.max_memory_allocated()} if gpu else {})


for row in rows:
    for mode in modes:
        peer = f"PyTorch {torch.__version__}, {mode}"
        try:
            print(json.dumps({"name": row["name"], "peer": peer, **measure(row, mode)}), flush=True)
        except Exception as error:  # a compiler that is not there
            print(f"{row['name']}, {mode}: {error}", file=sys.stderr)
