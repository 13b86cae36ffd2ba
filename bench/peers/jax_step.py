"""The perceptrons of bench/step.ts in JAX, whose epoch is one scan. One JSON line each.

    python3 jax_step.py NAMES
"""

import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp

jax.config.update("jax_default_matmul_precision", "highest")
keys = jax.random.split(jax.random.key(0), 3)
images = jax.random.randint(keys[0], (60000, 784), 0, 256).astype(jnp.uint8)
classes = jax.random.randint(keys[1], (60000,), 0, 10)


def loss_of(params, index):
    w1, b1, w2, b2 = params
    x = images[index].astype(jnp.float32) / 255
    scores = jax.nn.relu(x @ w1 + b1) @ w2 + b2
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), classes[index][:, None], 1).mean()


def step(state, index):
    params, velocities = state
    loss, gradients = jax.value_and_grad(loss_of)(params, index)
    velocities = [0.9 * v + g for v, g in zip(velocities, gradients)]
    return ([p - 0.01 * v for p, v in zip(params, velocities)], velocities), loss


for name in json.loads(sys.argv[1]):
    if not name.startswith("mlp") or "first epoch" in name:
        continue
    batch = int(name.split("batch ")[1])
    steps = 60000 // batch

    @jax.jit
    def epoch(state, key):
        order = jax.random.permutation(key, 60000)[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(step, state, order)

    a, b = jax.random.split(keys[2])
    params = [
        jax.random.uniform(a, (784, 128), minval=-1, maxval=1) / 28,
        jnp.zeros(128),
        jax.random.uniform(b, (128, 10), minval=-1, maxval=1) / 11.3,
        jnp.zeros(10),
    ]
    state = (params, [jnp.zeros_like(p) for p in params])
    state, _ = jax.block_until_ready(epoch(state, jax.random.key(9)))
    times = []
    for i in range(5):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(epoch(state, jax.random.key(i)))
        times.append((time.perf_counter() - begin) * 1e6 / steps)
    us = statistics.median(times)
    print(json.dumps({"name": name, "us": us, "peer": f"jax {jax.__version__} scan"}), flush=True)
