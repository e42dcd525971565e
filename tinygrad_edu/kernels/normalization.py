"""Layer normalization, a row after the other, and batch normalization of the last axis, by pieces of so many rows that
stay in the cache, whose moments are then put together (Chan, Golub and LeVeque, "Updating formulae and a pairwise
algorithm for computing sample variances", 1979)."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel, sqrt
from .native import Task
from .registry import Recipe, are_floats


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


@kernel(writes=("means", "squares"))
def moments(x, means, squares, start, stop, rows, columns, piece):
    """The mean of each column and the sum of squared deviations from it, for pieces of so many rows."""
    for number in range(start, stop):
        first = number * piece
        last = min(first + piece, rows)
        mean = means[number * columns :]
        square = squares[number * columns :]
        for j in range(columns):
            mean[j] = 0.0
            square[j] = 0.0
        for row in range(first, last):
            for j in range(columns):
                mean[j] += x[row * columns + j]
        for j in range(columns):
            mean[j] = mean[j] / float(last - first)
        for row in range(first, last):
            for j in range(columns):
                square[j] += (x[row * columns + j] - mean[j]) * (x[row * columns + j] - mean[j])


@kernel(writes=("mean", "variance", "average", "inverse"))
def put_together(means, squares, mean, variance, average, inverse, start, stop, rows, columns, piece, epsilon):
    """The moments of all rows of those columns, from those of the pieces."""
    for j in range(start, stop):
        mean[j] = 0.0
        variance[j] = 0.0
    for number in range((rows + piece - 1) // piece):
        share = float(min(rows - number * piece, piece)) / float(rows)
        for j in range(start, stop):
            mean[j] += means[number * columns + j] * share
    for number in range((rows + piece - 1) // piece):
        count = float(min(rows - number * piece, piece))
        for j in range(start, stop):
            difference = means[number * columns + j] - mean[j]
            variance[j] += squares[number * columns + j] + difference * difference * count
    for j in range(start, stop):
        variance[j] = variance[j] / float(rows)
        average[j] = mean[j]
        inverse[j] = 1.0 / sqrt(variance[j] + epsilon)


@kernel(writes=("y",))
def scaled(x, weight, bias, average, inverse, y, start, stop, columns):
    for row in range(start, stop):
        for j in range(columns):
            y[row * columns + j] = (x[row * columns + j] - average[j]) * inverse[j] * weight[j] + bias[j]


# Recipes


def of_rows(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], epsilon: float) -> Recipe | None:
    """Of `_layer_norm`: y, the average, and one over the deviation."""
    dtype, lead = x.dtype.name, len(x.shape) - len(axes)
    if not are_floats(x, weight, bias):
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


_PIECE = 1 << 12
"""Elements of a piece, which stays in the first-level cache."""


def of_batch(x: Any, weight: Any, bias: Any, axis: int, epsilon: float) -> Recipe | None:
    """Of `_batch_norm`: y, mean, variance; the mean again, and one over the deviation, with their axes."""
    dtype, columns = x.dtype.name, x.shape[-1]
    if not are_floats(x, weight, bias):
        return None
    if axis != len(x.shape) - 1:
        return None
    rows = math.prod(x.shape[:-1])
    piece = max(1, _PIECE // columns)
    pieces, kept = -(-rows // piece), (*(1 for _ in x.shape[:-1]), columns)
    shapes = [tuple(x.shape), (columns,), (columns,), kept, kept, (pieces, columns), (pieces, columns)]
    y, mean, variance, average, inverse, means, squares = range(3, 10)
    sizes = (("rows", rows), ("columns", columns), ("piece", piece))

    def slots(**arrays: int) -> tuple[tuple[str, str, int], ...]:
        return tuple((name, dtype, slot) for name, slot in arrays.items())

    parts = slots(means=means, squares=squares)
    found = slots(mean=mean, variance=variance, average=average, inverse=inverse)
    whole = slots(x=0, weight=1, bias=2, average=average, inverse=inverse, y=y)
    size = rows * columns
    tasks = (
        Task(moments, (*slots(x=0), *parts), sizes, pieces, 5 * size, 4 * size),
        Task(put_together, (*parts, *found), (*sizes, ("epsilon", epsilon)), columns, 8 * pieces * columns, 0, 16),
        Task(scaled, whole, (("columns", columns),), rows, 4 * size, 8 * size),
    )
    made = tuple((shape, dtype) for shape in shapes)
    return Recipe(made[:5], tasks, made[5:])
