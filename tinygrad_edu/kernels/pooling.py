"""Pooling over one or two axes, channels last: the channels of a window side by side, in vectors."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel
from .native import Task
from .registry import Recipe, are_floats


@kernel(writes=("y",))
def max_pool(x, y, start, stop, height, width, channels, out_height, out_width, rows, columns, down, across):
    for line in range(start, stop):
        n = line // out_height
        i = line % out_height
        for j in range(out_width):
            window = x[((n * height + i * down) * width + j * across) * channels :]
            for c in range(channels):
                largest = window[c]
                for a in range(rows):
                    for b in range(columns):
                        largest = max(largest, window[(a * width + b) * channels + c])
                y[(line * out_width + j) * channels + c] = largest


@kernel(writes=("y",))
def max_unpool(
    g, x, y, start, stop, height, width, channels, out_height, out_width, rows, columns, down, across,
    top, left, bottom, right,
):  # fmt: skip
    """To the first of the largest elements of each window, or the first NaN; never to the padding."""
    for n in range(start, stop):
        for k in range(n * height * width * channels, (n + 1) * height * width * channels):
            y[k] = 0.0
        for i in range(out_height):
            for j in range(out_width):
                corner = ((n * height + i * down) * width + j * across) * channels
                for c in range(channels):
                    largest = -math.inf
                    chosen = -1.0
                    for a in range(rows):
                        for b in range(columns):
                            value = x[corner + (a * width + b) * channels + c]
                            inside = (
                                i * down + a >= top
                                and i * down + a < height - bottom
                                and j * across + b >= left
                                and j * across + b < width - right
                            )
                            first_nan = value != value and largest == largest
                            better = inside and (chosen < 0.0 or value > largest or first_nan)
                            largest = value if better else largest
                            chosen = float(a * columns + b) if better else chosen
                    given = g[((n * out_height + i) * out_width + j) * channels + c]
                    for a in range(rows):
                        for b in range(columns):
                            y[corner + (a * width + b) * channels + c] += (
                                given if chosen == float(a * columns + b) else 0.0
                            )


@kernel(writes=("y",))
def sum_pool(x, y, start, stop, height, width, channels, out_height, out_width, rows, columns, down, across):
    for line in range(start, stop):
        n = line // out_height
        i = line % out_height
        for j in range(out_width):
            window = x[((n * height + i * down) * width + j * across) * channels :]
            for c in range(channels):
                total = 0.0
                for a in range(rows):
                    for b in range(columns):
                        total += window[(a * width + b) * channels + c]
                y[(line * out_width + j) * channels + c] = total


@kernel(writes=("y",))
def sum_unpool(g, y, start, stop, height, width, channels, out_height, out_width, rows, columns, down, across):
    for n in range(start, stop):
        for k in range(n * height * width * channels, (n + 1) * height * width * channels):
            y[k] = 0.0
        for i in range(out_height):
            for j in range(out_width):
                corner = ((n * height + i * down) * width + j * across) * channels
                for a in range(rows):
                    for b in range(columns):
                        for c in range(channels):
                            y[corner + (a * width + b) * channels + c] += g[
                                ((n * out_height + i) * out_width + j) * channels + c
                            ]


@kernel(writes=("y",))
def sum_middle(x, y, start, stop, middle, inner):
    """The sums over the middle one of three axes."""
    for i in range(start, stop):
        for c in range(inner):
            y[i * inner + c] = 0.0
        for k in range(middle):
            for c in range(inner):
                y[i * inner + c] += x[(i * middle + k) * inner + c]


# Recipes

LONGEST = 1 << 14
"""Elements that are added up one after the other, at most."""


def _plane(values: Any, one: Any = 1) -> tuple[Any, ...]:
    """Two of them: of one axis, the first is trivial."""
    return (one, *values) if len(values) == 1 else tuple(values)


def _recipe(which: Any, names: str, arrays: Any, image: Any, output: Any, size: Any, strides: Any) -> Recipe | None:
    dtype = arrays[0].dtype.name
    if len(size) > 2 or not are_floats(*arrays):
        return None
    made = output if "unpool" not in which.name else image
    n, channels = image[0], image[-1]
    (height, width), (out_height, out_width) = _plane(image[1:-1]), _plane(output[1:-1])
    rows, columns = _plane(size)
    down, across = _plane(strides)
    work = math.prod(output) * rows * columns
    numbers = {"height": height, "width": width, "channels": channels, "out_height": out_height}
    numbers |= {"out_width": out_width, "rows": rows, "columns": columns, "down": down, "across": across}
    task = Task(
        which,
        tuple((name, dtype, slot) for slot, name in enumerate(names.split())),
        tuple(numbers.items()),
        length=n if "unpool" in which.name else n * out_height,
        operations=work,
        traffic=4 * (math.prod(image) + math.prod(output)),
    )
    return Recipe(((tuple(made), dtype),), (task,))


def largest(x: Any, output: Any, windows: Any) -> Recipe | None:
    """Of `_max_pool`."""
    y = (x.shape[0], *output, x.shape[-1])
    return _recipe(max_pool, "x y", (x,), x.shape, y, windows.size, windows.strides)


def largest_transpose(g: Any, x: Any, windows: Any) -> Recipe | None:
    """Of `_max_unpool`."""
    made = _recipe(max_unpool, "g x y", (g, x), x.shape, g.shape, windows.size, windows.strides)
    if made is None:
        return None
    (top, bottom), (left, right) = _plane(windows.padding, (0, 0))
    borders = (("top", top), ("left", left), ("bottom", bottom), ("right", right))
    (task,) = made.tasks
    return Recipe(made.outputs, (task.given(borders),))


def total(x: Any, output: Any, window: Any, strides: Any) -> Recipe | None:
    """Of `_sum_pool`."""
    return _recipe(sum_pool, "x y", (x,), x.shape, (x.shape[0], *output, x.shape[-1]), window, strides)


def total_transpose(g: Any, image: Any, window: Any, strides: Any) -> Recipe | None:
    """Of `_sum_unpool`."""
    return _recipe(sum_unpool, "g y", (g,), (g.shape[0], *image, g.shape[-1]), g.shape, window, strides)


def over_pixels(a: Any, axes: tuple[int, ...], keepdims: bool) -> Recipe | None:
    """Of `_sum`, over neighbouring axes between others: the pixels of images."""
    first, last, dtype = min(axes, default=0), max(axes, default=0) + 1, a.dtype.name
    outer, middle, inner = (math.prod(a.shape[part]) for part in (slice(first), slice(first, last), slice(last, None)))
    if not are_floats(a) or len(axes) != last - first or middle > LONGEST:
        return None
    shape = (*a.shape[:first], *((1,) * len(axes) if keepdims else ()), *a.shape[last:])
    numbers = (("middle", middle), ("inner", inner))
    count = math.prod(a.shape)
    task = Task(sum_middle, (("x", dtype, 0), ("y", dtype, 1)), numbers, outer, count, 4 * count)
    return Recipe(((shape, dtype),), (task,))
