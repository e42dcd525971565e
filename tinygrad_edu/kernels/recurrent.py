"""Recurrent networks: each thread takes some rows of the batch through all steps, so that none waits for another.

Memory between forward and backward pass is time-major, as `ops/recurrent.py` has it; what the backward pass keeps for
the gradients of the weights lies as the input does, so that each of them is one product.
"""

from __future__ import annotations

from typing import Any

from .language import gemm, kernel, tanh
from .native import Task


@kernel()
def sigmoid(a):
    return 0.5 * tanh(0.5 * a) + 0.5


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


def is_supported(arrays: Any) -> bool:
    """Whether they are floats of one kind."""
    return {a.dtype.name for a in arrays if a is not None} in ({"float32"}, {"float64"})


def product(dtype: str, slots: tuple[int, int, int], count: int, rows: int, columns: int) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("aby", slots, strict=True))
    numbers = (("count", count), ("rows", rows), ("columns", columns))
    traffic = 4 * (count * (rows + columns) + rows * columns)
    return Task(product_of_columns, arrays, numbers, rows, 2 * count * rows * columns, traffic, granularity=4)


def sums(dtype: str, slots: tuple[int, int], count: int, columns: int, row: int = 0) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("ay", slots, strict=True))
    numbers = (("count", count), ("columns", columns), ("row", row))
    return Task(column_sums, arrays, numbers, columns, count * columns, 4 * count * columns, granularity=16)
