"""2-D pooling, channels last. Average pooling and its transpose are each other's gradients, and so are, for max
pooling, picking the chosen elements of the windows and putting elements back in their places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy

from ..autograd import primitive
from ..backend import Array
from ..errors import ShapeError, message
from .convolution import Pair, check_image, output_size, pair, resolve_padding
from .elementwise import ones_like, zeros_like
from .shape import pad

Place = tuple[slice, slice, slice]


def _places(output: Pair, window: Pair, strides: Pair) -> Iterator[Place]:
    """For each element of the window the part of the padded image that it sees."""
    for i in range(window[0]):
        for j in range(window[1]):
            rows = slice(i, i + strides[0] * (output[0] - 1) + 1, strides[0])
            columns = slice(j, j + strides[1] * (output[1] - 1) + 1, strides[1])
            yield slice(None), rows, columns


@primitive("opaque")
def _sum_pool(xp: Any, x: Array, *, output: Pair, window: Pair, strides: Pair) -> Array:
    y = xp.zeros((x.shape[0], *output, x.shape[3]), dtype=x.dtype)
    for place in _places(output, window, strides):
        y += x[place]
    return y


@primitive("opaque")
def _sum_unpool(xp: Any, g: Array, *, image: Pair, window: Pair, strides: Pair) -> Array:
    y = xp.zeros((g.shape[0], *image, g.shape[3]), dtype=g.dtype)
    for place in _places(g.shape[1:3], window, strides):
        y[place] += g
    return y


_sum_pool.defvjp(
    lambda g, y, x, output, window, strides: _sum_unpool(g, image=x.shape[1:3], window=window, strides=strides)
)
_sum_unpool.defvjp(
    lambda v, y, g, image, window, strides: _sum_pool(v, output=g.shape[1:3], window=window, strides=strides)
)


@primitive("opaque", saves=("x",))
def _max_pool(xp: Any, x: Array, *, output: Pair, window: Pair, strides: Pair) -> Array:
    y: Array = None
    for place in _places(output, window, strides):
        y = x[place].copy() if y is None else xp.maximum(y, x[place], out=y)
    return y


def _chosen(xp: Any, x: Array, output: Pair, window: Pair, strides: Pair) -> Iterator[tuple[Place, Array]]:
    """For each element of the window a mask of the outputs whose maximum it is; of several the first."""
    y = _max_pool.forward(xp, x, output=output, window=window, strides=strides)
    free = xp.ones(y.shape, dtype=bool)
    for place in _places(output, window, strides):
        mask = (x[place] == y) & free
        free &= ~mask
        yield place, mask


@primitive("opaque", saves=("x",))
def _max_unpool(xp: Any, g: Array, x: Array, *, window: Pair, strides: Pair) -> Array:
    y = xp.zeros(x.shape, dtype=g.dtype)
    for place, mask in _chosen(xp, x, g.shape[1:3], window, strides):
        y[place] += g * mask
    return y


@primitive("opaque", saves=("x",))
def _max_pick(xp: Any, v: Array, x: Array, *, output: Pair, window: Pair, strides: Pair) -> Array:
    y = xp.zeros((x.shape[0], *output, x.shape[3]), dtype=v.dtype)
    for place, mask in _chosen(xp, x, output, window, strides):
        y += v[place] * mask
    return y


_max_pool.defvjp(lambda g, y, x, output, window, strides: _max_unpool(g, x, window=window, strides=strides))
_max_unpool.defvjp(
    lambda v, y, g, x, window, strides: _max_pick(v, x, output=g.shape[1:3], window=window, strides=strides),
    lambda v, y, g, x, window, strides: zeros_like(x),
)
_max_pick.defvjp(
    lambda g, y, v, x, output, window, strides: _max_unpool(g, x, window=window, strides=strides),
    lambda g, y, v, x, output, window, strides: zeros_like(x),
)


def _geometry(
    where: str, x: Any, pool_size: Any, strides: Any, padding: Any
) -> tuple[Pair, Pair, Pair, tuple[Pair, Pair]]:
    check_image(where, x)
    window = pair(where, "pool_size", pool_size)
    steps = window if strides is None else pair(where, "strides", strides)
    resolved = resolve_padding(where, padding, x.shape[1:3], window, steps, (1, 1))
    if any(max(border) >= size for border, size in zip(resolved, window, strict=True)):
        raise ShapeError(message(where, "padding smaller than the window", f"{padding} for {window}"))
    return output_size(where, x.shape[1:3], window, steps, resolved, (1, 1)), window, steps, resolved


def max_pool2d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """The largest element of each window of images (n, height, width, channels); padding never is the largest.

    Strides default to the window's size. Of equal elements the first gets the gradient. Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.max_pool2d(tg.arange(4.0).reshape(1, 2, 2, 1)).item()
    3.0
    """
    output, window, steps, (rows, columns) = _geometry("max_pool2d", x, pool_size, strides, padding)
    if rows != (0, 0) or columns != (0, 0):
        lowest = float("-inf") if x.dtype.kind == "f" else numpy.iinfo(x.dtype).min
        x = pad(x, ((0, 0), rows, columns, (0, 0)), lowest)
    return _max_pool(x, output=output, window=window, strides=steps)


def average_pool2d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """The mean of each window of images (n, height, width, channels); padding does not count, as in Keras.

    Strides default to the window's size. Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.average_pool2d(tg.arange(4.0).reshape(1, 2, 2, 1)).item()
    1.5
    """
    output, window, steps, (rows, columns) = _geometry("average_pool2d", x, pool_size, strides, padding)
    if rows == (0, 0) and columns == (0, 0):
        return _sum_pool(x, output=output, window=window, strides=steps) * (1.0 / (window[0] * window[1]))
    widths = ((0, 0), rows, columns, (0, 0))
    ones = pad(ones_like(x), widths)
    total = _sum_pool(pad(x, widths), output=output, window=window, strides=steps)
    return total / _sum_pool(ones, output=output, window=window, strides=steps)
