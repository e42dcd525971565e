"""Layers that arrange elements anew, repeat them, or change the borders; none has parameters."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..errors import ShapeError, check_integer, check_integers, choice, message
from ..ops.windows import check_image, numbers
from .base import Layer, check_shape


class Flatten(Layer):
    """All axes but the first as one: (batch, 8, 8) becomes (batch, 64).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Flatten()(tg.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, **options: Any):
        super().__init__(**options)  # nothing by position, where Keras has data_format

    def call(self, x: Any) -> Any:
        if not x.ndim:
            raise ShapeError(message(self.where, "inputs of shape (batch, ...)", f"{x.shape}"))
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Layer):
    """Rows of another shape, with as many elements: (batch, ...) becomes (batch, *target_shape); one length may be -1.

    Raises ShapeError for an input with another number of elements.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Reshape((2, -1))(tg.zeros((5, 6))).shape
    (5, 2, 3)
    """

    def __init__(self, target_shape: tuple[int, ...], **options: Any):
        super().__init__(**options)
        self.target_shape = check_integers(self.where, "target_shape to be integers", target_shape)
        check_shape(self.where, "target_shape", [1 if n == -1 else n for n in self.target_shape])
        if self.target_shape.count(-1) > 1:
            raise ValueError(message(self.where, "target_shape with at most one -1", repr(target_shape)))

    def call(self, x: Any) -> Any:
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.target_shape if n != -1)
        if size % known if -1 in self.target_shape else size != known:
            expected = f"rows that can be reshaped to {self.target_shape}"
            raise ShapeError(message(self.where, expected, f"shape {x.shape}"))
        shape = tuple(size // known if n == -1 else n for n in self.target_shape)
        return ops.reshape(x, (x.shape[0], *shape))


class Permute(Layer):
    """The axes in another order, the batch axis excepted: axis i of an output is axis dims[i - 1] of the input.

    Raises ValueError unless `dims` holds each number from 1 on once, ShapeError for an input with another number of
    axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Permute((2, 1))(tg.zeros((8, 3, 5))).shape
    (8, 5, 3)
    """

    def __init__(self, dims: Sequence[int], **options: Any):
        super().__init__(**options)
        self.dims = check_integers(self.where, "dims to be integers", dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(message(self.where, "dims with each axis from 1 on once", repr(dims)))

    def call(self, x: Any) -> Any:
        if x.ndim != len(self.dims) + 1:
            raise ShapeError(message(self.where, f"inputs of {len(self.dims) + 1} axes", f"shape {x.shape}"))
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """Each row `n` times, as the steps of a sequence: (batch, features) becomes (batch, n, features).

    Raises ShapeError for inputs of other than two axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.RepeatVector(3)(tg.zeros((8, 5))).shape
    (8, 3, 5)
    """

    def __init__(self, n: int, **options: Any):
        super().__init__(**options)
        self.n = check_integer(self.where, "n", n, 1)

    def call(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ShapeError(message(self.where, "inputs of shape (batch, features)", f"shape {x.shape}"))
        return ops.broadcast_to(ops.expand_dims(x, 1), (x.shape[0], self.n, x.shape[1]))


def _borders(where: str, name: str, value: Any, axes: int) -> tuple[tuple[int, ...], ...]:
    """(before, after) for each axis, from an integer for all, or for each axis an integer or a pair of them."""
    if axes == 1:
        return (numbers(where, name, value, 2, 0),)
    given = tuple(value) if isinstance(value, (list, tuple)) else (value,) * axes
    if len(given) != axes:
        raise ValueError(
            message(where, f"{name} to be an integer, or one or a pair for each of {axes} axes", repr(value))
        )
    return tuple(numbers(where, name, one, 2, 0) for one in given)


class _ZeroPadding(Layer):
    """Zeros before and after each of `axes` axes between batch and channels."""

    axes: ClassVar[int]

    def __init__(self, padding: Any, **options: Any):
        super().__init__(**options)
        self.padding = padding
        self.borders()

    def borders(self) -> tuple[tuple[int, ...], ...]:
        return _borders(self.where, "padding", self.padding, self.axes)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, self.axes)
        return ops.pad(x, ((0, 0), *self.borders(), (0, 0)))


class ZeroPadding1D(_ZeroPadding):
    """Zeros at the ends of sequences: (batch, steps, channels) becomes (batch, before + steps + after, channels).

    `padding` is (before, after), or one number for both. Raises ShapeError for inputs of other than three axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.ZeroPadding1D((1, 2))(tg.ones((8, 5, 3))).shape
    (8, 8, 3)
    """

    axes = 1

    def __init__(self, padding: int | Sequence[int] = 1, **options: Any):
        super().__init__(padding, **options)


class ZeroPadding2D(_ZeroPadding):
    """Zeros around images (batch, height, width, channels).

    `padding` is ((top, bottom), (left, right)), or (height, width) for equal ones on both sides, or one number. Raises
    ShapeError for inputs of other than four axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.ZeroPadding2D(((0, 1), 2))(tg.ones((8, 5, 5, 3))).shape
    (8, 6, 9, 3)
    """

    axes = 2

    def __init__(self, padding: Any = (1, 1), **options: Any):
        super().__init__(padding, **options)


class ZeroPadding3D(_ZeroPadding):
    """As `ZeroPadding2D`, around volumes (batch, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.ZeroPadding3D(1)(tg.ones((8, 2, 5, 5, 3))).shape
    (8, 4, 7, 7, 3)
    """

    axes = 3

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), **options: Any):
        super().__init__(padding, **options)


