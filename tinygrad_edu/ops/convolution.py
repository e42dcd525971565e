"""2-D convolution, channels last, and its transpose: a family of three primitives that are each other's gradients.

Convolution is linear in the image and in the kernel, so the three products of (image, kernel, output) are all there is:
`_conv2d` gives the output, `_conv2d_transpose` the image, `_conv2d_kernel` the kernel. Each is one matrix product on
patches of the image (im2col).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy

from ..autograd import primitive
from ..backend import Array
from ..errors import ShapeError, message
from .shape import rank

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Where the kernel is laid on the image."""

    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int


def _padded(xp: Any, x: Array, padding: tuple[Pair, Pair]) -> Array:
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, height, width, channels = x.shape
    y = xp.zeros((n, top + height + bottom, left + width + right, channels), dtype=x.dtype)
    y[:, top : top + height, left : left + width] = x
    return y


def windows(xp: Any, x: Array, kernel: Pair, output: Pair, strides: Pair, dilation: Pair) -> Array:
    """A view (n, out_height, out_width, kernel_height, kernel_width, channels) of the patches of a padded image."""
    n, height, width, channel = x.strides
    return xp.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *output, *kernel, x.shape[3]),
        (n, height * strides[0], width * strides[1], height * dilation[0], width * dilation[1], channel),
    )


