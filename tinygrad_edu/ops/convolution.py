"""Convolution over one, two or three spatial axes, channels last, and its transpose: a family of three primitives that
are each other's gradients.

Convolution is linear in the image and in the kernel, so the three products of (image, kernel, output) are all there is:
`_conv` gives the output, `_conv_transpose` the image, `_conv_kernel` the kernel. The first and the last are one matrix
product on patches of the image (im2col), the second is one for each element of the kernel. Where every channel has
filters of its own (depthwise), products of images take the place of products of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from ..autograd import primitive
from ..backend import Array
from ..errors import ShapeError, check_integer, message
from ..kernels import blas, pool
from ..kernels.matmul import einsum_of, matmul_of
from ..kernels.registry import compiled
from . import windows
from .shape import rank, reshape
from .windows import AXES, Borders, Sizes, check_image, halves, numbers, output_size, places, reaches, resolve_padding

Place = tuple[slice, slice]
PATCHES = 1 << 18
"""Elements of patches that a core's cache holds."""


class Geometry(NamedTuple):
    """Where the kernel is laid on the image."""

    strides: Sizes
    padding: Borders
    dilation: Sizes
    groups: int


def _around(shape: Sizes, padding: Borders) -> Sizes:
    """The shape of a padded image."""
    n, *size, channels = shape
    return n, *(before + k + after for k, (before, after) in zip(size, padding, strict=True)), channels


def _padded(xp: Any, x: Array, padding: Borders) -> Array:
    if not any(map(any, padding)):
        return x
    y = xp.zeros(_around(x.shape, padding), dtype=x.dtype)
    y[windows.inner(y.shape[1:-1], padding)] = x
    return y


def _patches(xp: Any, x: Array, window: Sizes, output: Sizes, geometry: Geometry) -> Array:
    """The patches of the padded images, a view: (n, *output, *window, channels)."""
    x = _padded(xp, x, geometry.padding)
    first, *steps, last = x.strides
    over = (step * s for step, s in zip(steps, geometry.strides, strict=True))
    inside = (step * d for step, d in zip(steps, geometry.dilation, strict=True))
    shape = (x.shape[0], *output, *window, x.shape[-1])
    return xp.lib.stride_tricks.as_strided(x, shape, (first, *over, *inside, last))


