"""Resizing images. Interpolation along an axis is a product with a small constant matrix, and so is its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import device_of, to_device
from ..errors import choice
from ..state import state
from .indexing import take
from .linalg import matmul
from .shape import reshape
from .windows import Sizes, check_image, numbers


def map_axis(x: Any, axis: int, matrix: Any) -> Any:
    """The product with `matrix` (new length, length) along an axis; integers become floats."""
    dtype = x.dtype if x.dtype.kind == "f" else state.dtype
    matrix = to_device(matrix.astype(dtype), device_of(x.data if isinstance(x, Tensor) else x))
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    y = matmul(matrix, reshape(x, (math.prod(before), x.shape[axis], math.prod(after))))
    return reshape(y, (*before, len(matrix), *after))


def _bilinear(n: int, size: int) -> Any:
    """The weights of `n` pixels in each of `size`: of the two next to its centre; those outside are the border's."""
    centres = (numpy.arange(size) + 0.5) * (n / size) - 0.5
    below = numpy.floor(centres).astype(int)
    matrix, rows = numpy.zeros((size, n)), numpy.arange(size)
    matrix[rows, numpy.maximum(below, 0)] = 1 - (centres - below)
    matrix[rows, numpy.minimum(below + 1, n - 1)] += centres - below
    return matrix


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
    for axis, length in enumerate(numbers("resize", "size", size, 2), 1):
        n = x.shape[axis]
        if method == "bilinear":
            x = map_axis(x, axis, _bilinear(n, length))
        else:
            x = take(x, (2 * numpy.arange(length) + 1) * n // (2 * length), axis)
    return x
