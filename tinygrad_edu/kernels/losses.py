"""Cross-entropy of logits and class ids, and its gradient: one pass over the logits each, however many classes there
are. The sum of a row is scaled by the largest logit so far (Milakov and Gimelshein, "Online normalizer calculation for
softmax", 2018)."""

from __future__ import annotations

import math
from typing import Any

from .language import exp, kernel, log
from .llvm import SIZES
from .native import Task
from .registry import Recipe, are_floats, is_contiguous, strided

_PIECE = 2048
"""Logits that are read twice, first for the largest of them, while they are in the first-level cache."""


@kernel(writes=("y", "largest", "total"))
def cross_entropy(logits, ids, y, largest, total, start, stop, columns, piece, smoothing, ignores, ignore):
    for row in range(start, stop):
        line = logits[row * columns :]
        peak = -math.inf
        exponentials = 0.0
        for j in range(0, columns, piece):
            before = peak
            for c in range(j, min(j + piece, columns)):
                peak = max(peak, line[c])
            shift = 0.0 if peak == -math.inf else peak
            exponentials *= exp(before - shift)
            for c in range(j, min(j + piece, columns)):
                exponentials += exp(line[c] - shift)
        largest[row] = peak
        total[row] = exponentials
        if ignores and ids[row] == ignore:
            y[row] = 0.0
        else:
            loss = log(exponentials) - (line[ids[row]] - peak) * (1.0 - smoothing)
            if smoothing > 0.0:
                rest = 0.0
                for c in range(columns):
                    rest += line[c] - peak
                loss -= rest / columns * smoothing
            y[row] = loss


@kernel(writes=("y",))
def cross_entropy_gradient(g, logits, ids, largest, total, y, start, stop, columns, step, smoothing, ignores, ignore):
    for row in range(start, stop):
        line = logits[row * columns :]
        to = y[row * columns :]
        if ignores and ids[row] == ignore:
            for c in range(columns):
                to[c] = 0.0
        else:
            peak = largest[row]
            share = g[row * step]
            factor = share / total[row]
            for c in range(columns):
                to[c] = exp(line[c] - peak) * factor - share * (smoothing / columns)
            to[ids[row]] -= share * (1.0 - smoothing)


# Recipes


def _numbers(logits: Any, ids: Any, smoothing: float, ignore: int | None) -> dict[str, float] | None:
    if ids.dtype.kind not in "iu" or ids.dtype.name not in SIZES:
        return None
    ignored = {"ignores": ignore is not None, "ignore": -1 if ignore is None else ignore}
    return {"columns": logits.shape[-1], "smoothing": smoothing, **ignored}


def forward(logits: Any, ids: Any, smoothing: float, ignore: int | None) -> Recipe | None:
    """Of `_cross_entropy_ids`: the losses; the largest logits and the sums of softmax."""
    numbers, dtype = _numbers(logits, ids, smoothing, ignore), logits.dtype.name
    if numbers is None or not are_floats(logits):
        return None
    names = (("logits", dtype, 0), ("ids", ids.dtype.name, 1), ("y", dtype, 2), ("largest", dtype, 3))
    rows, size = math.prod(ids.shape), math.prod(logits.shape)
    constants = (*numbers.items(), ("piece", _PIECE))
    task = Task(cross_entropy, (*names, ("total", dtype, 4)), constants, rows, 20 * size, SIZES[dtype] * size)
    return Recipe(((tuple(ids.shape), dtype),) * 3, (task,))


@strided
def gradient(
    g: Any, logits: Any, ids: Any, largest: Any, total: Any, smoothing: float, ignore: int | None
) -> Recipe | None:
    """Of `_cross_entropy_ids_gradient`, where the largest logits and the sums are known; `g` may be the same for all
    rows."""
    numbers, dtype = _numbers(logits, ids, smoothing, ignore), logits.dtype.name
    if numbers is None or total is None or not are_floats(g, logits, largest, total):
        return None
    step = 1 if is_contiguous(g) else 0
    if (step == 0 and any(g.strides)) or not all(map(is_contiguous, (logits, ids, largest, total))):
        return None
    numbers["step"] = step
    names = ("g", "logits", "ids", "largest", "total", "y")
    arrays = tuple((name, ids.dtype.name if name == "ids" else dtype, slot) for slot, name in enumerate(names))
    rows, size = math.prod(ids.shape), math.prod(logits.shape)
    task = Task(cross_entropy_gradient, arrays, tuple(numbers.items()), rows, 20 * size, 2 * SIZES[dtype] * size)
    return Recipe(((tuple(logits.shape), dtype),), (task,))
