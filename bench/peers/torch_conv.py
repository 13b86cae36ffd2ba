"""The rows of bench/conv.ts in PyTorch: cuDNN in benchmark mode, channels-last, inside CUDA graphs;
one JSON line each.

    python3 torch_conv.py cuda|cpu ROWS

ROWS is a JSON list of {name, dtype, tf32, direction, x, w, stride, padding,
dilation, groups}.
"""

import json
import sys
import time

import torch
from torch.nn import functional as F

device = sys.argv[1]
rows = json.loads(sys.argv[2])
torch.backends.cudnn.benchmark = True


def time_us(fn):
    if device == "cpu":
        fn()
        times = []
        for _ in range(7):
            start = time.perf_counter()
            fn()
            times.append((time.perf_counter() - start) * 1e6)
        return sorted(times)[3]
    calls = 20
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            fn()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(calls):
            fn()
    times = []
    for _ in range(11):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000 / calls)
    return sorted(times)[5]


for row in rows:
    dtype = getattr(torch, row["dtype"])
    torch.backends.cudnn.allow_tf32 = row["tf32"]
    stride, padding, dilation, groups = (
        row[key] for key in ("stride", "padding", "dilation", "groups")
    )
    last = torch.channels_last
    x = torch.randn(row["x"], device=device).to(dtype).contiguous(memory_format=last)
    w = torch.randn(row["w"], device=device).to(dtype).contiguous(memory_format=last)
    try:
        y = F.conv2d(x, w, None, stride, padding, dilation, groups)
        g = torch.randn_like(y)
        wanted = row["direction"]

        def step():
            if wanted == "forward":
                return F.conv2d(x, w, None, stride, padding, dilation, groups)
            mask = [wanted == "input", wanted == "weight", False]
            pair = lambda v: [v, v]
            return torch.ops.aten.convolution_backward(
                *(g, x, w, None, pair(stride), pair(padding), pair(dilation)),
                *(False, [0, 0], groups, mask),
            )

        peer = f"PyTorch {torch.__version__}, cuDNN" if device == "cuda" else "PyTorch"
        print(json.dumps({"name": row["name"], "us": time_us(step), "peer": peer}), flush=True)
    except RuntimeError as error:
        print(f"{row['name']}: {error}", file=sys.stderr)
