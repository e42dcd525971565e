"""Resizing images, channels last: a thread for each element of the result, or for some channels."""

from __future__ import annotations

import math
from typing import Any

from ..registry import Recipe, are_floats
from .images import on_images


def _recipe(function: str, a: Any, image: Any, size: Any, result: Any, bilinear: bool) -> Recipe | None:
    if not are_floats(a):
        return None
    dtype, shape = a.dtype.name, (a.shape[0], *result, a.shape[-1])
    made, pixels = math.prod(shape), math.prod(shape[:-1])
    numbers = (image[0], size[0], image[1], size[1], int(bilinear), pixels, shape[-1])
    largest = max(a.size, made, *(4 * n * m for n, m in zip(image, size, strict=True)))
    return Recipe(((shape, dtype),), (on_images("resize", function, dtype, (0, 1), numbers, made, shape[-1], largest),))


def forward(x: Any, size: Any, bilinear: bool) -> Recipe | None:
    """Of `_resize`."""
    return _recipe("resize", x, x.shape[1:-1], size, size, bilinear)


def transpose(g: Any, image: Any, bilinear: bool) -> Recipe | None:
    """Of `_resize_transpose`."""
    return _recipe("resize_transpose", g, image, g.shape[1:-1], image, bilinear)
