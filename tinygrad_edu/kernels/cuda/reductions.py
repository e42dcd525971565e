"""Sums and extremes over any axes on CUDA: over each run of neighbouring ones, by parts where there are few results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..loops import DTYPES, Op
from ..registry import Recipe
from .copies import copy
from .steps import TYPES, combine, lowest
from .text import BLOCKS, THREADS, WARP
from .written import Written

_FEWEST, _MOST = 16, 1 << 14
"""Elements that a thread combines where an axis is divided, about: at least, and at most, for the digits of sums."""


class _Pass(NamedTuple):
    """From (outer, middle, inner) elements to (outer, parts, inner), by blocks of so many threads along each."""

    outer: int
    middle: int
    inner: int
    parts: int
    block: tuple[int, int, int]

    @classmethod
    def of(cls, outer: int, middle: int, inner: int) -> _Pass:
        columns = min(WARP, _power(inner))
        lines = min(THREADS // columns, _power(middle))
        rows = min(THREADS // columns // lines, 64, _power(outer))  # CUDA has no more along the third axis
        found = cls(outer, middle, inner, 1, (columns, lines, rows))
        enough = min(BLOCKS // found.blocks, middle // (lines * _FEWEST))
        return found._replace(parts=max(1, enough, -(-middle // (lines * _MOST))))

    @property
    def blocks(self) -> int:
        return -(-self.inner // self.block[0]) * -(-self.outer // self.block[2]) * self.parts

    @property
    def made(self) -> int:
        return self.outer * self.parts * self.inner


def _power(n: int) -> int:
    """The least power of two that is not below it."""
    return 1 << (n - 1).bit_length()


def _passes(shape: Sequence[int], axes: Sequence[int]) -> Iterator[_Pass]:
    """Over the last run of axes first."""
    long = [(axis in axes, n) for axis, n in enumerate(shape) if n > 1]
    runs = [[reduced, math.prod(n for _, n in run)] for reduced, run in itertools.groupby(long, lambda pair: pair[0])]
    while last := [i for i, (reduced, _) in enumerate(runs) if reduced][-1:]:
        (i,) = last
        outer, inner = (math.prod(n for _, n in part) for part in (runs[:i], runs[i + 1 :]))
        yield (found := _Pass.of(outer, runs[i][1], inner))
        runs[i : i + 1] = [[True, found.parts]] if found.parts > 1 else []


def _reduced(name: str, a: Any, axes: Sequence[int], shape: Sequence[int]) -> Recipe | None:
    dtype, passes = a.dtype.name, [*_passes(a.shape, axes)]
    if (dtype == "bool") != (name in ("any", "all")) or dtype not in DTYPES or any(p.blocks >= 2**31 for p in passes):
        return None
    made = (tuple(shape), dtype)
    if not passes:
        return Recipe((made,), (copy(a, 0, 1),))
    slots = [0, *range(2, len(passes) + 1), 1]
    tasks = [
        Written("reductions", "reduce", (p.blocks,), p.block, arrays, p[:4], defines_of(name, dtype))
        for p, arrays in zip(passes, itertools.pairwise(slots), strict=True)
    ]
    return Recipe((made,), tuple(tasks), tuple(((p.made,), dtype) for p in passes[:-1]))


def defines_of(name: str, dtype: str) -> tuple[tuple[str, str], ...]:
    """`name`: a reduction of loops over rows, or "any" or "all"."""
    if dtype == "bool":
        start, combined = ("false", "a || b") if name == "any" else ("true", "a && b")
    else:
        start, combined = lowest(Op(name, dtype)), combine("add" if name == "row_sum" else name, dtype, "a", "b")
    return ("TYPE", TYPES[dtype]), ("START", start), ("COMBINE(a, b)", combined)


def _over_axes(name: str, a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    shape = [1 if i in axes else n for i, n in enumerate(a.shape) if keepdims or i not in axes]
    return _reduced(name, a, axes, shape)


def total(a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    """Of `_sum`."""
    return _over_axes("row_sum", a, axes, keepdims)


def total_to(a: Any, shape: Sequence[int]) -> Recipe | None:
    """Of `sum_to`."""
    lead = len(a.shape) - len(shape)
    axes = [i for i, n in enumerate(a.shape) if i < lead or shape[i - lead] != n]
    return _reduced("row_sum", a, axes, shape)


def largest(a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    """Of `_max`."""
    return _over_axes("row_max", a, axes, keepdims)


def least(a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    """Of `_min`."""
    return _over_axes("row_min", a, axes, keepdims)


def some(a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    """Of `_any`."""
    return _over_axes("any", a, axes, keepdims)


def every(a: Any, axes: Sequence[int], keepdims: bool) -> Recipe | None:
    """Of `_all`."""
    return _over_axes("all", a, axes, keepdims)
