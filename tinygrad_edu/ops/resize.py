"""Resizing images: a primitive that is linear in them, and its transpose."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import Any

from ..autograd import cast, primitive
from ..backend import Array
from ..errors import choice
from ..kernels.registry import compiled
from ..state import state
from .indexing import scatter_along
from .windows import Sizes, check_image, numbers


def _pixels(xp: Any, n: int, size: int, bilinear: bool, like: Array, axis: int) -> Iterator[tuple[Array, Any]]:
    """Which of n pixels count for each of `size`, and what they count."""
    i = xp.arange(size)
    if not bilinear:
        yield (2 * i + 1) * n // (2 * size), None
        return
    centres = ((2 * i + 1) * n - size).clip(0, 2 * size * (n - 1))  # in parts of 2 * size; those outside, the border's
    below, rest = xp.divmod(centres, 2 * size)
    share = xp.where(rest > 0, rest / (2 * size), 0.5)  # on a pixel, it counts half and half
    for index, counts in ((below, 1 - share), (below + (rest > 0), share)):
        along = counts.astype(like.dtype).reshape(-1, *(1,) * (like.ndim - 1 - axis))
        yield index, along


def _counted(a: Array, counts: Array | None) -> Array:
    return a if counts is None else a * counts


def _total(parts: Iterator[Array]) -> Array:
    return functools.reduce(operator.add, parts)


@primitive("opaque", saves=())
@compiled("resize.forward")
def _resize(xp: Any, x: Array, *, size: Sizes, bilinear: bool) -> Array:
    for axis, length in enumerate(size, 1):
        pixels = _pixels(xp, x.shape[axis], length, bilinear, x, axis)
        x = _total(_counted(x.take(index, axis), counts) for index, counts in pixels)
    return x


@primitive("opaque", saves=())
@compiled("resize.transpose")
def _resize_transpose(xp: Any, g: Array, *, image: Sizes, bilinear: bool) -> Array:
    for axis, n in zip((2, 1), image[::-1], strict=True):
        pixels = _pixels(xp, n, g.shape[axis], bilinear, g, axis)
        g = _total(scatter_along(xp, _counted(g, counts), index, axis, n) for index, counts in pixels)
    return g


_resize.defvjp(lambda g, y, x, size, bilinear: _resize_transpose(g, image=x.shape[1:-1], bilinear=bilinear))
_resize_transpose.defvjp(lambda v, y, g, image, bilinear: _resize(v, size=g.shape[1:-1], bilinear=bilinear))


def resize(x: Any, size: int | Sizes, method: str = "nearest") -> Any:
    """Images (n, height, width, channels) in another size (height, width), as `tf.image.resize` without antialiasing.

    Pixels are squares: the centre of pixel i is at i + 1/2. The method "nearest" takes the pixel on which the centre of
    the new one falls, "bilinear" interpolates between the four nearest ones and repeats the border beyond.

    Raises ShapeError unless `x` is a batch of images, ValueError for another method or size.

    >>> import tinygrad_edu as tg
    >>> tg.resize(tg.tensor([[[[0.0], [1.0]]]]), (1, 4), "bilinear").ravel()
    tensor([0.  , 0.25, 0.75, 1.  ])
    """
    check_image("resize", x, 2)
    if method not in ("nearest", "bilinear"):
        raise choice("resize", "method", method, ("nearest", "bilinear"))
    bilinear = method == "bilinear"
    if bilinear and x.dtype.kind != "f":
        x = cast(x, state.dtype)
    return _resize(x, size=numbers("resize", "size", size, 2), bilinear=bilinear)
