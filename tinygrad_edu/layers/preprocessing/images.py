"""Images are resized, cropped, flipped, and made darker or of less contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...backend import device_of
from ...errors import ShapeError, check_bool, check_integer, check_number, choice, message
from ...state import state
from ..base import Layer
from .numbers import floating


def checked_choice(where: str, name: str, value: Any, known: Sequence[str]) -> Any:
    if value not in known:
        raise choice(where, name, value, known)
    return value


def check_factor(
    where: str, name: str, factor: Any, least: float, most: float = 1.0, open_below: bool = False
) -> tuple[float, float]:
    """The lower and upper bound that a factor means: a number f is (-f, f)."""
    wanted = f"{'above' if open_below else 'from'} {least:g} to {most:g}"

    def accepts(value: float) -> bool:
        return (least < value if open_below else least <= value) and value <= most

    pair = factor if isinstance(factor, (list, tuple)) else (factor, factor)
    if len(pair) != 2:
        raise ValueError(message(where, f"{name} to be a number or two", repr(factor)))
    low, high = (check_number(where, name, value, wanted, accepts) for value in pair)
    return (min(low, high), max(low, high)) if pair is factor else (-abs(low), abs(low))


def check_range(where: str, value_range: Any) -> tuple[float, float]:
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ValueError(message(where, "value_range to be two numbers", repr(value_range)))
    low, high = (
        check_number(where, "value_range", value, "that is finite", lambda value: True) for value in value_range
    )
    return min(low, high), max(low, high)


class ImageLayer(Layer):
    """What layers of images have in common: they take a batch, or one image, and `transform` gets a batch."""

    def call(self, x: Any) -> Any:
        if x.ndim not in (3, 4) or 0 in x.shape[-3:-1]:
            expected = "images of shape (n, height, width, channels) or (height, width, channels)"
            hint = "add the axis of the channels: x[..., None]." if x.ndim == 2 else ""
            raise ShapeError(message(self.where, expected, f"shape {x.shape}", hint))
        return self.transform(x) if x.ndim == 4 else self.transform(x[None])[0]

    def transform(self, images: Any) -> Any:
        raise NotImplementedError


class Augmentation(ImageLayer):
    """A layer that changes images at random in training and passes them on, as floats, else."""

    def __init__(self, seed: int | None = None, **options: Any):
        super().__init__(**options)
        self.seed = None if seed is None else check_integer(self.where, "seed", seed, 0)

    def transform(self, images: Any) -> Any:
        images = floating(images)
        return self.augment(images) if state.training else images

    def augment(self, images: Any) -> Any:
        raise NotImplementedError

    def draw(self, images: Any, low: float, high: float) -> Any:
        """A number in [low, high) for each image, in float32 or, for images in float64, that."""
        dtype = "float64" if images.dtype == "float64" else "float32"
        device = device_of(images.data)
        return ops.uniform((images.shape[0],), low, high, dtype=dtype, device=device, seed=self.seed)

    def draw_factors(self, images: Any, low: float, high: float) -> Any:
        """The same of the shape (n, 1, 1, 1) and the dtype of the images."""
        return ops.astype(ops.reshape(self.draw(images, low, high), (-1, 1, 1, 1)), images.dtype)


def cover(images: Any, height: int, width: int) -> Any:
    """The largest part in the middle that has the wanted proportions, resized."""
    return ops.resize(middle(images, height, width), (height, width), "bilinear")


def middle(images: Any, height: int, width: int) -> Any:
    """The largest part in the middle that has the proportions of height and width."""
    rows, columns = images.shape[1:3]
    part_height = max(1, min(rows, columns * height // width))
    part_width = max(1, min(columns, rows * width // height))
    return crop(images, (rows - part_height) // 2, (columns - part_width) // 2, part_height, part_width)


def crop(images: Any, top: int, left: int, height: int, width: int) -> Any:
    return images[:, top : top + height, left : left + width]


class Resizing(ImageLayer):
    """Images (n, height, width, channels), or one of them, in another size, as `tg.resize`.

    Args:
        height, width: the new size.
        interpolation: "bilinear" or "nearest".
        crop_to_aspect_ratio: True first cuts off what is too much in height or width, so that nothing is distorted.
        pad_to_aspect_ratio: True first adds `fill_value` on both sides instead.
        fill_mode: "constant".
        options: those of `Layer`.

    Integers stay integers, rounded. Raises ShapeError for inputs with other axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Resizing(1, 4)(tg.tensor([[[0.0], [1.0]]]))[..., 0]
    tensor([[0.  , 0.25, 0.75, 1.  ]])
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        self.height = check_integer(self.where, "height", height, 1)
        self.width = check_integer(self.where, "width", width, 1)
        self.interpolation = checked_choice(self.where, "interpolation", interpolation, ("bilinear", "nearest"))
        self.crop_to_aspect_ratio = check_bool(self.where, "crop_to_aspect_ratio", crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = check_bool(self.where, "pad_to_aspect_ratio", pad_to_aspect_ratio)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(message(self.where, "crop_to_aspect_ratio or pad_to_aspect_ratio", "both"))
        self.fill_mode = checked_choice(self.where, "fill_mode", fill_mode, ("constant",))
        self.fill_value = check_number(self.where, "fill_value", fill_value, "that is finite", lambda value: True)

    def transform(self, images: Any) -> Any:
        rows, columns = images.shape[1:3]
        if self.crop_to_aspect_ratio:
            images = middle(images, self.height, self.width)
        elif self.pad_to_aspect_ratio:
            down = (max(rows, columns * self.height // self.width) - rows) // 2
            right = (max(columns, rows * self.width // self.height) - columns) // 2
            images = ops.pad(images, ((0, 0), (down, down), (right, right), (0, 0)), value=self.fill_value)
        y = ops.resize(images, (self.height, self.width), self.interpolation)
        return y if y.dtype == images.dtype else ops.astype(ops.round(y), images.dtype)


class CenterCrop(ImageLayer):
    """The middle of images (n, height, width, channels), or of one; smaller images are cut to the same proportions and
    enlarged.

    Whole numbers become floats. Raises ShapeError for inputs with other axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.CenterCrop(1, 2)(tg.arange(4.0).reshape(1, 4, 1))[..., 0]
    tensor([[1., 2.]])
    """

    def __init__(self, height: int, width: int, **options: Any):
        super().__init__(**options)
        self.height = check_integer(self.where, "height", height, 1)
        self.width = check_integer(self.where, "width", width, 1)

    def transform(self, images: Any) -> Any:
        images = floating(images)
        down, right = images.shape[1] - self.height, images.shape[2] - self.width
        if min(down, right) < 0:
            return cover(images, self.height, self.width)
        return crop(images, down // 2, right // 2, self.height, self.width)


class RandomCrop(Augmentation):
    """In training, a random part of each image, of the size (height, width); else the largest part in the middle of
    these proportions, resized. So it is in training too for images that are smaller.

    (n, h, w, channels), or one image, becomes (n, height, width, channels), as floats. Raises ShapeError for inputs
    with other axes. `seed` is for the draws, in place of that of `tg.seed`.

    >>> import tinygrad_edu as tg
    >>> tg.layers.RandomCrop(2, 2)(tg.zeros((5, 8, 8, 3)), training=True).shape
    (5, 2, 2, 3)
    """

    def __init__(self, height: int, width: int, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.height = check_integer(self.where, "height", height, 1)
        self.width = check_integer(self.where, "width", width, 1)

    def transform(self, images: Any) -> Any:
        images = floating(images)
        if state.training and images.shape[1] >= self.height and images.shape[2] >= self.width:
            return self.augment(images)
        return cover(images, self.height, self.width)

    def augment(self, images: Any) -> Any:
        n, rows, columns, _ = images.shape
        device = device_of(images.data)
        top = ops.integers((n, 1, 1), 0, rows - self.height + 1, device, self.seed)
        left = ops.integers((n, 1, 1), 0, columns - self.width + 1, device, self.seed)
        down = ops.arange(self.height, device=device)[:, None]
        right = ops.arange(self.width, device=device)
        return images[ops.arange(n, device=device)[:, None, None], top + down, left + right]


MODES = ("horizontal", "horizontal_and_vertical", "vertical")


class RandomFlip(Augmentation):
    """In training, mirrors each image with probability 1/2; else passes all on.

    Args:
        mode: "horizontal" exchanges left and right, "vertical" top and bottom; "horizontal_and_vertical" does each with
            probability 1/2.
        seed: for the draws, in place of that of `tg.seed`.
        options: those of `Layer`.

    (n, height, width, channels) stays so; one image (height, width, channels) is possible too. Whole numbers become
    floats. Raises ShapeError for inputs with other axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.RandomFlip("horizontal")(tg.zeros((2, 4, 4, 1)), training=True).shape
    (2, 4, 4, 1)
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.mode = checked_choice(self.where, "mode", mode, MODES)

    def augment(self, images: Any) -> Any:
        for name, axis in (("horizontal", 2), ("vertical", 1)):
            if name in self.mode:
                images = ops.where(self.draw_factors(images, 0.0, 1.0) < 0.5, ops.flip(images, axis), images)
        return images


class RandomContrast(Augmentation):
    """In training, (x - mean) * factor + mean, with a random factor for each image and the mean of each of its
    channels, cut to `value_range`; else passes all on.

    Args:
        factor: the factor is uniform in [1 - factor, 1 + factor], or for a tuple (lower, upper) in [1 - lower,
            1 + upper]; of at most 1.
        value_range: the smallest and the largest value of a pixel.
        seed: for the draws, in place of that of `tg.seed`.
        options: those of `Layer`.

    Shapes and errors are those of `RandomFlip`.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.RandomContrast(0.0, value_range=(0.25, 1))
    >>> layer(tg.tensor([[[0.0], [1.0]]]), training=True)[..., 0]
    tensor([[0.25, 1.  ]])
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.factor, self.value_range = factor, value_range
        self._bounds()

    def _bounds(self) -> tuple[float, float, float, float]:
        factor = self.factor
        check_factor(self.where, "factor", factor, 0.0)
        lower, upper = factor if isinstance(factor, (list, tuple)) else (factor, factor)
        return 1.0 - lower, 1.0 + upper, *check_range(self.where, self.value_range)

    def augment(self, images: Any) -> Any:
        lower, upper, *values = self._bounds()
        mean = ops.mean(images, axis=(1, 2), keepdims=True)
        factor = self.draw_factors(images, lower, upper)
        return ops.clip((images - mean) * factor + mean, *values)


class RandomBrightness(Augmentation):
    """In training, adds a random number to each image and cuts it to `value_range`; else passes all on.

    Args:
        factor: the number is uniform in [-factor, factor], or between the two numbers of a tuple, as a share of the
            length of `value_range`; of at most 1.
        value_range: the smallest and the largest value of a pixel.
        seed: for the draws, in place of that of `tg.seed`.
        options: those of `Layer`.

    Shapes and errors are those of `RandomFlip`.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.RandomBrightness((0.25, 0.25), value_range=(0, 1))
    >>> layer(tg.tensor([[[0.0], [1.0]]]), training=True)[..., 0]
    tensor([[0.25, 1.  ]])
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.factor, self.value_range = factor, value_range
        self._bounds()

    def _bounds(self) -> tuple[float, float, float, float]:
        return *check_factor(self.where, "factor", self.factor, -1.0), *check_range(self.where, self.value_range)

    def augment(self, images: Any) -> Any:
        least, most, low, high = self._bounds()
        return ops.clip(images + self.draw_factors(images, least, most) * (high - low), low, high)
