"""The core of every network: matrix products forward and backward, beside the same products by NumPy or CuPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import tinygrad_edu as tg

from ..harness import Candidate, Settings, Table, agree, interleaved, medians

PARTS = ("forward", "backward", "step")
WIDTHS, BATCH = (784, 512, 256, 10), 128


class Square:
    """`a @ b` of two square matrices that both require grad."""

    def __init__(self, settings: Settings, n: int):
        random = np.random.default_rng(n)
        self.label = f"{n} x {n}"
        self.arrays = [random.standard_normal((n, n), dtype=np.float32) for _ in range(2)]
        self.seed = random.standard_normal((n, n), dtype=np.float32)
        forward = 2.0 * n**3
        self.operations = {"forward": forward, "backward": 2 * forward, "step": 3 * forward}
        a, b, g = map(settings.array, (*self.arrays, self.seed))
        self.gemms = {"forward": [(a, b)], "backward": [(g, b.T), (a.T, g)]}

    def loss(self, a: Any, b: Any) -> Any:
        return a @ b

    def reference(self) -> list[Any]:
        a, b = self.arrays
        return [a @ b, self.seed @ b.T, a.T @ self.seed]


class Network:
    """A multi-layer perceptron: linear and relu layers, and the cross-entropy with random labels."""

    def __init__(self, settings: Settings):
        random = np.random.default_rng(0)
        self.label = "MLP " + "-".join(map(str, WIDTHS)) + f", batch {BATCH}"
        self.x = random.standard_normal((BATCH, WIDTHS[0]), dtype=np.float32)
        self.labels = random.integers(0, WIDTHS[-1], BATCH)
        self.arrays = []
        self.seed = None
        self.gemms: dict[str, list[tuple[Any, Any]]] = {"forward": [], "backward": []}
        self.operations = {"forward": 0.0, "backward": 0.0, "step": 0.0}
        for i, (before, after) in enumerate(pairwise(WIDTHS)):
            weight = random.standard_normal((before, after), dtype=np.float32) / np.sqrt(np.float32(before))
            self.arrays += [weight, np.zeros(after, np.float32)]
            w, h, g = (settings.array(weight), *(settings.array(np.ones((BATCH, n))) for n in (before, after)))
            self.gemms["forward"].append((h, w))
            self.gemms["backward"] += [(h.T, g)] if i == 0 else [(h.T, g), (g, w.T)]  # x needs no gradient
        for part, pairs in self.gemms.items():
            self.operations[part] = sum(2.0 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in pairs)
        self.operations["step"] = sum(self.operations.values())
        self.inputs, self.labels_there = (tg.tensor(a, device=settings.device) for a in (self.x, self.labels))

    def loss(self, *parameters: Any) -> Any:
        h = self.inputs
        for i in range(0, len(parameters), 2):
            h = tg.linear(tg.relu(h) if i else h, *parameters[i : i + 2])
        return tg.cross_entropy(h, self.labels_there)

    def reference(self) -> list[Any]:
        """The loss and its gradients by hand, in float64."""
        weights, biases = ([a.astype(np.float64) for a in self.arrays[i::2]] for i in (0, 1))
        inputs, h = [], self.x.astype(np.float64)
        for w, b in zip(weights, biases, strict=True):
            inputs.append(h)
            h = np.maximum(h @ w + b, 0.0) if w is not weights[-1] else h @ w + b
        rows = np.arange(BATCH)
        shifted = h - h.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        g = np.exp(log_p)
        g[rows, self.labels] -= 1.0
        g /= BATCH
        gradients: list[Any] = []
        for w, x in zip(reversed(weights), reversed(inputs), strict=True):
            gradients = [x.T @ g, g.sum(axis=0), *gradients]
            g = (g @ w.T) * (x > 0)
        return [-log_p[rows, self.labels].mean(), *gradients]


def framework(
    problem: Any, parameters: Sequence[Any], seed: Any, times: int
) -> tuple[dict[str, Candidate], Callable[[], list[Any]]]:
    """The three parts by tinygrad_edu, each `times` times, and a function that returns result and gradients."""

    def clear() -> None:
        for p in parameters:
            p.grad = None

    def forward() -> None:
        for _ in range(times):
            problem.loss(*parameters)

    def backward(*outputs: Any) -> None:
        for y in outputs:
            clear()
            y.backward(seed)

    def step() -> None:
        for _ in range(times):
            clear()
            problem.loss(*parameters).backward(seed)

    def outputs() -> tuple[Any, ...]:
        return tuple(problem.loss(*parameters) for _ in range(times))

    def results() -> list[Any]:
        (y,) = outputs()[:1]
        step()
        return [y, *(p.grad for p in parameters)]

    parts = {"forward": Candidate(forward), "backward": Candidate(backward, outputs), "step": Candidate(step)}
    return parts, results


def bare(settings: Settings, pairs: Sequence[tuple[Any, Any]], times: int) -> Candidate:
    """The matrix products alone, into arrays that exist already."""
    xp = settings.xp
    outs = [xp.empty((a.shape[0], b.shape[1]), dtype=a.dtype) for a, b in pairs]

    def run() -> None:
        for _ in range(times):
            for (a, b), out in zip(pairs, outs, strict=True):
                xp.matmul(a, b, out=out)

    return Candidate(run)


def run(settings: Settings) -> Table:
    table = Table(
        "matmul",
        "GFLOP/s of the matrix products, and in brackets the share of the same products by "
        f"{settings.xp.__name__}.matmul alone in the same run. Step: forward and backward.",
        ["problem", *(f"{who} {part}" for part in PARTS for who in ("bare", "ours"))],
    )
    problems: list[Any] = [Square(settings, n) for n in ((32, 64) if settings.quick else (256, 512, 1024, 2048, 4096))]
    for problem in [*problems, Network(settings)]:
        parameters = [tg.tensor(a, device=settings.device, requires_grad=True) for a in problem.arrays]
        seed = None if problem.seed is None else tg.tensor(problem.seed, device=settings.device)
        times = 1 if settings.quick else max(1, round(1e9 / problem.operations["forward"]))
        ours, results = framework(problem, parameters, seed, times)
        for a, b in zip(results(), problem.reference(), strict=True):
            agree(problem.label, a, b)
        gemms = problem.gemms | {"step": problem.gemms["forward"] + problem.gemms["backward"]}
        line: list[Any] = [problem.label]
        for part in PARTS:
            turns = {"bare": bare(settings, gemms[part], times), "ours": ours[part]}
            taken = interleaved(settings, turns, rounds=2 if settings.quick else 40, seconds=8.0)
            table.raw |= {f"{problem.label}, {part}, {times} times: {who}": values for who, values in taken.items()}
            speed = {who: times * problem.operations[part] / s / 1e9 for who, s in medians(taken).items()}
            line += [f"{speed['bare']:.1f}", f"{speed['ours']:.1f} ({speed['ours'] / speed['bare']:.0%})"]
        table.lines.append(line)
    return table