class _Cropping(Layer):
    """Without so much before and after in each of `axes` axes between batch and channels."""

    axes: ClassVar[int]

    def __init__(self, cropping: Any, **options: Any):
        super().__init__(**options)
        self.cropping = cropping
        self.borders()

    def borders(self) -> tuple[tuple[int, ...], ...]:
        return _borders(self.where, "cropping", self.cropping, self.axes)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, self.axes)
        borders = self.borders()
        if any(sum(pair) >= n for pair, n in zip(borders, x.shape[1:-1], strict=True)):
            raise ShapeError(message(self.where, f"lengths above those cropped, {borders}", f"shape {x.shape}"))
        ends = zip(borders, x.shape[1:-1], strict=True)
        return x[(slice(None), *(slice(before, n - after) for (before, after), n in ends))]


class Cropping1D(_Cropping):
    """Sequences (batch, steps, channels) without their first and last steps.

    `cropping` is (first, last), or one number for both. Raises ShapeError if nothing would be left, or for inputs of
    other than three axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Cropping1D((1, 2))(tg.ones((8, 5, 3))).shape
    (8, 2, 3)
    """

    axes = 1

    def __init__(self, cropping: int | Sequence[int] = (1, 1), **options: Any):
        super().__init__(cropping, **options)


class Cropping2D(_Cropping):
    """Images (batch, height, width, channels) without their borders.

    `cropping` is ((top, bottom), (left, right)), or (height, width) for equal ones on both sides, or one number. Raises
    ShapeError if nothing would be left, or for inputs of other than four axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Cropping2D(((0, 1), 2))(tg.ones((8, 5, 5, 3))).shape
    (8, 4, 1, 3)
    """

    axes = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), **options: Any):
        super().__init__(cropping, **options)


class Cropping3D(_Cropping):
    """As `Cropping2D`, for volumes (batch, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Cropping3D(1)(tg.ones((8, 3, 5, 5, 3))).shape
    (8, 1, 3, 3, 3)
    """

    axes = 3

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), **options: Any):
        super().__init__(cropping, **options)


class UpSampling1D(Layer):
    """Each step of sequences (batch, steps, channels) `size` times.

    Raises ShapeError for inputs of other than three axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.UpSampling1D(2)(tg.tensor([[[1.0], [2.0]]])).ravel()
    tensor([1., 1., 2., 2.])
    """

    def __init__(self, size: int = 2, **options: Any):
        super().__init__(**options)
        self.size = check_integer(self.where, "size", size, 1)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, 1)
        return ops.repeat(x, self.size, axis=1)


class UpSampling2D(Layer):
    """Images (batch, height, width, channels) made larger by whole factors.

    Args:
        size: the factors of height and width, or one for both.
        interpolation: "nearest" repeats each pixel, "bilinear" interpolates (see `tg.resize`).

    Raises ValueError for another interpolation, ShapeError for inputs of other than four axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.UpSampling2D((2, 3))(tg.ones((8, 5, 5, 3))).shape
    (8, 10, 15, 3)
    """

    def __init__(self, size: int | Sequence[int] = (2, 2), *, interpolation: str = "nearest", **options: Any):
        super().__init__(**options)
        self.size = numbers(self.where, "size", size, 2)
        if interpolation not in ("nearest", "bilinear"):
            raise choice(self.where, "interpolation", interpolation, ("nearest", "bilinear"))
        self.interpolation = interpolation

    def call(self, x: Any) -> Any:
        check_image(self.where, x, 2)
        return ops.resize(x, tuple(map(operator.mul, x.shape[1:3], self.size)), self.interpolation)


class UpSampling3D(Layer):
    """Volumes (batch, depth, height, width, channels) with each element repeated along depth, height and width.

    Raises ShapeError for inputs of other than five axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.UpSampling3D((1, 2, 3))(tg.ones((8, 5, 5, 5, 3))).shape
    (8, 5, 10, 15, 3)
    """

    def __init__(self, size: int | Sequence[int] = (2, 2, 2), **options: Any):
        super().__init__(**options)
        self.size = numbers(self.where, "size", size, 3)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, 3)
        for axis, factor in enumerate(self.size, 1):
            x = ops.repeat(x, factor, axis=axis)
        return x
