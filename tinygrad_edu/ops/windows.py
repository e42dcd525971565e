"""How windows lie on images of one, two or three spatial axes: what convolution and pooling make of their arguments."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from ..autograd import HostNumber
from ..errors import ShapeError, message
from .shape import rank

Sizes = tuple[int, ...]
Borders = tuple[tuple[int, int], ...]
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def places(
    window: Sizes, output: Sizes, strides: Sizes, dilation: Sizes = (1, 1, 1)
) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
    """Each position in the window, with the part of the padded image that it meets."""
    for position in itertools.product(*map(range, window)):
        steps = zip(position, output, strides, dilation, strict=False)
        yield position, (slice(None), *(slice(i * d, i * d + s * (n - 1) + 1, s) for i, n, s, d in steps))


def numbers(where: str, name: str, value: int | Sequence[int], count: int, least: int = 1) -> Sizes:
    """One number for all axes or one for each, as a tuple."""
    found = tuple(value) if isinstance(value, Sequence) else (value,) * count
    whole = [not isinstance(n, bool) and isinstance(n, (int, numpy.integer, HostNumber)) for n in found]
    if len(found) != count or not all(whole) or min(map(operator.index, found)) < least:
        raise ValueError(message(where, f"{name} to be an integer of at least {least} or {count} of them", f"{value}"))
    return tuple(map(operator.index, found))


def inner(size: Sizes, padding: Borders) -> tuple[slice, ...]:
    """Where the image lies in the padded one of those lengths."""
    return slice(None), *(slice(before, n - after) for n, (before, after) in zip(size, padding, strict=True))


def halves(total: int) -> tuple[int, int]:
    """(before, after), the odd one after, as in Keras."""
    return max(0, total) // 2, max(0, total) - max(0, total) // 2


def reaches(window: Sizes, dilation: Sizes) -> Sizes:
    """How far a dilated window extends."""
    return tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))


def resolve_padding(where: str, padding: Any, size: Sizes, reach: Sizes, strides: Sizes) -> Borders:
    """(before, after) for each axis: 'valid', 'same' as in Keras, a number, or numbers and such pairs."""
    if isinstance(padding, str) and padding == "valid":
        return ((0, 0),) * len(size)
    if isinstance(padding, str) and padding == "same":
        return tuple(halves((-(-n // s) - 1) * s + r - n) for n, r, s in zip(size, reach, strides, strict=True))
    both_sides = tuple(padding) if isinstance(padding, Sequence) else (padding,) * len(size)
    if isinstance(padding, str) or len(both_sides) != len(size):
        raise ValueError(message(where, "padding 'valid', 'same', numbers or pairs", repr(padding)))
    return tuple((a, b) for a, b in (numbers(where, "padding", p, 2, 0) for p in both_sides))


def output_size(where: str, size: Sizes, reach: Sizes, strides: Sizes, padding: Borders) -> Sizes:
    """The spatial lengths of the result. Raises ShapeError where the window is larger than the padded image."""
    padded = tuple(before + n + after for n, (before, after) in zip(size, padding, strict=True))
    if any(n < r for n, r in zip(padded, reach, strict=True)):
        raise ShapeError(message(where, f"a padded image of at least {reach}", f"{padded}", "use padding='same'."))
    return tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, strides, strict=True))


def check_image(where: str, x: Any, axes: int) -> None:
    """Raises ShapeError unless `x` is a batch of images with that many axes."""
    rank(where, x)
    check_image_shape(where, x.shape, axes)


def check_image_shape(where: str, shape: tuple[int | None, ...], axes: int) -> None:
    """`check_image` for a shape, in which lengths may be unknown (None)."""
    if len(shape) != axes + 2:
        hint = "add a channel axis, x[..., None], or to one image a batch axis, x[None]."
        hint = hint if len(shape) == axes + 1 else ""
        raise ShapeError(message(where, f"a batch (n, {AXES[axes]}, channels)", f"shape {shape}", hint))
    if 0 in shape[1:-1]:
        raise ShapeError(message(where, "an image that is not empty", f"shape {shape}"))
