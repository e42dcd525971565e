"""The cost of an operation beside its arithmetic: a chain of 1000 multiplications and additions of 8 numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_edu as tg

from ..harness import Candidate, Settings, Table, agree, interleaved, medians, torch_for

X = np.linspace(0.5, 1.5, 8, dtype=np.float32)
FACTOR, TERM = np.full(8, 1.0001, np.float32), np.full(8, 1e-4, np.float32)


def chain(operations: int, x: Any, factor: Any, term: Any) -> Any:
    for _ in range(operations // 2):
        x = x * factor
        x = x + term
    return x


def candidates(
    name: str, tensors: list[Any], seed: Any, operations: int
) -> tuple[dict[str, Candidate], Callable[[], tuple[Any, ...]]]:
    """Forward and forward+backward of one framework, and a function that returns the result and the gradients."""

    def forward() -> Any:
        return chain(operations, *tensors)

    def both() -> None:
        for t in tensors:
            t.grad = None
        chain(operations, *tensors).backward(seed)

    def results() -> tuple[Any, ...]:
        both()
        return forward(), *(t.grad for t in tensors if t.requires_grad)

    return {f"{name} forward": Candidate(forward), f"{name} both": Candidate(both)}, results


def run(settings: Settings) -> Table:
    operations, rounds = (20, 2) if settings.quick else (1000, 100)
    torch, peer = torch_for(settings)
    table = Table(
        "overhead",
        f"Chain of {operations} mul/add over 8 float32 numbers, µs per operation. Peer: {peer}.",
        ["operands", "ours fwd", "peer fwd", "fwd ratio", "ours fwd+bwd", "peer fwd+bwd", "fwd+bwd ratio"],
    )
    for label, tracked in (("constants", False), ("require grad", True)):
        flags = (True, tracked, tracked)
        ours = [
            tg.tensor(a, device=settings.device, requires_grad=flag)
            for a, flag in zip((X, FACTOR, TERM), flags, strict=True)
        ]
        found, results = candidates("ours", ours, tg.ones((8,), device=settings.device), operations)
        y, *gradients = results()
        agree("chain", y, chain(operations, X, FACTOR, TERM))
        agree("gradient of the start", gradients[0], FACTOR.astype(np.float64) ** (operations // 2))
        if torch:
            theirs = [torch.tensor(t.detach().to("cpu").numpy().copy(), device=settings.device) for t in ours]
            for t, flag in zip(theirs, flags, strict=True):
                t.requires_grad_(flag)
            more, reference = candidates("peer", theirs, torch.ones(8, device=settings.device), operations)
            for a, b in zip((y, *gradients), reference(), strict=True):
                agree("chain and its gradients beside PyTorch's", a, b)
            found |= more
        times = interleaved(settings, found, rounds)
        table.raw |= {f"{label}: {name}": values for name, values in times.items()}
        micro = {name: seconds / operations * 1e6 for name, seconds in medians(times).items()}
        line: list[Any] = [label]
        for part in ("forward", "both"):
            a, b = micro[f"ours {part}"], micro.get(f"peer {part}")
            line += [a, b, a / b if b else None]
        table.lines.append(line)
    return table