def _patches(xp: Any, x: Array, kernel: Pair, output: Pair, geometry: Geometry) -> Array:
    """The patches as matrices: (groups, n * out_height * out_width, kernel_height * kernel_width * channels /
    groups)."""
    strides, padding, dilation, groups = geometry
    view = windows(xp, _padded(xp, x, padding), kernel, output, strides, dilation)
    rows, area = x.shape[0] * math.prod(output), math.prod(kernel)
    if groups == 1:
        return view.reshape(1, rows, area * x.shape[3])
    grouped = view.reshape(rows, area, groups, x.shape[3] // groups)
    return grouped.transpose(2, 0, 1, 3).reshape(groups, rows, area * (x.shape[3] // groups))


def _split_groups(a: Array, groups: int) -> Array:
    """(..., channels) as matrices (groups, rows, channels / groups)."""
    return a.reshape(-1, groups, a.shape[-1] // groups).transpose(1, 0, 2)


def _kernel_matrices(kernel: Array, groups: int) -> Array:
    """(height, width, channels / groups, filters) as (groups, height * width * channels / groups, filters / groups)."""
    height, width, channels, filters = kernel.shape
    return kernel.reshape(height * width * channels, groups, filters // groups).transpose(1, 0, 2)


def _join_groups(a: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_split_groups`."""
    return a.transpose(1, 0, 2).reshape(shape)


@primitive("gemm", saves=("x", "kernel"))
def _conv2d(xp: Any, x: Array, kernel: Array, *, output: Pair, geometry: Geometry) -> Array:
    patches = _patches(xp, x, kernel.shape[:2], output, geometry)
    y = xp.matmul(patches, _kernel_matrices(kernel, geometry.groups))
    return _join_groups(y, (x.shape[0], *output, kernel.shape[3]))


@primitive("gemm", saves=("g", "kernel"))
def _conv2d_transpose(xp: Any, g: Array, kernel: Array, *, image: Pair, geometry: Geometry) -> Array:
    strides, ((top, bottom), (left, right)), dilation, groups = geometry
    (n, out_height, out_width, _), (height, width, channels, _) = g.shape, kernel.shape
    patches = xp.matmul(_split_groups(g, groups), _kernel_matrices(kernel, groups).transpose(0, 2, 1))
    patches = patches.reshape(groups, n, out_height, out_width, height, width, channels)
    y = xp.zeros((n, top + image[0] + bottom, left + image[1] + right, groups, channels), dtype=patches.dtype)
    for i in range(height):
        for j in range(width):
            rows = slice(i * dilation[0], i * dilation[0] + strides[0] * (out_height - 1) + 1, strides[0])
            columns = slice(j * dilation[1], j * dilation[1] + strides[1] * (out_width - 1) + 1, strides[1])
            y[:, rows, columns] += xp.moveaxis(patches[:, :, :, :, i, j], 0, 3)
    y = y.reshape(*y.shape[:3], groups * channels)
    return y[:, top : top + image[0], left : left + image[1]]


@primitive("gemm", saves=("x", "g"))
def _conv2d_kernel(xp: Any, x: Array, g: Array, *, kernel: Pair, geometry: Geometry) -> Array:
    groups = geometry.groups
    patches = _patches(xp, x, kernel, g.shape[1:3], geometry)
    y = xp.matmul(patches.transpose(0, 2, 1), _split_groups(g, groups))
    return _join_groups(y, (*kernel, x.shape[3] // groups, g.shape[3]))


_conv2d.defvjp(
    lambda g, y, x, kernel, output, geometry: _conv2d_transpose(g, kernel, image=x.shape[1:3], geometry=geometry),
    lambda g, y, x, kernel, output, geometry: _conv2d_kernel(x, g, kernel=kernel.shape[:2], geometry=geometry),
)
_conv2d_transpose.defvjp(
    lambda v, y, g, kernel, image, geometry: _conv2d(v, kernel, output=g.shape[1:3], geometry=geometry),
    lambda v, y, g, kernel, image, geometry: _conv2d_kernel(v, g, kernel=kernel.shape[:2], geometry=geometry),
)
_conv2d_kernel.defvjp(
    lambda v, y, x, g, kernel, geometry: _conv2d_transpose(g, v, image=x.shape[1:3], geometry=geometry),
    lambda v, y, x, g, kernel, geometry: _conv2d(x, v, output=g.shape[1:3], geometry=geometry),
)


def pair(where: str, name: str, value: int | Sequence[int], least: int = 1) -> Pair:
    numbers = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(numbers) != 2 or not all(isinstance(n, (int, numpy.integer)) and n >= least for n in numbers):
        raise ValueError(message(where, f"{name} to be one or two integers of at least {least}", f"{value}"))
    return int(numbers[0]), int(numbers[1])


def resolve_padding(
    where: str, padding: Any, size: Pair, kernel: Pair, strides: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    """(before, after) for height and width: 'valid', 'same' as in Keras (the odd one after), a number, or such
    pairs."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        both = []
        for n, k, s, d in zip(size, kernel, strides, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            both.append((total // 2, total - total // 2))
        return both[0], both[1]
    if isinstance(padding, str):
        raise ValueError(message(where, "padding 'valid', 'same', numbers or pairs", repr(padding)))
    both_sides = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
    if len(both_sides) != 2:
        raise ValueError(message(where, "padding 'valid', 'same', numbers or pairs", repr(padding)))
    return pair(where, "padding", both_sides[0], 0), pair(where, "padding", both_sides[1], 0)


def output_size(
    where: str, size: Pair, kernel: Pair, strides: Pair, padding: tuple[Pair, Pair], dilation: Pair
) -> Pair:
    """Height and width of the result. Raises ShapeError where the kernel is larger than the padded image."""
    found = []
    for n, k, s, (before, after), d in zip(size, kernel, strides, padding, dilation, strict=True):
        room = before + n + after - ((k - 1) * d + 1)
        if room < 0:
            expected = f"a padded image of at least {(k - 1) * d + 1} for kernel {kernel}"
            raise ShapeError(message(where, expected, f"{before + n + after}", "use padding='same'."))
        found.append(room // s + 1)
    return found[0], found[1]


def check_image(where: str, x: Any) -> None:
    if rank(where, x) != 4:
        raise ShapeError(message(where, "an image batch (n, height, width, channels)", f"shape {x.shape}"))


def conv2d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    """2-D convolution (cross-correlation, as everywhere in deep learning), channels last.

    Args:
        x: images (n, height, width, channels).
        kernel: (kernel_height, kernel_width, channels / groups, filters).
        strides, dilation: one number, or one each for height and width.
        padding: "valid" (none), "same" (output = input / stride, rounded up), a number, one each for height and
        width, or
            a (before, after) pair for each.
        groups: channels and filters are cut in so many parts, each with its own convolution.

    Returns (n, out_height, out_width, filters). Raises ShapeError for shapes that do not fit, ValueError for other
    arguments.

    >>> import tinygrad_edu as tg
    >>> tg.conv2d(tg.ones((1, 3, 3, 1)), tg.ones((2, 2, 1, 1))).shape
    (1, 2, 2, 1)
    """
    check_image("conv2d", x)
    _check_kernel("conv2d", kernel, x.shape[3], kernel.shape[3] if kernel.ndim == 4 else 0, groups)
    strides, dilation = pair("conv2d", "strides", strides), pair("conv2d", "dilation", dilation)
    size, window = x.shape[1:3], kernel.shape[:2]
    resolved = resolve_padding("conv2d", padding, size, window, strides, dilation)
    output = output_size("conv2d", size, window, strides, resolved, dilation)
    return _conv2d(x, kernel, output=output, geometry=Geometry(strides, resolved, dilation, groups))


def _check_kernel(where: str, kernel: Any, channels: int, filters: int, groups: int) -> None:
    fits = kernel.ndim == 4 and 0 not in kernel.shape[:2] and groups >= 1
    if not fits or channels % groups or filters % groups or kernel.shape[2] * groups != channels:
        expected = f"a kernel (height, width, {channels} / groups, filters) and groups that divide channels and filters"
        raise ShapeError(message(where, expected, f"kernel {kernel.shape}, groups {groups}, {channels} channels"))


def conv2d_transpose(
    x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1
) -> Any:
    """The transpose of `conv2d` with respect to its image: it spreads each element of `x` over a patch of a larger
    image.

    Args:
        x: (n, height, width, filters).
        kernel: (kernel_height, kernel_width, channels / groups, filters), the one of the convolution that is
        transposed.
        padding: what that convolution would have added: the result is smaller by it. With "same" the result is
            stride times as large as `x`.

    Returns (n, out_height, out_width, channels), of length (length - 1) * stride + (kernel - 1) * dilation + 1 -
    padding.
    Raises as `conv2d` does.

    >>> import tinygrad_edu as tg
    >>> tg.conv2d_transpose(tg.ones((1, 2, 2, 1)), tg.ones((2, 2, 1, 1)), strides=2).shape
    (1, 4, 4, 1)
    """
    where = "conv2d_transpose"
    check_image(where, x)
    if kernel.ndim != 4 or 0 in kernel.shape[:2] or kernel.shape[3] != x.shape[3] or groups < 1 or x.shape[3] % groups:
        expected = f"a kernel (height, width, channels / groups, {x.shape[3]}) and groups that divide {x.shape[3]}"
        raise ShapeError(message(where, expected, f"kernel {kernel.shape}, groups {groups}"))
    strides, dilation = pair(where, "strides", strides), pair(where, "dilation", dilation)
    window, size = kernel.shape[:2], x.shape[1:3]
    if padding == "same":
        image = (size[0] * strides[0], size[1] * strides[1])
        resolved = resolve_padding(where, padding, image, window, strides, dilation)
    else:
        resolved = resolve_padding(where, padding, size, window, strides, dilation)
        lengths = [
            (n - 1) * s + (k - 1) * d + 1 - before - after
            for n, s, k, d, (before, after) in zip(size, strides, window, dilation, resolved, strict=True)
        ]
        image = (lengths[0], lengths[1])
        if min(lengths) < 1:
            raise ShapeError(message(where, "padding smaller than the result", f"{padding} for a result of {lengths}"))
    return _conv2d_transpose(x, kernel, image=image, geometry=Geometry(strides, resolved, dilation, groups))
