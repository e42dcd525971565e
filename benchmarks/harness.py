"""What the rows share: timing in turns, agreement of results, tables, and the facts about the machine.

A figure is the median over rounds of one run. In each round every candidate runs once, in turns, so that whatever else
the machine does meets all of them alike; a ratio compares two medians of the same run. Work on CUDA is waited for
before the clock starts and before it stops.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import tinygrad_edu as tg


@dataclass(frozen=True)
class Settings:
    """How to run: on which device, and whether small and short."""

    device: str
    quick: bool
    threads: int

    @property
    def xp(self) -> ModuleType:
        return tg.device(self.device).xp

    def array(self, values: Any) -> Any:
        """`values` as a float32 array on the device."""
        return self.xp.asarray(np.asarray(values, dtype=np.float32))

    def synchronize(self) -> None:
        tg.synchronize(self.device)


@dataclass(frozen=True)
class Candidate:
    """One way to do the work: `run` is timed, on what `prepare` returns, which is not."""

    run: Callable[..., Any]
    prepare: Callable[[], tuple[Any, ...]] = tuple


@dataclass
class Table:
    """One row of the benchmarks: a title, a note, lines of figures, and the raw times behind them."""

    title: str
    note: str
    columns: Sequence[str]
    lines: list[list[Any]] = field(default_factory=list)
    raw: dict[str, list[float]] = field(default_factory=dict)

    def text(self) -> str:
        """In Markdown."""
        cells = [list(self.columns), *([_shown(cell) for cell in line] for line in self.lines)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = [
            "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"  # noqa: B905
            for row in cells
        ]
        rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
        return "\n".join([f"### {self.title}", "", self.note, "", rows[0], rule, *rows[1:]])

    def facts(self) -> dict[str, Any]:
        lines = [dict(zip(self.columns, line, strict=True)) for line in self.lines]
        return {"title": self.title, "note": self.note, "lines": lines, "raw": self.raw}


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return "-" if cell is None else str(cell)
    return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def interleaved(
    settings: Settings, candidates: Mapping[str, Candidate], rounds: int, seconds: float = 20.0
) -> dict[str, list[float]]:
    """The seconds that each candidate took in each round, after one round that does not count.

    Stops early, after at least three rounds, when `seconds` are over.
    """
    names = list(candidates)
    times: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            arguments = candidates[name].prepare()
            settings.synchronize()
            start = time.perf_counter()
            result = candidates[name].run(*arguments)
            settings.synchronize()
            elapsed = time.perf_counter() - start
            del result, arguments  # freeing is not timed
            if number:
                times[name].append(elapsed)
        if number >= 3 and time.perf_counter() - started > seconds:
            break
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in times.items()}


def agree(what: str, ours: Any, reference: Any, tolerance: float = 1e-4) -> None:
    """Raises AssertionError unless two arrays (or tensors of any kind) agree, relative to the largest element."""
    ours, reference = to_numpy(ours), to_numpy(reference)
    assert ours.shape == reference.shape, f"{what}: shapes {ours.shape} and {reference.shape}"
    scale = float(abs(reference).max()) or 1.0
    error = float(abs(ours - reference).max()) / scale
    assert error <= tolerance, f"{what}: off by {error:.2g} of the largest element"


def to_numpy(x: Any) -> Any:
    if isinstance(x, tg.Tensor):
        x = x.detach().to("cpu").numpy()
    elif hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    elif hasattr(x, "get"):
        x = x.get()
    return np.asarray(x, dtype=np.float64)


@functools.cache
def torch_for(settings: Settings) -> tuple[Any, str]:
    """PyTorch with this run's threads and what to call it, or None and why not."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None, "PyTorch absent: not installed"
    if settings.device == "cuda" and not torch.cuda.is_available():
        return None, "PyTorch absent: it sees no CUDA device"
    torch.set_num_threads(settings.threads)
    return torch, f"PyTorch {torch.__version__} eager"


def machine(settings: Settings) -> dict[str, str]:
    """What the figures depend on."""
    facts = {
        "date": datetime.date.today().isoformat(),
        "device": _cuda_name() if settings.device == "cuda" else _cpu_name(),
        "threads": str(settings.threads),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tinygrad_edu": tg.__version__,
    }
    return facts | ({"mode": "quick: sizes too small for figures that mean anything"} if settings.quick else {})


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cuda_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()) + f", CuPy {cupy.__version__}"
