"""The rows of bench/memory_bound.ts in PyTorch's own kernels (eager): one JSON line each.

    python3 torch_memory.py cuda|cpu CASES

CASES is a JSON list of {name, op, inputs, dtype, both, format, copies}. On a GPU some milliseconds
of calls are captured in a CUDA graph, whose replays are timed by events; what cannot be captured is
called between the events, and `peer` says so.
"""

import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # after the threads
from torch.nn import functional as F

device, cases = sys.argv[1], json.loads(sys.argv[2])
gpu = device == "cuda"
THREADS = {1, torch.get_num_threads()}  # of a CPU: the better counts


def scaled(fn):
    return lambda x, *weights: fn(x, x.shape[1:], *weights)


def top(k):
    return lambda x: x.topk(k)[0]


def joined(axis):
    return lambda *x: torch.cat(x, axis)


def residual_norm(x, weight, bias, residual):
    return F.layer_norm(F.dropout(x, 0.1) + residual, x.shape[1:], weight, bias)


OPS = {
    "softmax": lambda x: x.softmax(-1),
    "logSoftmax": lambda x: x.log_softmax(-1),
    "layerNorm": scaled(F.layer_norm),
    "rmsNorm": lambda x, w: F.rms_norm(x, x.shape[1:], w),
    "crossEntropy": F.cross_entropy,
    "sum of columns": lambda x: x.sum(0),
    "sum of rows": lambda x: x.sum(1),
    "variance": lambda x: x.var(1),
    "logSumExp": lambda x: x.logsumexp(1),
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "relu": torch.relu,
    "add": torch.add,
    "where": torch.where,
    "dropout": lambda x: F.dropout(x, 0.1),
    "randn": torch.randn_like,
    "rand": torch.rand_like,
    "bernoulli": lambda x: torch.empty_like(x).bernoulli_(0.1),
    "batchNorm": lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
    "cumsum": lambda x: x.cumsum(-1),
    "topK 5": top(5),
    "topK 10": top(10),
    "topK 50": top(50),
    "sort": lambda x: x.sort()[0],
    "argsort": torch.argsort,
    "scatterAdd": lambda x, i, s: x.scatter_add(0, i, s),
    "indexAdd": lambda x, i, s: x.index_add(0, i, s),
    "embedding": lambda w, i: F.embedding(i, w),
    "slice ::2": lambda x: x[::2].contiguous(),
    "slice of columns": lambda x: x[:, x.shape[1] // 4 : x.shape[1] // 2].contiguous(),
    "transpose": lambda x: x.t().contiguous(),
    "permute 0,2,3,1": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "concat of 4, axis 0": joined(0),
    "concat of 4, axis 1": joined(1),
    "mseLoss": F.mse_loss,
    "l1Loss": F.l1_loss,
    "smoothL1Loss": F.smooth_l1_loss,
    "huberLoss": F.huber_loss,
    "bceLoss": F.binary_cross_entropy,
    "bceWithLogitsLoss": F.binary_cross_entropy_with_logits,
    "klDivLoss": lambda x, y: F.kl_div(x, y, reduction="mean"),
    "bias, gelu": lambda x, b: F.gelu(x + b),
    "SwiGLU": lambda gate, x: F.silu(gate) * x,
    "dropout, residual, layerNorm": residual_norm,
}
ADAMW = {"fused": True, "capturable": True} if gpu else {}
OPTIMIZERS = {
    "AdamW": lambda x: torch.optim.AdamW(x, lr=1e-3, **ADAMW),
    "SGD, momentum": lambda x: torch.optim.SGD(
        x, lr=1e-3, momentum=0.9, **({"fused": True} if gpu else {})
    ),
}


def made(case):
    dtype = getattr(torch, case["dtype"])
    last = case["format"] == "channelsLast"
    for i, spec in enumerate(case["inputs"]):
        shape, kind = spec["shape"], spec["kind"]
        if kind == "classes":
            yield torch.randint(0, spec["high"], shape, device=device)
        elif kind == "mask":
            yield torch.rand(shape, device=device) < 0.5
        else:
            x = (torch.randn if kind == "normal" else torch.rand)(shape, device=device, dtype=dtype)
            if last and x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            yield x.requires_grad_(case["both"] and (kind == "normal" or i == 0))


def work_of(case):
    """What makes the i-th call."""
    copies = [list(made(case)) for _ in range(case["copies"])]
    if case["op"] in OPTIMIZERS:
        for x in copies[0]:
            x.grad = torch.randn_like(x)
        optimizer = OPTIMIZERS[case["op"]](copies[0])
        return lambda i: optimizer.step()
    fn = OPS[case["op"]]

    def forward(i):
        with torch.no_grad():
            fn(*copies[i % len(copies)])

    if not case["both"]:
        return forward
    with torch.no_grad():
        seed = torch.ones_like(fn(*copies[0]))

    def both(i):
        inputs = copies[i % len(copies)]
        torch.autograd.grad(fn(*inputs), [x for x in inputs if x.requires_grad], seed)

    return both


def median(values):
    return sorted(values)[len(values) // 2]


def by_clock(fn, threads):
    torch.set_num_threads(threads)

    def run(calls):
        start = time.perf_counter()
        for i in range(calls):
            fn(i)
        return (time.perf_counter() - start) * 1e6 / calls

    run(1)
    calls = min(4000, int(30000 / run(1)) + 1)
    return median([run(calls) for _ in range(5)])


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

        def run():
            for i in range(calls):
                fn(i)

        if case.get("eager"):
            return median([by_events(run) for _ in range(5)]) / calls, "eager"
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            run()
        graph.replay()
        times = [by_events(graph.replay, graph.replay) for _ in range(5)]
        return median(times) / calls, "CUDA graph"


def measure(case):
    fn = work_of(case)
    us, how = on_gpu(case, fn) if gpu else (min(by_clock(fn, n) for n in THREADS), "eager")
    print(json.dumps({"name": case["name"], "us": us, "peer": f"torch {torch.__version__}, {how}"}))
    sys.stdout.flush()


for at, case in enumerate(cases):
    try:
        measure(case)
    except (RuntimeError, AttributeError) as error:
        print(f"{case['name']}: {error}", file=sys.stderr, flush=True)
        if gpu and not case.get("eager"):  # a failed capture leaves the process in no good state
            rest = json.dumps([case | {"eager": True}, *cases[at + 1 :]])
            os.execv(sys.executable, [sys.executable, __file__, device, rest])
    if gpu:
        torch.cuda.empty_cache()