def _rows(patches: Array, groups: int) -> Array:
    """Patches as matrices: (groups, n * output, window * channels / groups)."""
    axes, channels = patches.ndim // 2 - 1, patches.shape[-1]
    rows, area = math.prod(patches.shape[: axes + 1]), math.prod(patches.shape[axes + 1 : -1])
    if groups == 1:
        return patches.reshape(1, rows, area * channels)
    grouped = patches.reshape(rows, area, groups, channels // groups)
    return grouped.transpose(2, 0, 1, 3).reshape(groups, rows, area * (channels // groups))


def _by_parts(xp: Any, function: Callable[[Place], Any], patches: Array, kernel: int) -> list[Any]:
    """What a function makes of parts of the patches, on the CPU of such that stay in the cache: of some images, or some
    rows of one. All threads share them. There is more to do in each than to read the kernel's elements, so many."""
    n, rows = patches.shape[:2]
    most = max(PATCHES, 4 * kernel) if xp is numpy else patches.size
    of_row = max(1, math.prod(patches.shape[2:]))
    images, few = max(1, most // (rows * of_row)), max(1, most // of_row)
    starts = itertools.product(range(0, n, images), range(0, rows, few))
    parts = [(slice(i, i + images), slice(j, j + few)) for i, j in starts]
    if len(parts) < 2:
        return [function(part) for part in parts]
    with blas.one_thread():
        return pool.map(function, parts)


def _turned(size: Sizes, kernel: Array, image: Sizes, geometry: Geometry) -> tuple[Array, Geometry] | None:
    """The convolution that a transposed one of images of that size is, if there is one: with the kernel flipped, and
    channels and filters interchanged."""
    strides, padding, dilation, groups = geometry
    *window, deep, filters = kernel.shape
    reach = reaches(tuple(window), dilation)
    before = [r - 1 - p for r, (p, _) in zip(reach, padding, strict=True)]
    after = [m + r - 1 - n - p for m, r, n, p in zip(image, reach, size, before, strict=True)]
    if max(strides) > 1 or min(*before, *after) < 0 or (groups > 1 and deep == 1):
        return None
    kernel = kernel[(slice(None, None, -1),) * len(window)]
    kernel = kernel.reshape(*window, deep, groups, filters // groups).swapaxes(-1, -3)
    kernel = kernel.reshape(*window, filters // groups, groups * deep)
    return kernel, geometry._replace(padding=tuple(zip(before, after, strict=True)))


def _split_groups(a: Array, groups: int) -> Array:
    """(..., channels) as matrices (groups, rows, channels / groups)."""
    return a.reshape(math.prod(a.shape[:-1]), groups, a.shape[-1] // groups).transpose(1, 0, 2)


def _join_groups(a: Array, shape: Sizes) -> Array:
    """The inverse of `_split_groups`."""
    return a.transpose(1, 0, 2).reshape(shape)


def _wide(a: Array) -> Array:
    """float16 as float32, in which sums over a window keep their digits."""
    return a.astype("float32") if a.dtype == "float16" else a


def _is_depthwise(channels: int, filters: int, groups: int) -> bool:
    return channels == groups and (groups > 1 or filters == 1)


def _multiplied(xp: Any, x: Array, filters: int) -> Array:
    """Of a depthwise convolution, each channel once for each of its filters."""
    return xp.repeat(x, filters // x.shape[-1], axis=-1) if filters > x.shape[-1] else x


def _convolved(xp: Any, x: Array, kernel: Array, output: Sizes, geometry: Geometry) -> Array:
    window, (strides, padding, dilation, groups) = kernel.shape[:-2], geometry
    dtype = numpy.result_type(x.dtype, kernel.dtype)
    x, kernel = _wide(x), _wide(kernel)
    y = xp.zeros((x.shape[0], *output, kernel.shape[-1]), dtype=numpy.result_type(x.dtype, kernel.dtype))
    if _is_depthwise(x.shape[-1], kernel.shape[-1], groups):
        padded = _multiplied(xp, _padded(xp, x, padding), kernel.shape[-1])
        for i, place in places(window, output, strides, dilation):
            y += padded[place] * kernel[i]
    else:
        patches, matrices = _patches(xp, x, window, output, geometry), _split_groups(kernel, groups)

        def multiply(part: Place) -> None:
            matmul_of(xp, _rows(patches[part], groups), matrices, out=_split_groups(y[part], groups))

        _by_parts(xp, multiply, patches, kernel.size)
    return y.astype(dtype, copy=False)


@primitive("gemm", saves=("x", "kernel"))
@compiled("convolution.forward")
def _conv(xp: Any, x: Array, kernel: Array, *, output: Sizes, geometry: Geometry) -> Array:
    return _convolved(xp, x, kernel, output, geometry)


@primitive("gemm", saves=("g", "kernel"))
@compiled("convolution.transpose")
def _conv_transpose(xp: Any, g: Array, kernel: Array, *, image: Sizes, geometry: Geometry) -> Array:
    strides, padding, dilation, groups = geometry
    dtype = numpy.result_type(g.dtype, kernel.dtype)
    g, kernel = _wide(g), _wide(kernel)
    turned = _turned(g.shape[1:-1], kernel, image, geometry)
    if turned:
        return _convolved(xp, g, turned[0], image, turned[1]).astype(dtype, copy=False)
    shape = _around((g.shape[0], *image, kernel.shape[-2] * groups), padding)
    y = xp.zeros(shape, dtype=numpy.result_type(g.dtype, kernel.dtype))
    depthwise = _is_depthwise(y.shape[-1], g.shape[-1], groups)
    rows = g if depthwise else _split_groups(g, groups)
    for i, place in places(kernel.shape[:-2], g.shape[1:-1], strides, dilation):
        if depthwise:
            part = rows * kernel[i]
            each = part.shape[-1] // groups
            y[place] += part if each == 1 else part.reshape(*part.shape[:-1], groups, each).sum(axis=-1)
        else:
            part = matmul_of(xp, rows, _split_groups(kernel[i], groups).transpose(0, 2, 1))
            y[place] += _join_groups(part, (*g.shape[:-1], shape[-1]))
    return y[windows.inner(shape[1:-1], padding)].astype(dtype, copy=False)


@primitive("gemm", saves=("x", "g"))
@compiled("convolution.kernel_gradient")
def _conv_kernel(xp: Any, x: Array, g: Array, *, window: Sizes, geometry: Geometry) -> Array:
    strides, padding, dilation, groups = geometry
    output, shape = g.shape[1:-1], (*window, x.shape[-1] // groups, g.shape[-1])
    dtype = numpy.result_type(x.dtype, g.dtype)
    x, g = _wide(x), _wide(g)
    if _is_depthwise(x.shape[-1], g.shape[-1], groups):
        padded, axes = _multiplied(xp, _padded(xp, x, padding), g.shape[-1]), "abcde"[: x.ndim]
        result = axes[0] + axes[-1]  # image by image, which rounds less
        y = xp.empty(shape[:-2] + shape[-1:], dtype=numpy.result_type(x.dtype, g.dtype))
        for i, place in places(window, output, strides, dilation):
            y[i] = einsum_of(xp, (axes, axes), result, padded[place], g).sum(axis=0)
        return y.reshape(shape).astype(dtype, copy=False)
    patches = _patches(xp, x, window, output, geometry)

    def multiply(part: Place) -> Array:
        return matmul_of(xp, _rows(patches[part], groups).transpose(0, 2, 1), _split_groups(g[part], groups))

    total = xp.zeros((groups, math.prod(shape[:-1]), shape[-1] // groups), dtype=numpy.result_type(x.dtype, g.dtype))
    for found in _by_parts(xp, multiply, patches, total.size):
        total += found
    return _join_groups(total, shape).astype(dtype, copy=False)


_conv.defvjp(
    lambda g, y, x, kernel, output, geometry: _conv_transpose(g, kernel, image=x.shape[1:-1], geometry=geometry),
    lambda g, y, x, kernel, output, geometry: _conv_kernel(x, g, window=kernel.shape[:-2], geometry=geometry),
)
_conv_transpose.defvjp(
    lambda v, y, g, kernel, image, geometry: _conv(v, kernel, output=g.shape[1:-1], geometry=geometry),
    lambda v, y, g, kernel, image, geometry: _conv_kernel(v, g, window=kernel.shape[:-2], geometry=geometry),
)
_conv_kernel.defvjp(
    lambda v, y, x, g, window, geometry: _conv_transpose(g, v, image=x.shape[1:-1], geometry=geometry),
    lambda v, y, x, g, window, geometry: _conv(x, v, output=g.shape[1:-1], geometry=geometry),
)


# Arguments


def _check(where: str, x: Any, kernel: Any, axes: int, groups: int, transposed: bool = False) -> None:
    check_image(where, x, axes)
    check_integer(where, "groups", groups, 1)
    channels, fits = x.shape[-1], rank(where, kernel) == axes + 2 and 0 not in kernel.shape[:-2]
    fits = fits and kernel.shape[-1] % groups == 0
    if not fits or channels != (kernel.shape[-1] if transposed else kernel.shape[-2] * groups):
        shape = f"channels / groups, {channels}" if transposed else f"{channels} / groups, filters"
        expected = f"a kernel ({AXES[axes]}, {shape}) and groups that divide channels and filters"
        raise ShapeError(message(where, expected, f"kernel {kernel.shape}, groups {groups}, {channels} channels"))


def _convolve(
    where: str, axes: int, x: Any, kernel: Any, strides: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    _check(where, x, kernel, axes, groups)
    strides, dilation = numbers(where, "strides", strides, axes), numbers(where, "dilation", dilation, axes)
    size, reach = x.shape[1:-1], reaches(kernel.shape[:-2], dilation)
    if isinstance(padding, str) and padding == "causal" and axes == 1:
        padding = ((reach[0] - 1, 0),)
    resolved = resolve_padding(where, padding, size, reach, strides)
    output = output_size(where, size, reach, strides, resolved)
    return _conv(x, kernel, output=output, geometry=Geometry(strides, resolved, dilation, groups))


def _spread(
    where: str,
    axes: int,
    x: Any,
    kernel: Any,
    strides: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    output_padding: Any,
) -> Any:
    """The transpose of `_convolve`."""
    _check(where, x, kernel, axes, groups, transposed=True)
    strides, dilation = numbers(where, "strides", strides, axes), numbers(where, "dilation", dilation, axes)
    size, reach = x.shape[1:-1], reaches(kernel.shape[:-2], dilation)
    covered = [(n - 1) * s + r for n, s, r in zip(size, strides, reach, strict=True)]
    more = None if output_padding is None else numbers(where, "output_padding", output_padding, axes, 0)
    if more is not None and any(m >= max(s, d) for m, s, d in zip(more, strides, dilation, strict=True)):
        raise ValueError(message(where, "output_padding smaller than strides or dilation", f"{output_padding}"))
    if isinstance(padding, str) and padding == "same":
        image = [n * s for n, s in zip(size, strides, strict=True)]
        if more is not None:
            image = [c - r + r % 2 + m for c, r, m in zip(covered, reach, more, strict=True)]
        resolved: Borders = tuple(halves(c - n) for c, n in zip(covered, image, strict=True))
    else:
        if more is None:
            more = tuple(max(0, s - r) if isinstance(padding, str) else 0 for s, r in zip(strides, reach, strict=True))
        resolved = resolve_padding(where, padding, size, reach, strides)
        image = [c + m - sum(border) for c, m, border in zip(covered, more, resolved, strict=True)]
    if min(image) < 1:
        raise ShapeError(message(where, "padding smaller than the result", f"{padding} for a result of {image}"))
    return _conv_transpose(x, kernel, image=tuple(image), geometry=Geometry(strides, resolved, dilation, groups))


def _depthwise(where: str, axes: int, x: Any, kernel: Any, strides: Any, padding: Any, dilation: Any) -> Any:
    check_image(where, x, axes)
    if rank(where, kernel) != axes + 2 or kernel.shape[-2] != x.shape[-1] or 0 in kernel.shape:
        expected = f"a kernel ({AXES[axes]}, {x.shape[-1]} channels, multiplier)"
        raise ShapeError(message(where, expected, f"kernel {kernel.shape}"))
    *window, channels, multiplier = kernel.shape
    kernel = reshape(kernel, (*window, 1, channels * multiplier))
    return _convolve(where, axes, x, kernel, strides, padding, dilation, channels)


def _separable(
    where: str, axes: int, x: Any, kernel: Any, pointwise_kernel: Any, strides: Any, padding: Any, dilation: Any
) -> Any:
    y = _depthwise(where, axes, x, kernel, strides, padding, dilation)
    if rank(where, pointwise_kernel) != axes + 2 or pointwise_kernel.shape[:-1] != (1,) * axes + y.shape[-1:]:
        expected = f"a pointwise kernel of shape ({'1, ' * axes}{y.shape[-1]}, filters)"
        raise ShapeError(message(where, expected, f"{pointwise_kernel.shape}"))
    return _convolve(where, axes, y, pointwise_kernel, 1, "valid", 1, 1)


# What users call


def conv1d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` along one axis: x (n, length, channels) and kernel (length, channels / groups, filters).

    With the padding "causal", all of it before, an element of the result depends on none that comes later in `x`.

    >>> import tinygrad_edu as tg
    >>> tg.conv1d(tg.tensor([[[1.0], [2.0], [3.0]]]), tg.ones((2, 1, 1)), padding="causal").ravel()
    tensor([1., 3., 5.])
    """
    return _convolve("conv1d", 1, x, kernel, strides, padding, dilation, groups)


def conv2d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    """2-D convolution (cross-correlation, as everywhere in deep learning), channels last.

    Args:
        x: images (n, height, width, channels).
        kernel: (kernel_height, kernel_width, channels / groups, filters).
        strides, dilation: one number, or one each for height and width.
        padding: "valid" (none), "same" (output = input / stride, rounded up), a number, or one for each axis, which
            may be a pair (before, after).
        groups: channels and filters are cut in so many parts, each with its own convolution.

    Returns (n, out_height, out_width, filters). Raises ShapeError for shapes that do not fit, ValueError for other
    arguments.

    >>> import tinygrad_edu as tg
    >>> tg.conv2d(tg.ones((1, 3, 3, 1)), tg.ones((2, 2, 1, 1))).shape
    (1, 2, 2, 1)
    """
    return _convolve("conv2d", 2, x, kernel, strides, padding, dilation, groups)


def conv3d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` over three axes: x (n, depth, height, width, channels), kernel (three lengths, channels / groups,
    filters).

    >>> import tinygrad_edu as tg
    >>> tg.conv3d(tg.ones((1, 3, 4, 5, 2)), tg.ones((2, 2, 2, 2, 6))).shape
    (1, 2, 3, 4, 6)
    """
    return _convolve("conv3d", 3, x, kernel, strides, padding, dilation, groups)


def conv1d_transpose(
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = None,
) -> Any:
    """`conv2d_transpose` along one axis: x (n, length, filters) and kernel (length, channels / groups, filters).

    >>> import tinygrad_edu as tg
    >>> tg.conv1d_transpose(tg.tensor([[[1.0], [2.0]]]), tg.ones((2, 1, 1)), strides=2).ravel()
    tensor([1., 1., 2., 2.])
    """
    return _spread("conv1d_transpose", 1, x, kernel, strides, padding, dilation, groups, output_padding)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = None,
) -> Any:
    """The transpose of `conv2d` with respect to its image: it spreads each element of `x` over a patch of a larger
    image.

    Args:
        x: (n, height, width, filters).
        kernel: (kernel_height, kernel_width, channels / groups, filters), the one of the convolution that is
            transposed.
        padding: what that convolution would have added: the result is smaller by it.
        output_padding: how much longer the result is at its ends, one number or one for each axis, less than the
            stride or the dilation.

    Returns (n, out_height, out_width, channels). With reach = (kernel - 1) * dilation + 1 the lengths are

        padding   without output_padding                       with it
        numbers   (n - 1) * stride + reach - padding           that + output_padding (as in PyTorch)
        "valid"   (n - 1) * stride + max(reach, stride)        (n - 1) * stride + reach + output_padding
        "same"    n * stride                                   (n - 1) * stride + reach % 2 + output_padding

    the last two as in Keras. Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.conv2d_transpose(tg.ones((1, 2, 2, 1)), tg.ones((2, 2, 1, 1)), strides=2).shape
    (1, 4, 4, 1)
    """
    return _spread("conv2d_transpose", 2, x, kernel, strides, padding, dilation, groups, output_padding)


def conv3d_transpose(
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = None,
) -> Any:
    """`conv2d_transpose` over three axes: x (n, depth, height, width, filters) and kernel (three lengths,
    channels / groups, filters).

    >>> import tinygrad_edu as tg
    >>> tg.conv3d_transpose(tg.ones((1, 1, 2, 3, 2)), tg.ones((2, 2, 2, 4, 2)), strides=2).shape
    (1, 2, 4, 6, 4)
    """
    return _spread("conv3d_transpose", 3, x, kernel, strides, padding, dilation, groups, output_padding)


def depthwise_conv1d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1) -> Any:
    """`depthwise_conv2d` along one axis: x (n, length, channels) and kernel (length, channels, multiplier).

    >>> import tinygrad_edu as tg
    >>> tg.depthwise_conv1d(tg.ones((1, 4, 2)), tg.ones((3, 2, 2))).shape
    (1, 2, 4)
    """
    return _depthwise("depthwise_conv1d", 1, x, kernel, strides, padding, dilation)


def depthwise_conv2d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1) -> Any:
    """A convolution of each channel by itself, with as many filters as the multiplier says.

    `x` is (n, height, width, channels), the kernel (kernel_height, kernel_width, channels, multiplier), the result
    (n, out_height, out_width, channels * multiplier), the filters of a channel side by side. Other arguments and errors
    are those of `conv2d`.

    >>> import tinygrad_edu as tg
    >>> tg.depthwise_conv2d(tg.tensor([[[[1.0, 2.0]]]]), tg.tensor([[[[1.0, 10.0], [3.0, 30.0]]]])).ravel()
    tensor([ 1., 10.,  6., 60.])
    """
    return _depthwise("depthwise_conv2d", 2, x, kernel, strides, padding, dilation)


def separable_conv1d(
    x: Any, kernel: Any, pointwise_kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Any:
    """`separable_conv2d` along one axis; the pointwise kernel is (1, channels * multiplier, filters).

    >>> import tinygrad_edu as tg
    >>> tg.separable_conv1d(tg.ones((1, 4, 2)), tg.ones((3, 2, 2)), tg.ones((1, 4, 5))).shape
    (1, 2, 5)
    """
    return _separable("separable_conv1d", 1, x, kernel, pointwise_kernel, strides, padding, dilation)


def separable_conv2d(
    x: Any, kernel: Any, pointwise_kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Any:
    """`depthwise_conv2d`, then a mix of its channels at each point by a kernel (1, 1, channels * multiplier, filters).

    >>> import tinygrad_edu as tg
    >>> tg.separable_conv2d(tg.ones((1, 4, 4, 2)), tg.ones((3, 3, 2, 2)), tg.ones((1, 1, 4, 5))).shape
    (1, 2, 2, 5)
    """
    return _separable("separable_conv2d", 2, x, kernel, pointwise_kernel, strides, padding, dilation)
