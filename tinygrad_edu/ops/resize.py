"""Resizing images, one axis after the other."""

from __future__ import annotations

from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import device_of, to_device
from ..errors import choice
from ..state import state
from .indexing import take
from .windows import Sizes, check_image, numbers


def _between(x: Any, axis: int, size: int) -> Any:
    """`size` pixels along an axis, each between the two whose centres are next to its own; those outside are the
    border's. Integers become floats."""
    n, dtype = x.shape[axis], x.dtype if x.dtype.kind == "f" else state.dtype
    centres = ((numpy.arange(size) + 0.5) * (n / size) - 0.5).clip(0, n - 1)
    below = numpy.floor(centres).astype(int)
    above = numpy.ceil(centres).astype(int)  # where it is the same pixel, it counts half and half
    share = numpy.where(above == below, 0.5, centres - below).astype(dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    first, second = (to_device(a, device_of(x.data if isinstance(x, Tensor) else x)) for a in (1 - share, share))
    return take(x, below, axis) * first + take(x, above, axis) * second


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
            x = _between(x, axis, length)
        else:
            x = take(x, (2 * numpy.arange(length) + 1) * n // (2 * length), axis)
    return x
