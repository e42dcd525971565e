"""Images turned, moved and zoomed: an affine map from each new pixel to a place in the old image, and what is there."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ... import ops
from ...autograd import Tensor
from ...backend import device_of, to_device
from ...errors import check_number
from .images import Augmentation, check_factor, checked_choice

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")


def sample(images: Any, matrices: Any, fill_mode: str, interpolation: str, fill_value: float) -> Any:
    """The images (n, height, width, channels) with each pixel taken from another place.

    `matrices` (n, 2, 3) map (x, y, 1), the column and row of a new pixel, to the (x, y) that it is taken from.
    "bilinear" interpolates between the four pixels around that, "nearest" takes the nearest one. Beyond the border
    "reflect" mirrors the image at its edge (dcba|abcd|dcba), "wrap" repeats it (abcd|abcd|abcd), "nearest" repeats the
    outermost pixels and "constant" has `fill_value`.
    """
    n, height, width, channels = images.shape
    device, dtype = device_of(images.data if isinstance(images, Tensor) else images), matrices.dtype
    columns = to_device(numpy.arange(width, dtype=dtype), device)
    rows = to_device(numpy.arange(height, dtype=dtype).reshape(-1, 1), device)
    firsts = to_device((numpy.arange(n) * (height * width)).reshape(-1, 1, 1), device)
    x, y = (
        matrices[:, i, 0, None, None] * columns + matrices[:, i, 1, None, None] * rows + matrices[:, i, 2, None, None]
        for i in (0, 1)
    )
    pixels = ops.reshape(images, (n * height * width, channels))

    def pixel(row: Any, column: Any) -> Any:
        """The pixels in rows and columns that are whole numbers."""
        place = _within(row, height, fill_mode) * width + _within(column, width, fill_mode)
        found = ops.take(pixels, firsts + ops.astype(place, "int64"), axis=0)
        if fill_mode != "constant":
            return found
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return ops.where(ops.expand_dims(inside, -1), found, fill_value)

    if interpolation == "nearest":
        return pixel(_nearest(y), _nearest(x))
    left, top = ops.floor(x), ops.floor(y)
    right_share = ops.astype(ops.expand_dims(x - left, -1), images.dtype)
    lower_share = ops.astype(ops.expand_dims(y - top, -1), images.dtype)
    upper = pixel(top, left) * (1 - right_share) + pixel(top, left + 1) * right_share
    lower = pixel(top + 1, left) * (1 - right_share) + pixel(top + 1, left + 1) * right_share
    return upper * (1 - lower_share) + lower * lower_share


def _nearest(place: Any) -> Any:
    """The nearest whole number, away from 0 in the middle between two."""
    return ops.sign(place) * ops.floor(ops.absolute(place) + 0.5)


def _within(index: Any, n: int, fill_mode: str) -> Any:
    """Where the pixel of number `index`, perhaps beyond the border, is in an image of length n."""
    if fill_mode == "wrap":
        index = index - n * ops.floor(index / n)
    elif fill_mode == "reflect":
        index = index - 2 * n * ops.floor(index / (2 * n))
        index = ops.minimum(index, 2 * n - 1 - index)
    return ops.clip(index, 0, n - 1)


class _Affine(Augmentation):
    """What the layers have in common that sample images by drawn matrices."""

    fill_mode: str
    interpolation: str
    fill_value: float

    def _set_up(self, fill_mode: str, interpolation: str, fill_value: float) -> None:
        self.fill_mode = checked_choice(self.where, "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = checked_choice(self.where, "interpolation", interpolation, INTERPOLATIONS)
        self.fill_value = check_number(self.where, "fill_value", fill_value, "that is finite", lambda value: True)

    def augment(self, images: Any) -> Any:
        rows = self.matrices(images)
        matrices = ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)
        return sample(images, matrices, self.fill_mode, self.interpolation, self.fill_value)

    def matrices(self, images: Any) -> Any:
        """The two rows of the matrices, each of three tensors (n,)."""
        raise NotImplementedError


class RandomRotation(_Affine):
    """In training, turns each image about its centre by a random angle; else passes all on.

    Args:
        factor: the angle is uniform in [-factor, factor], or between the two numbers of a tuple, in full turns and
            counter-clockwise; of at most 1.
        fill_mode: what is beyond the border: "reflect" (dcba|abcd|dcba), "wrap" (abcd|abcd|abcd), "nearest"
            (aaaa|abcd|dddd) or "constant", which is `fill_value`. In "wrap" an image repeats without end;
            TensorFlow's kernel, which Keras uses, does not interpolate between its last pixel and its first, and
            shows the first one from one repetition on.
        interpolation: "bilinear" or "nearest".
        seed: for the draws, in place of that of `tg.seed`.
        options: those of `Layer`.

    (n, height, width, channels) stays so; one image (height, width, channels) is possible too. Whole numbers become
    floats. Raises ShapeError for inputs with other axes.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.RandomRotation((0.25, 0.25), interpolation="nearest")
    >>> layer(tg.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), training=True)[..., 0]
    tensor([[2., 4.],
            [1., 3.]])
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ):
        super().__init__(seed, **options)
        self.factor = factor
        self._bounds()
        self._set_up(fill_mode, interpolation, fill_value)

    def _bounds(self) -> tuple[float, float]:
        return check_factor(self.where, "factor", self.factor, -1.0)

    def matrices(self, images: Any) -> Any:
        angle = self.draw(images, *(2 * math.pi * bound for bound in self._bounds()))
        cos, sin = ops.cos(angle), ops.sin(angle)
        x, y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
        return (cos, -sin, x - x * cos + y * sin), (sin, cos, y - x * sin - y * cos)


