"""Layers that act in training only: they leave out or disturb what they are given, against overfitting.

With a `seed` a layer's draws depend on it instead of on that of `tg.seed`, and on how many numbers were drawn before,
by this layer and by all others, since `tg.seed` was called: so they differ from call to call, and layers with the same
seed do not draw the same numbers. After `tg.seed`, with any number, a program draws as it did before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..errors import check_integer, check_number
from ..ops.activations import SELU_ALPHA, SELU_SCALE
from ..ops.creation import normal_like
from ..ops.networks import keep_factors
from ..ops.windows import check_image
from ..state import state
from .base import Layer

Shape = Sequence[int | None]


class _Noise(Layer):
    """The base class of layers with random numbers: a subclass defines `disturbed(x)`, the output in training."""

    supports_masking = True

    def __init__(self, seed: int | None = None, **options: Any):
        super().__init__(**options)
        self.seed = None if seed is None else check_integer(self.where, "seed", seed, 0)

    def call(self, x: Any) -> Any:
        return self.disturbed(x) if state.training else x

    def disturbed(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no disturbed(x)")

    def _probability(self, rate: float) -> float:
        return check_number(self.where, "rate", rate, "in [0, 1)", lambda rate: 0 <= rate < 1)


class Dropout(_Noise):
    """In training, sets each element to 0 with probability `rate` and divides the others by 1 - rate; else passes all
    on. A rate of 1 gives zeros.

    `noise_shape`, with the batch axis, has 1 for axes along which all elements share their fate.
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014). Raises ValueError for
    a rate outside [0, 1].

    >>> import tinygrad_edu as tg
    >>> tg.layers.Dropout(0.5)(tg.ones((2,)), training=False)
    tensor([1., 1.])
    """

    def __init__(self, rate: float, noise_shape: Shape | None = None, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.rate = check_number(self.where, "rate", rate, "in [0, 1]", lambda rate: 0 <= rate <= 1)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def disturbed(self, x: Any) -> Any:
        if self.rate == 1.0:
            return x * 0.0
        return ops.dropout(x, self.rate, self.noise_shape, self.seed)


class _SpatialDropout(_Noise):
    """Dropout of whole channels, in inputs of `ndim` axes."""

    ndim: ClassVar[int]

    def __init__(self, rate: float, *, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.rate = self._probability(rate)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, self.ndim - 2)
        return super().call(x)

    def disturbed(self, x: Any) -> Any:
        return ops.dropout(x, self.rate, (None, *[1] * (x.ndim - 2), None), self.seed)


class SpatialDropout1D(_SpatialDropout):
    """In training, sets whole channels of sequences (batch, steps, channels) to 0 with probability `rate` and divides
    the others by 1 - rate: neighbouring steps are alike, so that to leave out single ones would change little.

    Tompson et al., "Efficient object localization using convolutional networks" (2014). Raises ValueError for a rate
    outside [0, 1), ShapeError for inputs of other than three axes.

    >>> import tinygrad_edu as tg
    >>> y = tg.layers.SpatialDropout1D(0.5)(tg.ones((4, 9, 3)), training=True)
    >>> bool((y.max(axis=1) == y.min(axis=1)).all())
    True
    """

    ndim = 3


class SpatialDropout2D(_SpatialDropout):
    """As `SpatialDropout1D`, for images (batch, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.SpatialDropout2D(0.5)(tg.ones((1, 4, 4, 3)), training=True).shape
    (1, 4, 4, 3)
    """

    ndim = 4


class SpatialDropout3D(_SpatialDropout):
    """As `SpatialDropout1D`, for volumes (batch, depth, height, width, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.SpatialDropout3D(0.5)(tg.ones((1, 2, 4, 4, 3)), training=True).shape
    (1, 2, 4, 4, 3)
    """

    ndim = 5


class GaussianNoise(_Noise):
    """In training, adds normal numbers with mean 0 and standard deviation `stddev`; else passes all on.

    Raises ValueError for a stddev below 0.

    >>> import tinygrad_edu as tg
    >>> tg.layers.GaussianNoise(0.1)(tg.ones((2,)), training=False)
    tensor([1., 1.])
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.stddev = check_number(self.where, "stddev", stddev, "of at least 0", lambda v: v >= 0)

    def disturbed(self, x: Any) -> Any:
        return x + normal_like(x, 0.0, self.stddev, self.seed) if self.stddev else x


class GaussianDropout(_Noise):
    """In training, multiplies each element by a normal number with mean 1 and variance rate / (1 - rate), as the
    factors of `Dropout` have; else passes all on.

    Srivastava et al., "Dropout" (2014), section 10. Raises ValueError for a rate outside [0, 1).

    >>> import tinygrad_edu as tg
    >>> tg.layers.GaussianDropout(0.5)(tg.ones((2,)), training=False)
    tensor([1., 1.])
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.rate = self._probability(rate)

    def disturbed(self, x: Any) -> Any:
        return x * normal_like(x, 1.0, math.sqrt(self.rate / (1.0 - self.rate)), self.seed) if self.rate else x


class AlphaDropout(_Noise):
    """In training, sets each element with probability `rate` to the value that `selu` takes far below 0, then scales
    and shifts all, so that numbers of mean 0 and variance 1 keep both; else passes all on.

    `noise_shape`, with the batch axis, has 1 for axes along which all elements share their fate.
    Klambauer et al., "Self-normalizing neural networks" (2017). Raises ValueError for a rate outside [0, 1).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AlphaDropout(0.5)(tg.ones((2,)), training=False)
    tensor([1., 1.])
    """

    def __init__(self, rate: float, noise_shape: Shape | None = None, seed: int | None = None, **options: Any):
        super().__init__(seed, **options)
        self.rate = self._probability(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def disturbed(self, x: Any) -> Any:
        if not self.rate:
            return x
        low, kept = -SELU_ALPHA * SELU_SCALE, 1.0 - self.rate
        keep = ops.greater(keep_factors(self.where, x, self.rate, self.noise_shape, self.seed), 0)
        scale = (kept * (1.0 + self.rate * low**2)) ** -0.5
        return scale * ops.where(keep, x, low) - scale * low * self.rate
