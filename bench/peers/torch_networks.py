"""The rows of bench/networks.ts in PyTorch: channels-last, cuDNN in benchmark mode, on a GPU inside
CUDA graphs; one JSON line each.

    python3 torch_networks.py cuda|cpu ROWS THREADS

ROWS is a JSON list of {name, network, method, batch, work}. `bytes` is the most memory that the
caching allocator had in use in a forward and a backward pass beside parameters, gradients and the
batch; what cuDNN works in is part of it.
"""

import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # after the threads
from torch import nn
from torch.nn import functional as F

device, rows, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
gpu = device == "cuda"
if not gpu:
    torch.set_num_threads(threads)
torch.backends.cudnn.benchmark = True


def lenet5():
    return nn.Sequential(
        *[nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()],
        *[nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)],
    )


def seconds(fn):
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def time_us(fn):
    if not gpu:
        fn()
        return sorted(seconds(fn) for _ in range(5))[2] * 1e6
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            fn()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        fn()
    times = []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000)
    return sorted(times[1:])[5]


def peak_bytes(fn):
    fn()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fn()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def measure(row):
    batch, work = row["batch"], row["work"]
    if row["network"] == "lenet5":
        model = lenet5().to(device)
    else:
        import torchvision

        model = getattr(torchvision.models, row["network"])().to(device)
    dtype = torch.bfloat16 if row["method"] == "bfloat16" else torch.float32
    torch.backends.cudnn.allow_tf32 = row["method"] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = row["method"] == "tf32"
    last = torch.channels_last
    model = model.to(dtype=dtype, memory_format=last).train(work != "inference")
    more = {"fused": True} if gpu else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, **more)
    if work == "epoch":
        return {"us": epoch(model, optimizer, batch)}
    x = torch.randn(batch, 3, 224, 224, device=device, dtype=dtype)
    x = x.contiguous(memory_format=last)
    y = torch.randint(0, 1000, (batch,), device=device)

    def backward():
        F.cross_entropy(model(x), y).backward()

    def both():
        optimizer.zero_grad(set_to_none=True)
        backward()

    def step():
        both()
        optimizer.step()

    def inference():
        with torch.no_grad():
            model(x)

    out = {"bytes": peak_bytes(backward)} if gpu and work != "inference" else {}
    return out | {"us": time_us({"both": both, "step": step, "inference": inference}[work])}


def epoch(model, optimizer, batch):
    x, y = torch.rand(60000, 1, 28, 28, device=device), torch.randint(0, 10, (60000,))

    def run():
        order = torch.randperm(len(x))
        for i in range(0, len(x), batch):
            index = order[i : i + batch]
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()

    return min([seconds(run) for _ in range(3)][1:]) * 1e6


for row in rows:
    peer = f"PyTorch {torch.__version__}" + (", CUDA graph" if gpu else f", {threads} threads")
    try:
        print(json.dumps({"name": row["name"], "peer": peer, **measure(row)}), flush=True)
    except (RuntimeError, ImportError) as error:
        print(f"{row['name']}: {error}", file=sys.stderr)
