"""Memory in use over 2,000 training steps without Python's garbage collector."""

from __future__ import annotations

import gc

import numpy as np

import tinygrad_edu as tg

from ..harness import Settings, Table


def run(settings: Settings) -> Table:
    steps, every = (60, 20) if settings.quick else (2000, 500)
    random = np.random.default_rng(0)
    shapes = [(64, 128), (128,), (128, 10), (10,)]
    arrays = [random.normal(scale=0.1, size=shape).astype("float32") for shape in shapes]
    parameters = [tg.tensor(a, device=settings.device, requires_grad=True) for a in arrays]
    x = tg.tensor(random.normal(size=(32, 64)).astype("float32"), device=settings.device)
    labels = tg.tensor(random.integers(0, 10, 32), device=settings.device)
    table = Table(
        "memory",
        "Bytes in use (resident memory on the CPU, live arrays on CUDA) during training of a 64-128-10 network, "
        "batch 32, garbage collector off.",
        ["steps", "MiB", "growth in KiB"],
    )
    gc.collect()
    gc.disable()
    try:
        first = last = start = 0.0
        for step in range(steps + 1):
            w1, b1, w2, b2 = parameters
            loss = tg.cross_entropy(tg.linear(tg.relu(tg.linear(x, w1, b1)), w2, b2), labels)
            loss.backward()
            for p in parameters:
                assert p.grad is not None
                p.assign_(p.detach() - 0.1 * p.grad)
                p.grad = None
            if step in (0, steps):
                first, last = (first or loss.item()), loss.item()
            if step and (step == every // 2 or step % every == 0):
                settings.synchronize()
                used = tg.memory_in_use(settings.device)
                start = start or used
                table.lines.append([step, round(used / 2**20, 1), round((used - start) / 2**10)])
    finally:
        gc.enable()
    assert last < first, f"the loss went from {first} to {last}"
    return table