class RandomTranslation(_Affine):
    """In training, moves each image by random distances; else passes all on.

    Args:
        height_factor: the distance down is uniform in [-height_factor, height_factor], or between the two numbers of a
            tuple, as a share of the height; of at most 1.
        width_factor: the same for the distance to the right.
        fill_mode, interpolation, seed, fill_value, options: as for `RandomRotation`, and so are the shapes.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.RandomTranslation(0.0, (0.5, 0.5), fill_mode="constant")
    >>> layer(tg.tensor([[[1.0], [2.0]]]), training=True)[..., 0]
    tensor([[0., 1.]])
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ):
        super().__init__(seed, **options)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._bounds()
        self._set_up(fill_mode, interpolation, fill_value)

    def _bounds(self) -> tuple[tuple[float, float], ...]:
        factors = {"height_factor": self.height_factor, "width_factor": self.width_factor}
        return tuple(check_factor(self.where, name, factor, -1.0) for name, factor in factors.items())

    def matrices(self, images: Any) -> Any:
        down, right = (self.draw(images, *pair) * n for pair, n in zip(self._bounds(), images.shape[1:3], strict=True))
        zero, one = ops.zeros_like(down), ops.ones_like(down)
        return (one, zero, -right), (zero, one, -down)


class RandomZoom(_Affine):
    """In training, zooms each image about its centre by random factors; else passes all on.

    Args:
        height_factor: the height seen is 1 + z of the image's, z uniform in [-height_factor, height_factor], or between
            the two numbers of a tuple, above -1 and up to 1. Positive ones zoom out.
        width_factor: the same for the width; None keeps its zoom equal to that of the height.
        fill_mode, interpolation, seed, fill_value, options: as for `RandomRotation`, and so are the shapes.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.RandomZoom((-0.5, -0.5))
    >>> layer(tg.tensor([[[0.0], [4.0]]]), training=True)[..., 0]
    tensor([[1., 3.]])
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ):
        super().__init__(seed, **options)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._bounds()
        self._set_up(fill_mode, interpolation, fill_value)

    def _bounds(self) -> list[tuple[float, float]]:
        factors = {"height_factor": self.height_factor, "width_factor": self.width_factor}
        return [
            check_factor(self.where, name, factor, -1.0, open_below=True)
            for name, factor in factors.items()
            if name == "height_factor" or factor is not None
        ]

    def matrices(self, images: Any) -> Any:
        zooms = [1 + self.draw(images, *pair) for pair in self._bounds()]
        height, width = zooms[0], zooms[-1]
        zero = ops.zeros_like(height)
        x, y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
        return (width, zero, x * (1 - width)), (zero, height, y * (1 - height))
