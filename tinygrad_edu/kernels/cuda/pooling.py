"""Pooling over one, two or three axes, channels last: a thread for each element of the result, or for some channels."""

from __future__ import annotations

import math
from typing import Any

from ..registry import Recipe, are_floats
from .images import on_images
from .written import Written


def _axes(image: Any, output: Any, size: Any, strides: Any, padding: Any) -> tuple[int, ...]:
    """The numbers of three axes, of which those that the images lack have length 1."""
    found = [(1, 1, 1, 1, 0, 1)] * (3 - len(size))
    for n, m, window, stride, (before, after) in zip(image[1:-1], output[1:-1], size, strides, padding, strict=True):
        found.append((n, m, window, stride, before, n - after))
    return tuple(number for axis in found for number in axis)


def _written(function: str, arrays: Any, dtype: str, image: Any, made: Any, axes: tuple[int, ...]) -> Written:
    count, channels = math.prod(made), made[-1]
    numbers, largest = (*axes, count // channels, channels), max(math.prod(image), count)
    return on_images("pooling", function, dtype, arrays, numbers, count, channels, largest)


def _reduced(function: str, x: Any, output: Any, size: Any, strides: Any) -> Recipe | None:
    if not are_floats(x):
        return None
    shape, dtype = (x.shape[0], *output, x.shape[-1]), x.dtype.name
    axes = _axes(x.shape, shape, size, strides, ((0, 0),) * len(size))
    return Recipe(((shape, dtype),), (_written(function, (0, 1), dtype, x.shape, shape, axes),))


def total(x: Any, output: Any, window: Any, strides: Any) -> Recipe | None:
    """Of `_sum_pool`."""
    return _reduced("total", x, output, window, strides)


def total_transpose(g: Any, image: Any, window: Any, strides: Any) -> Recipe | None:
    """Of `_sum_unpool`."""
    if not are_floats(g):
        return None
    shape, dtype = (g.shape[0], *image, g.shape[-1]), g.dtype.name
    axes = _axes(shape, g.shape, window, strides, ((0, 0),) * len(window))
    return Recipe(((shape, dtype),), (_written("total_transpose", (0, 1), dtype, g.shape, shape, axes),))


def largest(x: Any, output: Any, windows: Any) -> Recipe | None:
    """Of `_max_pool`."""
    return _reduced("largest", x, output, windows.size, windows.strides)


def largest_transpose(g: Any, x: Any, windows: Any) -> Recipe | None:
    """Of `_max_unpool`: first which element of each window is the largest."""
    if not are_floats(g, x):
        return None
    shape, output, dtype = tuple(x.shape), tuple(g.shape), g.dtype.name
    axes = _axes(shape, output, *windows)
    choose = _written("choose", (1, 3), dtype, shape, output, axes)
    spread = _written("largest_transpose", (0, 3, 2), dtype, output, shape, axes)
    return Recipe(((shape, dtype),), (choose, spread), ((output, "int32"),))
