"""Copies of arrays whose elements lie in another order, such as a transposed view that is given another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def merged(shape: Sequence[int], steps: Sequence[int]) -> list[tuple[int, int]]:
    """Axes longer than 1 and their steps; neighbours that lie as one are one."""
    axes: list[tuple[int, int]] = []
    for n, step in zip(shape, steps, strict=True):
        if n > 1 and axes and axes[-1][1] == n * step:
            axes[-1] = axes[-1][0] * n, step
        elif n > 1:
            axes.append((n, step))
    return axes


@strided
def reshaped(a: Any, shape: tuple[int, ...]) -> Recipe | None:
    """Of `_reshape`, where it has to copy."""
    size = a.dtype.itemsize
    if not are_floats(a) or any(step % size for step in a.strides):
        return None
    axes = merged(a.shape, [step // size for step in a.strides])
    if len(axes) > 4:
        return None
    axes = axes[:1] + [(1, 0)] * (4 - len(axes)) + axes[1:] if axes else [(1, 0)] * 4
    (first, *lengths), steps = zip(*axes, strict=True)
    numbers = dict(zip(("second", "third", "fourth"), lengths, strict=True))
    numbers |= {f"step{i}": step for i, step in enumerate(steps)}
    count, dtype = math.prod(a.shape), a.dtype.name
    task = Task(copy, (("x", dtype, 0), ("y", dtype, 1)), tuple(numbers.items()), first, count, 8 * count)
    return Recipe(((tuple(shape), dtype),), (task,))
