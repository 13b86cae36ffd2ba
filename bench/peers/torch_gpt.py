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

device, rows, modes = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].split(",")
gpu = device == "cuda"


class Block(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.up, self.down = nn.Linear(features, 4 * features), nn.Linear(4 * features, features)

    def forward(self, x):
        batch, length, features = x.shape
        parts = self.attn(self.ln_1(x)).split(features, 2)
        q, k, v = [p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, features))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, row):
        super().__init__()
        features = row["dModel"]
        self.wte = nn.Embedding(row["vocab"], features)
        self.wpe = nn.Embedding(row["length"], features)
        self.h = nn.ModuleList([Block(features, row["heads"]) for _ in range(row["layers"])])
        self.ln_f = nn.LayerNorm(features)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=device))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


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
        model = GPT(row).to(device)
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
