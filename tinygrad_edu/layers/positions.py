"""Positions in a sequence: encodings by sines, by parameters, and by rotation."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy

from .. import initializers, ops
from ..autograd import Tensor
from ..backend import Device, to_device
from ..errors import ShapeError, check_integer, check_number, message
from .base import Layer
from .preprocessing.numbers import floating


@functools.lru_cache(maxsize=32)
def _waves(
    length: int, waves: int, features: int, wavelength: float, scaling: float, start: int, dtype: Any, device: Device
) -> tuple[Any, Any]:
    """sin and cos of position / scaling / wavelength^(2i / features), each (length, waves), for position start and on.

    In float64 before they are rounded, for the angles of late positions are large.
    """
    rates = wavelength ** (-2.0 * numpy.arange(waves) / features)
    angles = numpy.arange(start, start + length)[:, None] / scaling * rates
    return tuple(to_device(f(angles).astype(dtype), device) for f in (numpy.sin, numpy.cos))


def _check_sequence(where: str, shape: tuple[int | None, ...]) -> None:
    if len(shape) < 2 or shape[-1] is None:
        raise ShapeError(message(where, "inputs of shape (batch, ..., time, features)", f"shape {shape}"))


class SinusoidalPositionEncoding(Layer):
    """Encodings of positions, to be added to the inputs: at position p, feature 2i is sin(p / max_wavelength^(2i / n))
    and feature 2i + 1 the cosine of the same, for n features (Vaswani et al., "Attention is all you need", 2017).

    (batch, time, features) becomes encodings of the same shape and dtype, for integers the default dtype; the values of
    the inputs do not matter.
    `layer(x, start_index=k)` begins at position k, for decoding step by step. As KerasHub's SinePositionEncoding.

    >>> import tinygrad_edu as tg
    >>> tg.layers.SinusoidalPositionEncoding()(tg.zeros((1, 2, 2)))
    tensor([[[0.        , 1.        ],
             [0.84147096, 0.5403023 ]]])
    """

    supports_masking = True

    def __init__(self, max_wavelength: float = 10000, **options: Any):
        super().__init__(**options)
        self.max_wavelength = check_number(self.where, "max_wavelength", max_wavelength, "above 0", lambda v: v > 0)

    def call(self, x: Any, start_index: int = 0) -> Any:
        _check_sequence(self.where, x.shape)
        start = check_integer(self.where, "start_index", start_index, 0)
        x = floating(x)
        length, features = x.shape[-2:]
        waves = (features + 1) // 2
        pair = _waves(length, waves, features, self.max_wavelength, 1.0, start, x.dtype, x.device)
        table = ops.reshape(ops.stack([Tensor(a) for a in pair], axis=-1), (length, 2 * waves))
        return ops.broadcast_to(table[:, :features], x.shape)


class PositionEmbedding(Layer):
    """Learned encodings of positions, to be added to the inputs: row p of a parameter for position p.

    (batch, time, features) becomes encodings of the same shape; the values of the inputs do not matter.
    `layer(x, start_index=k)` begins at position k, for decoding step by step. As KerasHub's layer of this name.

    Args:
        sequence_length: how many positions there are.
        initializer: of the parameter `position_embeddings` (sequence_length, features).

    Raises ShapeError for a longer sequence.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.PositionEmbedding(sequence_length=10)
    >>> layer(tg.zeros((8, 4, 3))).shape, layer.position_embeddings.shape
    ((8, 4, 3), (10, 3))
    """

    supports_masking = True
    initial: ClassVar = {}
    position_embeddings: Tensor

    def __init__(self, sequence_length: int, initializer: Any = "glorot_uniform", **options: Any):
        super().__init__(**options)
        self.sequence_length = check_integer(self.where, "sequence_length", sequence_length, 1)
        self.initializer = initializers.get(initializer, self.where)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _check_sequence(self.where, input_shape)
        features: Any = input_shape[-1]
        self.position_embeddings = self.add_weight((self.sequence_length, features), self.initializer)
        super().build(input_shape)

    def call(self, x: Any, start_index: int = 0) -> Any:
        _check_sequence(self.where, x.shape)
        start = check_integer(self.where, "start_index", start_index, 0)
        positions, features = self.position_embeddings.shape
        if x.shape[-1] != features or start + x.shape[-2] > positions:
            expected = f"at most {positions - start} time steps of {features} features"
            raise ShapeError(message(self.where, expected, f"shape {x.shape}"))
        return ops.broadcast_to(self.position_embeddings[start : start + x.shape[-2]], x.shape)


class RotaryEmbedding(Layer):
    """Queries or keys, turned by an angle that grows with their position, so that their products depend on the distance
    of positions only (Su et al., "RoFormer", 2021).

    Features i and i + n / 2 of n are the coordinates that are turned, at position p by p / scaling_factor /
    max_wavelength^(2i / n). The shape stays; integers become floats. `layer(x, start_index=k)` begins at
    position k, for decoding step by step. As KerasHub's layer of this name.

    Args:
        max_wavelength: see above.
        scaling_factor: stretches positions, so that a trained model takes longer sequences.
        sequence_axis: the axis of time.
        feature_axis: the axis of features, of even length.

    >>> import tinygrad_edu as tg
    >>> tg.layers.RotaryEmbedding()(tg.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    tensor([[[1.        , 0.        ],
             [0.5403023 , 0.84147096]]])
    """

    supports_masking = True

    def __init__(
        self,
        max_wavelength: float = 10000,
        scaling_factor: float = 1.0,
        sequence_axis: int = 1,
        feature_axis: int = -1,
        **options: Any,
    ):
        super().__init__(**options)
        self.max_wavelength = check_number(self.where, "max_wavelength", max_wavelength, "above 0", lambda v: v > 0)
        self.scaling_factor = check_number(self.where, "scaling_factor", scaling_factor, "above 0", lambda v: v > 0)
        self.sequence_axis = check_integer(self.where, "sequence_axis", sequence_axis, -99)
        self.feature_axis = check_integer(self.where, "feature_axis", feature_axis, -99)

    def call(self, x: Any, start_index: int = 0) -> Any:
        start = check_integer(self.where, "start_index", start_index, 0)
        fits = all(-x.ndim <= axis < x.ndim for axis in (self.sequence_axis, self.feature_axis))
        time, features = (axis % max(x.ndim, 1) for axis in (self.sequence_axis, self.feature_axis))
        if not fits or time == features or x.shape[features] % 2:
            expected = f"time on axis {self.sequence_axis}, an even number of features on axis {self.feature_axis}"
            raise ShapeError(message(self.where, expected, f"shape {x.shape}"))
        x = floating(x)
        length, half = x.shape[time], x.shape[features] // 2
        waves = _waves(length, half, 2 * half, self.max_wavelength, self.scaling_factor, start, x.dtype, x.device)
        shape = tuple({time: length, features: half}.get(axis, 1) for axis in range(x.ndim))
        sin, cos = (ops.reshape(Tensor(a) if time < features else ops.transpose(Tensor(a)), shape) for a in waves)
        first, second = ops.split(x, 2, axis=features)
        return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=features)
