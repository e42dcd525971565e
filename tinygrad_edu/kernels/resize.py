"""Resizing images, channels last: the pixels of a row one after the other, their channels in vectors."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel
from .native import Task
from .registry import Recipe, are_floats


@kernel()
def centre(i, n, size):
    """Where among n pixels the centre of the i-th of `size` is, in parts of 2 * size; the border goes on outside."""
    return max(0, min((2 * i + 1) * n - size, 2 * size * (n - 1)))


@kernel()
def below(i, n, size, bilinear):
    """The pixel that counts, or the lower one of two."""
    return (centre(i, n, size) if bilinear else (2 * i + 1) * n) // (2 * size)


@kernel()
def rest(i, n, size, bilinear):
    """How far the centre is from there."""
    return centre(i, n, size) % (2 * size) if bilinear else 0


@kernel()
def share(rest, of, size):
    """What a pixel counts; both count one half where they are the same."""
    return float(of) / float(2 * size) if rest > 0 else 0.5


@kernel(writes=("y",))
def resize(x, y, start, stop, height, width, channels, out_height, out_width, bilinear):
    for line in range(start, stop):
        n = line // out_height
        i = line % out_height
        top = below(i, height, out_height, bilinear)
        down = rest(i, height, out_height, bilinear)
        upper = x[(n * height + top) * width * channels :]
        lower = x[(n * height + top + (1 if down > 0 else 0)) * width * channels :]
        nearer = share(down, 2 * out_height - down, out_height)
        farther = share(down, down, out_height)
        for j in range(out_width):
            left = below(j, width, out_width, bilinear) * channels
            to = y[(line * out_width + j) * channels :]
            if bilinear:
                across = rest(j, width, out_width, bilinear)
                right = left + (channels if across > 0 else 0)
                first = share(across, 2 * out_width - across, out_width)
                second = share(across, across, out_width)
                for c in range(channels):
                    one = upper[left + c] * nearer + lower[left + c] * farther
                    other = upper[right + c] * nearer + lower[right + c] * farther
                    to[c] = one * first + other * second
            else:
                for c in range(channels):
                    to[c] = upper[left + c]


@kernel()
def add_pixel(to, g, channels, factor):
    for c in range(channels):
        to[c] += g[c] * factor


@kernel(writes=("y",))
def resize_transpose(g, y, start, stop, height, width, channels, out_height, out_width, bilinear):
    for n in range(start, stop):
        for k in range(n * height * width * channels, (n + 1) * height * width * channels):
            y[k] = 0.0
        for i in range(out_height):
            down = rest(i, height, out_height, bilinear)
            upper = y[(n * height + below(i, height, out_height, bilinear)) * width * channels :]
            lower = upper[(width * channels if down > 0 else 0) :]
            nearer = share(down, 2 * out_height - down, out_height)
            farther = share(down, down, out_height)
            for j in range(out_width):
                near = g[((n * out_height + i) * out_width + j) * channels :]
                left = below(j, width, out_width, bilinear) * channels
                if bilinear:
                    across = rest(j, width, out_width, bilinear)
                    right = left + (channels if across > 0 else 0)
                    first = share(across, 2 * out_width - across, out_width)
                    second = share(across, across, out_width)
                    add_pixel(upper[left:], near, channels, nearer * first)
                    add_pixel(upper[right:], near, channels, nearer * second)
                    add_pixel(lower[left:], near, channels, farther * first)
                    add_pixel(lower[right:], near, channels, farther * second)
                else:
                    add_pixel(upper[left:], near, channels, 1.0)


# Recipes


def _recipe(which: Any, names: str, a: Any, image: Any, size: Any, made: Any, length: int, bilinear: bool) -> Any:
    if not are_floats(a):
        return None
    (height, width), (out_height, out_width), channels = image, size, a.shape[-1]
    numbers = {"height": height, "width": width, "channels": channels}
    numbers |= {"out_height": out_height, "out_width": out_width, "bilinear": bilinear}
    elements, dtype = math.prod(a.shape) + math.prod(made), a.dtype.name
    task = Task(
        which,
        tuple((name, dtype, slot) for slot, name in enumerate(names.split())),
        tuple(numbers.items()),
        length,
        operations=8 * elements,
        traffic=4 * elements,
    )
    return Recipe(((made, dtype),), (task,))


def forward(x: Any, size: Any, bilinear: bool) -> Recipe | None:
    """Of `_resize`."""
    n, *image, channels = x.shape
    made: Recipe | None = _recipe(resize, "x y", x, image, size, (n, *size, channels), n * size[0], bilinear)
    return made


def transpose(g: Any, image: Any, bilinear: bool) -> Recipe | None:
    """Of `_resize_transpose`."""
    n, *size, channels = g.shape
    made: Recipe | None = _recipe(resize_transpose, "g y", g, image, size, (n, *image, channels), n, bilinear)
    return made
