"""Copies of arrays whose elements lie in another order, such as a transposed view that is given another shape."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel
from .native import Task
from .registry import Recipe, are_floats, strided


@kernel(writes=("y",))
def copy(x, y, start, stop, second, third, fourth, step0, step1, step2, step3):
    """The elements of x along four axes, so many steps apart, one after the other."""
    for i in range(start, stop):
        for j in range(second):
            for k in range(third):
                near = x[i * step0 + j * step1 + k * step2 :]
                to = y[((i * second + j) * third + k) * fourth :]
                for number in range(fourth):
                    to[number] = near[number * step3]


@strided
def reshaped(a: Any, shape: tuple[int, ...]) -> Recipe | None:
    """Of `_reshape`, where it has to copy."""
    size = a.dtype.itemsize
    if not are_floats(a) or any(step % size for step in a.strides):
        return None
    axes: list[tuple[int, int]] = []
    for n, step in zip(a.shape, (step // size for step in a.strides), strict=True):
        if n > 1:
            if axes and axes[-1][1] == n * step:  # lies as one axis with the one before
                axes[-1] = axes[-1][0] * n, step
            else:
                axes.append((n, step))
    if len(axes) > 4:
        return None
    axes = axes[:1] + [(1, 0)] * (4 - len(axes)) + axes[1:] if axes else [(1, 0)] * 4
    (first, *lengths), steps = zip(*axes, strict=True)
    numbers = dict(zip(("second", "third", "fourth"), lengths, strict=True))
    numbers |= {f"step{i}": step for i, step in enumerate(steps)}
    count, dtype = math.prod(a.shape), a.dtype.name
    task = Task(copy, (("x", dtype, 0), ("y", dtype, 1)), tuple(numbers.items()), first, count, 8 * count)
    return Recipe(((tuple(shape), dtype),), (task,))
