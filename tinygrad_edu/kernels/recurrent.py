"""Recurrent networks: each thread takes some rows of the batch through all steps, so that none waits for another.

Memory between forward and backward pass is time-major, as `ops/recurrent.py` has it; what the backward pass keeps for
the gradients of the weights lies as the input does, so that each of them is one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .language import gemm, kernel, tanh
from .native import Task
from .registry import Recipe


@kernel()
def sigmoid(a):
    return 0.5 * tanh(0.5 * a) + 0.5


@kernel()
def first_steps(first, mask, start, rows, time, reverse):
    """For each row the first step that is not masked and changes the state, `time` if there is none."""
    for b in range(rows):
        first[b] = float(time)
        for t in range(time):
            at = time - 1 - t if reverse else t
            first[b] = min(first[b], float(t) if mask[(start + b) * time + at] else float(time))


@kernel()
def input_gradient(d, kernel, dx, start, rows, time, features, columns):
    """Of all steps, for the cotangents `d` of the projections."""
    gemm(
        d[start * time * columns :], kernel, dx[start * time * features :], rows * time, features, columns, columns,
        columns, features, False, True,
    )  # fmt: skip


@kernel(writes=("y",))
def product_of_columns(a, b, y, start, stop, count, rows, columns):
    """y = a.T @ b for a (count, rows) and b (count, columns); each thread makes some rows of it."""
    gemm(a[start:], b, y[start * columns :], stop - start, columns, count, rows, columns, columns, True)


@kernel(writes=("y",))
def column_sums(a, y, start, stop, count, columns, row=0):
    """The sums of the columns of a (count, columns), as a row of y."""
    total = y[row * columns :]
    for j in range(start, stop):
        total[j] = 0.0
    for i in range(count):
        for j in range(start, stop):
            total[j] += a[i * columns + j]


# Recipes


def slots_of(dtype: str, **slots: int) -> tuple[tuple[str, str, int], ...]:
    """Parameters with dtype and slot."""
    return tuple((name, "bool" if name == "mask" else dtype, slot) for name, slot in slots.items())


def product(dtype: str, slots: tuple[int, int, int], count: int, rows: int, columns: int) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("aby", slots, strict=True))
    numbers = (("count", count), ("rows", rows), ("columns", columns))
    traffic = 4 * (count * (rows + columns) + rows * columns)
    return Task(product_of_columns, arrays, numbers, rows, 2 * count * rows * columns, traffic, granularity=4)


def sums(dtype: str, slots: tuple[int, int], count: int, columns: int, row: int = 0) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("ay", slots, strict=True))
    numbers = (("count", count), ("columns", columns), ("row", row))
    return Task(column_sums, arrays, numbers, columns, count * columns, 4 * count * columns, granularity=16)


def sizes(x: Any, recurrent: Any, **more: int) -> tuple[tuple[str, int], ...]:
    """The numbers that the kernels of all three networks get, and more."""
    (batch, time, features), units = x.shape, recurrent.shape[0]
    return tuple({"batch": batch, "time": time, "features": features, "units": units, **more}.items())


def gradient(
    dtype: str, back: Task, weights: Sequence[Sequence[Task]], needs: Any, shapes: Sequence[Any], between: Sequence[Any]
) -> Recipe:
    """First back through time, then the gradients of kernel, recurrent kernel and bias, each by its tasks if it is
    needed. `shapes` are those of all gradients, of which that of x and these three may not be needed."""
    needed = [*needs[:4], *(True for _ in shapes[4:])]
    outputs = ((tuple(shape), dtype) if need else None for shape, need in zip(shapes, needed, strict=True))
    tasks = (task for tasks, need in zip(weights, needs[1:4], strict=True) if need for task in tasks)
    return Recipe(tuple(outputs), (back, *tasks), tuple((shape, dtype) for shape in between))
