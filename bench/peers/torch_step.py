"""The rows of bench/step.ts in PyTorch, eager, in a CUDA graph, and compiled in one.

    python3 torch_step.py cuda|cpu NAMES QUICK

NAMES is a JSON list of the rows that are wanted. Data lies on the device.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch_models import GPT

device, names, quick = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "1"
gpu = device == "cuda"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
SECONDS = 0.02 if quick else 0.3 if gpu else 1
THREADS = [1] if gpu else [1, torch.get_num_threads()]
FUSED = {"fused": True} if gpu else {}  # older versions have it on GPUs alone


def wait():
    if gpu:
        torch.cuda.synchronize()


def timed(step):
    """Microseconds a step."""

    def run(times):
        begin = time.perf_counter()
        for _ in range(times):
            step()
        wait()
        return (time.perf_counter() - begin) * 1e6 / times

    run(3)
    times = max(3, int(SECONDS * 1e6 / run(3)))
    return statistics.median(run(times) for _ in range(5))


def out(name, form, us):
    peer = f"torch {torch.__version__.split('+')[0]} {form}"
    print(json.dumps({"name": name, "us": us, "peer": peer}), flush=True)


def graphed(step):
    """What replays the step."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def forms(name, make):
    """make(compiled): a function that does a step."""
    if not gpu:
        best = None
        for threads in THREADS:
            torch.set_num_threads(threads)
            us = timed(make(False))
            best = us if best is None else min(best, us)
        return out(name, "eager", best)
    tries = [
        ("eager", lambda: make(False)),
        ("graph", lambda: graphed(make(False))),
        ("compiled, graph", lambda: graphed(make(True))),
    ]
    if not name.startswith(("mlp", "lenet")):
        tries.append(("reduce-overhead", lambda: make("reduce-overhead")))
    for form, prepare in tries:
        try:
            out(name, form, timed(prepare()))
        except Exception as error:  # a form that this version cannot do
            print(f"{name}, {form}: {str(error)[:200]}", file=sys.stderr)
        torch._dynamo.reset()


def compiled_as(mode, fn):
    if mode == "reduce-overhead":
        return torch.compile(fn, mode=mode)
    return torch.compile(fn) if mode else fn


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def lenet():
    return nn.Sequential(
        *[nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()],
        nn.Linear(84, 10),
    )


def sgd(model):
    rate = torch.tensor(0.01, device=device) if gpu else 0.01
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, **FUSED)


def image_step(network, batch):
    images = torch.randint(0, 256, (60000, 1, 28, 28), device=device).to(torch.uint8)
    classes = torch.randint(0, 10, (60000,), device=device)

    def make(mode):
        model = network().to(device)
        optimizer = sgd(model)
        order = torch.randperm(60000, device=device)
        place = torch.zeros((), dtype=torch.long, device=device)
        rows = torch.arange(batch, device=device)

        def loss_of(index):
            return F.cross_entropy(model(images[index].float() / 255), classes[index])

        loss_of = compiled_as(mode, loss_of)

        def step():
            index = order[place + rows]
            place.add_(batch).remainder_(60000 - batch)
            optimizer.zero_grad(set_to_none=True)
            loss_of(index).backward()
            optimizer.step()

        return step

    return make


def epoch(name, batch):
    """An epoch, of steps that were prepared before."""
    for form in ["eager", "graph"] if gpu else ["eager"]:
        step = image_step(mlp, batch)(False)
        step = graphed(step) if form == "graph" else step
        for _ in range(20):
            step()
        wait()
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            for _ in range(60000 // batch):
                step()
            wait()
            times.append((time.perf_counter() - begin) * 1e6)
        out(name, f"{form}, an epoch", statistics.median(times))


def resnet(batch):
    import torchvision

    def make(mode):
        model = torchvision.models.resnet18().to(device, torch.bfloat16)
        model = model.to(memory_format=torch.channels_last)
        images = torch.randn(batch, 3, 224, 224, device=device, dtype=torch.bfloat16)
        images = images.to(memory_format=torch.channels_last)
        classes = torch.randint(0, 1000, (batch,), device=device)
        optimizer = sgd(model)
        forward = compiled_as(mode, model)

        def step():
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(forward(images).float(), classes).backward()
            optimizer.step()

        return step

    return make


def characters(batch, length, features):
    layers, heads, vocab = (6, 6, 65) if gpu else (2, 4, 65)

    def make(mode):
        model = GPT(features, layers, heads, vocab, length).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, capturable=gpu, **FUSED)
        tokens = torch.randint(0, vocab, (batch, length), device=device)
        targets = torch.randint(0, vocab, (batch * length,), device=device)
        forward = compiled_as(mode, model)

        def step():
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=gpu):
                loss = F.cross_entropy(forward(tokens).flatten(0, 1), targets)
            loss.backward()
            optimizer.step()

        return step

    return make


def recurrent(length, batch, width):
    def make(mode):
        layer = nn.LSTM(width, width).to(device)
        x = torch.randn(length, batch, width, device=device, requires_grad=True)
        slope = torch.randn(length, batch, width, device=device)

        def step():
            torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], slope)

        return step

    return make


for name in names:
    batch = int(name.split("batch ")[1].split(",")[0]) if "batch " in name else 0
    if "first epoch" in name:
        epoch(name, batch)
    elif name.startswith("mlp"):
        forms(name, image_step(mlp, batch))
    elif name.startswith("lenet5"):
        forms(name, image_step(lenet, batch))
    elif name.startswith("resnet18"):
        forms(name, resnet(batch))
    elif name.startswith("character"):
        forms(name, characters(*map(int, name.split()[-1].split("x"))))
    elif name.startswith("lstm"):
        steps, rest = int(name.split()[1]), name.split(" of ")[1].split(",")[0]
        forms(name, recurrent(steps, *map(int, rest.split("x"))))
