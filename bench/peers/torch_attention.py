"""The rows of bench/attention.ts by the best of PyTorch's backends: one JSON line each.

    python3 torch_attention.py cuda|cpu CASES

CASES is a JSON list of {name, shape, dtype, causal, both, copies}. On a GPU some milliseconds of
calls are captured in a CUDA graph, whose replays are timed by events. `error` is that of the
fastest backend.
"""

import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # after the threads
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

device, cases = sys.argv[1], json.loads(sys.argv[2])
gpu = device == "cuda"
BACKENDS = ["FLASH_ATTENTION", "MATH"]
THREADS = {1, torch.get_num_threads()}  # of a CPU: the better counts
if gpu:
    BACKENDS += ["CUDNN_ATTENTION", "EFFICIENT_ATTENTION"]


def run(case, x):
    """What is found, or the gradients of queries, keys and values."""
    q, k, v, dy = x
    if not case["both"]:
        with torch.no_grad():
            return [attention(q, k, v, is_causal=case["causal"])]
    return torch.autograd.grad(attention(q, k, v, is_causal=case["causal"]), (q, k, v), dy)


def made(case):
    def one(i):
        x = torch.randn(case["shape"], device=device, dtype=getattr(torch, case["dtype"]))
        return x.requires_grad_(case["both"] and i < 3)

    return [one(i) for i in range(4)]


def error_of(case, x):
    """The largest of a head over its largest element, against float64."""
    wide = [y.detach()[:1, :1].double().requires_grad_(case["both"]) for y in x]
    with sdpa_kernel(SDPBackend.MATH):
        exact = run(case, wide)
    return max(
        float((y[:1, :1].double() - z).abs().max() / z.abs().max())
        for y, z in zip(run(case, x), exact)
    )


def median(values):
    return sorted(values)[len(values) // 2]


def by_clock(fn, threads):
    torch.set_num_threads(threads)

    def run_some(calls):
        start = time.perf_counter()
        for i in range(calls):
            fn(i)
        return (time.perf_counter() - start) * 1e6 / calls

    run_some(1)
    calls = min(4000, int(30000 / run_some(1)) + 1)
    return median([run_some(calls) for _ in range(3)])


def by_events(run, before=lambda: None):
    """Microseconds of a run; what is queued before it keeps the device busy until it has begun."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) * 1000


def on_gpu(case, fn):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for i in range(2):
            fn(i)
        one = by_events(lambda: [fn(i) for i in range(4)]) / 4
        calls = min(400, int(6000 / one) + 1)
        calls = max(2, -(-calls // case["copies"]) * case["copies"])  # each copy as often
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for i in range(calls):
                fn(i)
        graph.replay()
        return median([by_events(graph.replay, graph.replay) for _ in range(7)]) / calls


def measure(case):
    copies = [made(case) for _ in range(case["copies"])]
    length = case["shape"][2]
    best = None
    for name in BACKENDS:
        if name == "MATH" and length > 1024:  # the matrix of scores would not fit
            continue
        try:
            with sdpa_kernel(getattr(SDPBackend, name)):
                fn = lambda i: run(case, copies[i % len(copies)])
                fn(0)
                us = on_gpu(case, fn) if gpu else min(by_clock(fn, n) for n in THREADS)
                if best is None or us < best["us"]:
                    error = error_of(case, copies[0])
                    best = {"us": us, "backend": name, "error": error}
        except RuntimeError as error:  # not of such tensors, or not on this device
            print(f"{case['name']}, {name}: {str(error)[:80]}", file=sys.stderr, flush=True)
        if gpu:
            torch.cuda.empty_cache()
    if best:
        kind = best.pop("backend").lower()
        graph = ", CUDA graph" if gpu else ""
        peer = f"torch {torch.__version__}, {kind}{graph}"
        print(json.dumps({"name": case["name"], **best, "peer": peer}), flush=True)


for case in cases:
    measure(case)
