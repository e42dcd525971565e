"""Deep and wide graphs: forward, backward and free in linear time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import tinygrad_edu as tg

from ..harness import Settings, Table, agree


def chain(x: Any, length: int) -> Any:
    for _ in range(length // 2):
        x = x * 1.0
        x = x + 0.0
    return x.sum()


def fan(x: Any, width: int) -> Any:
    return tg.stack([x * 1.0 for _ in range(width)]).sum()


def run(settings: Settings) -> Table:
    table = Table(
        "graph",
        "Seconds for n operations and for 2 n (once each, one after the other); linear time is a ratio of 2.",
        [
            "graph",
            "n",
            *(f"{part} {what}" for part in ("forward", "backward", "free") for what in ("n", "2 n", "ratio")),
        ],
    )
    shrink = 1000 if settings.quick else 1
    for label, build, n, expected in (
        ("chain", chain, 150_000 // shrink, lambda n: 1.0),
        ("fan", fan, 50_000 // shrink, float),
    ):
        seconds: dict[int, list[float]] = {}
        for count in (n, n, 2 * n):  # the first one warms up
            x = tg.ones((1,), device=settings.device, requires_grad=True)
            marks = [time.perf_counter()]
            y = build(x, count)
            settings.synchronize()
            marks.append(time.perf_counter())
            y.backward()
            settings.synchronize()
            marks.append(time.perf_counter())
            agree(f"{label} of {count}", x.grad, [expected(count)])
            y = build(x, count)
            settings.synchronize()
            start = time.perf_counter()
            del y  # never run backward: the whole graph is freed here
            marks.append(marks[-1] + time.perf_counter() - start)
            seconds[count] = [b - a for a, b in pairwise(marks)]
            table.raw[f"{label} {count}"] = seconds[count]
        line: list[Any] = [label, n]
        for small, large in zip(seconds[n], seconds[2 * n], strict=True):
            line += [small, large, large / small]
        table.lines.append(line)
    return table
