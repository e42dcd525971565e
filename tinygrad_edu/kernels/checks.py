"""Checks of values, as fast as they are read."""

from __future__ import annotations

import math
from typing import Any

from .copies import merged
from .language import kernel
from .llvm import SIZES
from .native import Task
from .registry import Recipe, strided


@kernel(writes=("y",))
def outside(x, y, start, stop, rows, columns, down, across, low, high):
    found = False
    for i in range(rows):
        row = x[i * down :]
        for j in range(columns):
            found = found or not (low <= row[j * across] and row[j * across] <= high)
    y[0] = found


# Recipes


@strided
def are_outside(a: Any, low: float, high: float) -> Recipe | None:
    """Of `outside`."""
    size, dtype = a.dtype.itemsize, a.dtype.name
    if dtype not in SIZES or dtype == "bool" or any(step % size for step in a.strides):
        return None
    axes = merged(a.shape, [step // size for step in a.strides])
    if len(axes) > 2:
        return None
    (rows, down), (columns, across) = [(1, 0)] * (2 - len(axes)) + axes
    numbers = {"rows": rows, "columns": columns, "down": down, "across": across, "low": low, "high": high}
    count = math.prod(a.shape)
    task = Task(outside, (("x", dtype, 0), ("y", "bool", 1)), tuple(numbers.items()), 1, 3 * count, size * count)
    return Recipe((((), "bool"),), (task,))
