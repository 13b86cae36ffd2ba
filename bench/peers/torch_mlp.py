"""One epoch of MNIST, 784-128-10, ReLU, cross-entropy, SGD with learning rate 0.1, in PyTorch.

torch_mlp.py DIR cpu|cuda BATCH      DIR holds the four MNIST files, plain or .gz
Prints one JSON object a line: {"peer", "seconds": [one an epoch], "accuracy"}. On a GPU the data
lies on the device, and the step runs eagerly and as a replayed CUDA graph.
"""

import gzip
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

folder, device, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
EPOCHS = 3


def read(name, skip):
    path = f"{folder}/{name}"
    raw = open(path, "rb").read() if os.path.exists(path) else gzip.open(path + ".gz").read()
    return torch.from_numpy(np.frombuffer(raw, np.uint8)[skip:].copy())


def images(name):
    return (read(name, 16).reshape(-1, 784).float() / 255).to(device)


x, y = images("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte", 8).long().to(device)
xt, yt = images("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte", 8).long().to(device)


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    ).to(device)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def eager_step(model, optimizer):
    def step(index):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()

    return step


def graph_step(model, optimizer):
    """Full batches replay a graph; the last, smaller one of an epoch runs eagerly."""
    eager = eager_step(model, optimizer)
    index = torch.zeros(batch, dtype=torch.long, device=device)
    saved = [p.detach().clone() for p in model.parameters()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            eager(index)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    grads = [p.grad for p in model.parameters()]
    with torch.no_grad():
        for p, old in zip(model.parameters(), saved):
            p.copy_(old)

    def step(chosen):
        if len(chosen) < batch:
            return eager(chosen)
        for p, g in zip(model.parameters(), grads):
            p.grad = g
            g.zero_()
        index.copy_(chosen)
        graph.replay()

    return step


def train(peer, make_step):
    model, optimizer = make()
    step, seconds = make_step(model, optimizer), []
    for _ in range(EPOCHS):
        wait()
        start = time.perf_counter()
        order = torch.randperm(len(x), device=device)
        for i in range(0, len(x), batch):
            step(order[i : i + batch])
        wait()
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        accuracy = (model(xt).argmax(1) == yt).float().mean().item()
    print(json.dumps({"peer": peer, "seconds": seconds, "accuracy": accuracy}), flush=True)


if device == "cpu":
    for threads in sorted({1, os.cpu_count()}):
        torch.set_num_threads(threads)
        train(f"torch {torch.__version__} cpu, {threads} threads", eager_step)
else:
    train(f"torch {torch.__version__} eager", eager_step)
    train(f"torch {torch.__version__} CUDA graph", graph_step)
