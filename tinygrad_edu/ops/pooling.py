"""Pooling over one, two or three spatial axes, channels last. Average pooling and its transpose are each other's
gradients, and so are, for max pooling, picking the chosen elements of the windows and putting elements back in their
places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy

from ..autograd import Tensor, cast, primitive
from ..backend import Array, device_of, to_device
from ..errors import ShapeError, message
from ..kernels.registry import compiled
from ..state import state
from .elementwise import ones_like, zeros_like
from .elementwise import where as choose
from .indexing import take
from .reductions import max as _max
from .reductions import mean
from .shape import pad, rank
from .windows import Borders, Sizes, check_image, inner, numbers, output_size, places, resolve_padding

Place = tuple[slice, ...]


class Windows(NamedTuple):
    """How windows lie on padded images."""

    size: Sizes
    strides: Sizes
    padding: Borders


@primitive("opaque")
@compiled("pooling.total")
def _sum_pool(xp: Any, x: Array, *, output: Sizes, window: Sizes, strides: Sizes) -> Array:
    y = xp.zeros((x.shape[0], *output, x.shape[-1]), dtype=x.dtype)
    for _, place in places(window, output, strides):
        y += x[place]
    return y


@primitive("opaque")
@compiled("pooling.total_transpose")
def _sum_unpool(xp: Any, g: Array, *, image: Sizes, window: Sizes, strides: Sizes) -> Array:
    y = xp.zeros((g.shape[0], *image, g.shape[-1]), dtype=g.dtype)
    for _, place in places(window, g.shape[1:-1], strides):
        y[place] += g
    return y


_sum_pool.defvjp(
    lambda g, y, x, output, window, strides: _sum_unpool(g, image=x.shape[1:-1], window=window, strides=strides)
)
_sum_unpool.defvjp(
    lambda v, y, g, image, window, strides: _sum_pool(v, output=g.shape[1:-1], window=window, strides=strides)
)


@primitive("opaque", saves=("x",))
@compiled("pooling.largest")
def _max_pool(xp: Any, x: Array, *, output: Sizes, windows: Windows) -> Array:
    y: Array = None
    for _, place in places(windows.size, output, windows.strides):
        y = x[place].copy() if y is None else xp.maximum(y, x[place], out=y)
    return y


def _chosen(xp: Any, x: Array, output: Sizes, windows: Windows) -> Iterator[tuple[Place, Array]]:
    """For each element of the window a mask of the outputs whose maximum it is; of several the first. The padding never
    is chosen, and of a window with NaN the first NaN."""
    y = _max_pool.forward(xp, x, output=output, windows=windows)
    image = xp.zeros((1, *x.shape[1:-1], 1), dtype=bool)
    image[inner(x.shape[1:-1], windows.padding)] = True
    free = xp.ones(y.shape, dtype=bool)
    for _, place in places(windows.size, output, windows.strides):
        mask = ((x[place] == y) | (x[place] != x[place])) & image[place] & free
        free &= ~mask
        yield place, mask


@primitive("opaque", saves=("x",))
@compiled("pooling.largest_transpose")
def _max_unpool(xp: Any, g: Array, x: Array, *, windows: Windows) -> Array:
    y = xp.zeros(x.shape, dtype=g.dtype)
    for place, mask in _chosen(xp, x, g.shape[1:-1], windows):
        y[place] += xp.where(mask, g, xp.zeros_like(g))  # so that a NaN reaches no other element
    return y


@primitive("opaque", saves=("x",))
def _max_pick(xp: Any, v: Array, x: Array, *, output: Sizes, windows: Windows) -> Array:
    y = xp.zeros((x.shape[0], *output, x.shape[-1]), dtype=v.dtype)
    for place, mask in _chosen(xp, x, output, windows):
        y += xp.where(mask, v[place], xp.zeros_like(y))
    return y


_max_pool.defvjp(lambda g, y, x, output, windows: _max_unpool(g, x, windows=windows))
_max_unpool.defvjp(
    lambda v, y, g, x, windows: _max_pick(v, x, output=g.shape[1:-1], windows=windows),
    lambda v, y, g, x, windows: zeros_like(x),
)
_max_pick.defvjp(
    lambda g, y, v, x, output, windows: _max_unpool(g, x, windows=windows),
    lambda g, y, v, x, output, windows: zeros_like(x),
)


def _geometry(where: str, axes: int, x: Any, pool_size: Any, strides: Any, padding: Any) -> tuple[Sizes, Windows]:
    """The lengths of the result, and how the windows lie."""
    check_image(where, x, axes)
    window = numbers(where, "pool_size", pool_size, axes)
    steps = window if strides is None else numbers(where, "strides", strides, axes)
    resolved = resolve_padding(where, padding, x.shape[1:-1], window, steps)
    if any(max(border) >= size for border, size in zip(resolved, window, strict=True)):
        raise ShapeError(message(where, "padding smaller than the window", f"{padding} for {window}"))
    output = output_size(where, x.shape[1:-1], window, steps, resolved)
    return output, Windows(window, steps, resolved)


def _pad(x: Any, padding: Borders, value: float = 0) -> Any:
    return pad(x, ((0, 0), *padding, (0, 0)), value) if any(map(any, padding)) else x


def _lowest(dtype: Any) -> float:
    return float("-inf") if dtype.kind == "f" else False if dtype.kind == "b" else numpy.iinfo(dtype).min


def _max_of_windows(where: str, axes: int, x: Any, pool_size: Any, strides: Any, padding: Any) -> Any:
    output, windows = _geometry(where, axes, x, pool_size, strides, padding)
    return _max_pool(_pad(x, windows.padding, _lowest(x.dtype)), output=output, windows=windows)


def _for_sums(x: Any) -> tuple[Any, Any]:
    """`x` in a dtype in which sums neither overflow nor round much, and the dtype of their means."""
    dtype = x.dtype if x.dtype.kind == "f" else state.dtype
    wide = numpy.promote_types(dtype, "float32")
    return x if x.dtype == wide else cast(x, wide), dtype


def _mean_of_windows(where: str, axes: int, x: Any, pool_size: Any, strides: Any, padding: Any) -> Any:
    output, (window, steps, borders) = _geometry(where, axes, x, pool_size, strides, padding)
    x, dtype = _for_sums(x)
    y = _sum_pool(_pad(x, borders), output=output, window=window, strides=steps)
    if any(map(any, borders)):
        ones = _pad(ones_like(x[:1, ..., :1]), borders)
        y = y / _sum_pool(ones, output=output, window=window, strides=steps)
    else:
        y = y * (1.0 / math.prod(window))
    return y if y.dtype == dtype else cast(y, dtype)


def max_pool1d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """`max_pool2d` along one axis of x (n, length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.max_pool1d(tg.tensor([[[1.0], [3.0], [2.0]]]), 2, strides=1).ravel()
    tensor([3., 3.])
    """
    return _max_of_windows("max_pool1d", 1, x, pool_size, strides, padding)


def max_pool2d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """The largest element of each window of images (n, height, width, channels); padding never is the largest.

    Strides default to the window's size. Of equal elements the first gets the gradient. Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.max_pool2d(tg.arange(4.0).reshape(1, 2, 2, 1)).item()
    3.0
    """
    return _max_of_windows("max_pool2d", 2, x, pool_size, strides, padding)


def max_pool3d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """`max_pool2d` over three axes of x (n, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.max_pool3d(tg.arange(8.0).reshape(1, 2, 2, 2, 1)).item()
    7.0
    """
    return _max_of_windows("max_pool3d", 3, x, pool_size, strides, padding)


def average_pool1d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """`average_pool2d` along one axis of x (n, length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.average_pool1d(tg.tensor([[[1.0], [3.0], [2.0]]]), 2, strides=1).ravel()
    tensor([2. , 2.5])
    """
    return _mean_of_windows("average_pool1d", 1, x, pool_size, strides, padding)


def average_pool2d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """The mean of each window of images (n, height, width, channels); padding does not count, as in Keras.

    Strides default to the window's size. Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.average_pool2d(tg.arange(4.0).reshape(1, 2, 2, 1)).item()
    1.5
    """
    return _mean_of_windows("average_pool2d", 2, x, pool_size, strides, padding)


def average_pool3d(x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    """`average_pool2d` over three axes of x (n, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.average_pool3d(tg.arange(8.0).reshape(1, 2, 2, 2, 1)).item()
    3.5
    """
    return _mean_of_windows("average_pool3d", 3, x, pool_size, strides, padding)


def _spatial(where: str, x: Any) -> tuple[int, ...]:
    """The axes between the batch and the channels."""
    if rank(where, x) < 3:
        raise ShapeError(message(where, "a batch (n, ..., channels) with axes between", f"shape {x.shape}"))
    if 0 in x.shape[1:-1]:
        raise ShapeError(message(where, "at least one element between batch and channels", f"shape {x.shape}"))
    return tuple(range(1, x.ndim - 1))


def global_max_pool(x: Any, keepdims: bool = False) -> Any:
    """The largest element of each channel of x (n, ..., channels): shape (n, channels), or with axes of length 1
    between.

    Equal elements share the gradient. Raises ShapeError if there is nothing between batch and channels, or an empty
    axis.

    >>> import tinygrad_edu as tg
    >>> tg.global_max_pool(tg.arange(8.0).reshape(1, 2, 2, 2))
    tensor([[6., 7.]])
    """
    return _max(x, axis=_spatial("global_max_pool", x), keepdims=keepdims)


def global_average_pool(x: Any, keepdims: bool = False) -> Any:
    """The mean of each channel of x (n, ..., channels): shape (n, channels), or with axes of length 1 between.

    Raises ShapeError if there is nothing between batch and channels, or an empty axis.

    >>> import tinygrad_edu as tg
    >>> tg.global_average_pool(tg.arange(8.0).reshape(1, 2, 2, 2))
    tensor([[3., 4.]])
    """
    return mean(x, axis=_spatial("global_average_pool", x), keepdims=keepdims)


# Adaptive pooling: windows of a size that gives the wanted length. Part i of `parts` runs from floor(i n / parts) to
# ceil((i + 1) n / parts), as in PyTorch, so that neighbours may overlap.


def _parts(n: int, parts: int) -> list[tuple[int, int]]:
    return [(i * n // parts, -(-(i + 1) * n // parts)) for i in range(parts)]


def _adaptive_sizes(where: str, axes: int, x: Any, size: Any) -> Sizes:
    check_image(where, x, axes)
    return numbers(where, "size", size, axes)


def _side_by_side(x: Any, axis: int, size: int) -> tuple[Any, list[int], int]:
    """The parts of an axis one after the other, their lengths, and the longest, to which the others are filled up by
    repeating their last element."""
    parts = _parts(x.shape[axis], size)
    lengths = [end - start for start, end in parts]
    longest = max(lengths)
    if x.shape[axis] % size:
        x = take(x, [min(start + i, end - 1) for start, end in parts for i in range(longest)], axis)
    return x, lengths, longest


def _adaptive_mean(where: str, axes: int, x: Any, size: Any) -> Any:
    """Axis by axis, so that an infinity or NaN reaches no other part."""
    sizes = _adaptive_sizes(where, axes, x, size)
    x, dtype = _for_sums(x)
    device = device_of(x.data if isinstance(x, Tensor) else x)
    for axis, length in enumerate(sizes, 1):
        x, lengths, longest = _side_by_side(x, axis, length)
        along = (-1, *(1,) * (x.ndim - 1 - axis))
        if min(lengths) < longest:
            real = numpy.arange(longest) < numpy.array(lengths)[:, None]
            x = choose(to_device(real.reshape(along), device), x, 0.0)
        window = tuple(longest if i == axis else 1 for i in range(1, axes + 1))
        output = (*x.shape[1:axis], length, *x.shape[axis + 1 : -1])
        x = _sum_pool(x, output=output, window=window, strides=window)
        x = x * to_device((1.0 / numpy.array(lengths)).astype(x.dtype).reshape(along), device)
    return x if x.dtype == dtype else cast(x, dtype)


def _adaptive_max(where: str, axes: int, x: Any, size: Any) -> Any:
    sizes = _adaptive_sizes(where, axes, x, size)
    window = []
    for axis, length in enumerate(sizes, 1):
        x, _, longest = _side_by_side(x, axis, length)
        window.append(longest)
    return _max_pool(x, output=sizes, windows=Windows(tuple(window), tuple(window), ((0, 0),) * axes))


def adaptive_average_pool1d(x: Any, size: Any) -> Any:
    """`adaptive_average_pool2d` along one axis of x (n, length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_average_pool1d(tg.tensor([[[1.0], [3.0], [2.0]]]), 2).ravel()
    tensor([2. , 2.5])
    """
    return _adaptive_mean("adaptive_average_pool1d", 1, x, size)


def adaptive_average_pool2d(x: Any, size: Any) -> Any:
    """Means of the parts of images (n, height, width, channels), so many that the result has the size (height, width).

    Part i of an axis of length n runs from floor(i n / size) to ceil((i + 1) n / size), as in PyTorch. Raises
    ShapeError for another number of axes, ValueError for a size below 1.

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_average_pool2d(tg.arange(6.0).reshape(1, 2, 3, 1), (1, 3)).ravel()
    tensor([1.5, 2.5, 3.5])
    """
    return _adaptive_mean("adaptive_average_pool2d", 2, x, size)


def adaptive_average_pool3d(x: Any, size: Any) -> Any:
    """`adaptive_average_pool2d` over three axes of x (n, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_average_pool3d(tg.arange(8.0).reshape(1, 2, 2, 2, 1), (1, 2, 1)).ravel()
    tensor([2.5, 4.5])
    """
    return _adaptive_mean("adaptive_average_pool3d", 3, x, size)


def adaptive_max_pool1d(x: Any, size: Any) -> Any:
    """`adaptive_max_pool2d` along one axis of x (n, length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_max_pool1d(tg.tensor([[[1.0], [3.0], [2.0]]]), 2).ravel()
    tensor([3., 3.])
    """
    return _adaptive_max("adaptive_max_pool1d", 1, x, size)


def adaptive_max_pool2d(x: Any, size: Any) -> Any:
    """The largest elements of the parts that `adaptive_average_pool2d` averages. Of equal ones the first gets the
    gradient.

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_max_pool2d(tg.arange(6.0).reshape(1, 2, 3, 1), (1, 2)).ravel()
    tensor([4., 5.])
    """
    return _adaptive_max("adaptive_max_pool2d", 2, x, size)


def adaptive_max_pool3d(x: Any, size: Any) -> Any:
    """`adaptive_max_pool2d` over three axes of x (n, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.adaptive_max_pool3d(tg.arange(8.0).reshape(1, 2, 2, 2, 1), (1, 2, 1)).ravel()
    tensor([5., 7.])
    """
    return _adaptive_max("adaptive_max_pool3d", 3, x, size)
