"""Layer normalization over the last axes: a row after the other, which stays in the cache."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel, sqrt
from .native import Task
from .registry import Recipe


@kernel(writes=("y", "average", "inverse"))
def layer_norm(x, weight, bias, y, average, inverse, start, stop, columns, epsilon):
    for row in range(start, stop):
        line = x[row * columns :]
        to = y[row * columns :]
        total = 0.0
        for j in range(columns):
            total += line[j]
        mean = total / columns
        squares = 0.0
        for j in range(columns):
            squares += (line[j] - mean) * (line[j] - mean)
        factor = 1.0 / sqrt(squares / columns + epsilon)
        average[row] = mean
        inverse[row] = factor
        for j in range(columns):
            to[j] = (line[j] - mean) * factor * weight[j] + bias[j]


def forward(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], epsilon: float) -> Recipe | None:
    """Of `_layer_norm`: y, the average, and one over the deviation."""
    dtype, lead = x.dtype.name, len(x.shape) - len(axes)
    if dtype not in ("float32", "float64") or any(a.dtype.name != dtype for a in (weight, bias)):
        return None
    shape = tuple(x.shape[lead:])
    if tuple(axes) != tuple(range(lead, len(x.shape))) or not weight.shape == bias.shape == shape:
        return None
    rows, columns = math.prod(x.shape[:lead]), math.prod(shape)
    kept = (*x.shape[:lead], *(1 for _ in axes))
    names = ["x", "weight", "bias", "y", "average", "inverse"]
    arrays = tuple((name, dtype, slot) for slot, name in enumerate(names))
    numbers = (("columns", columns), ("epsilon", epsilon))
    task = Task(layer_norm, arrays, numbers, rows, 8 * rows * columns, 12 * rows * columns)
    return Recipe(((tuple(x.shape), dtype), (kept, dtype), (kept, dtype)), (task,))
