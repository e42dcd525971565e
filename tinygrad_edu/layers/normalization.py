"""Layers that normalize what they are given to mean 0 and variance 1, or to length 1."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, SupportsIndex

from .. import initializers, ops
from ..autograd import Tensor
from ..errors import ShapeError, check_bool, check_integer, check_integers, check_number, message
from ..ops.shape import normalize_axes
from ..state import state
from .base import Layer
from .masks import as_mask
from .symbolic import Shape

Axes = int | Sequence[int]
MASKED_EPSILON = 1e-7
"""Keras adds it to the number of elements that count, which may be 0."""


class _Normalization(Layer):
    """A layer with an axis or several, an epsilon, and `gamma` and `beta` of the lengths of the axes."""

    initial: ClassVar = {"beta": "zeros", "gamma": "ones"}
    gamma: Tensor | None = None
    beta: Tensor | None = None

    def __init__(self, axis: Axes, epsilon: float, center: bool, scale: bool, **options: Any):
        super().__init__(**options)
        self.axis: Any = check_axes(self.where, axis)
        self.epsilon = check_number(self.where, "epsilon", epsilon, "of at least 0", lambda v: v >= 0)
        self.center = check_bool(self.where, "center", center)
        self.scale = check_bool(self.where, "scale", scale)

    def build(self, input_shape: Shape) -> None:
        shape = _lengths(self.where, self.axis, input_shape)
        if self.scale:
            self.make("gamma", shape)
        if self.center:
            self.make("beta", shape)
        super().build(input_shape)

    def factors(self, x: Any) -> tuple[Any, Any]:
        """gamma and beta, or ones and zeros in their place."""
        shape = tuple(x.shape[i] for i in sorted(normalize_axes(self.where, self.axis, x)))
        gamma = ops.ones(shape, x.dtype, x.device) if self.gamma is None else self.gamma
        return gamma, ops.zeros(shape, x.dtype, x.device) if self.beta is None else self.beta


def check_axes(where: str, axis: Any) -> int | list[int]:
    """An axis, or several as a list."""
    wanted = "axis to be an integer or a list of integers"
    if isinstance(axis, SupportsIndex) and not isinstance(axis, (bool, Iterable)):
        return operator.index(axis)
    found = check_integers(where, wanted, axis)
    if not found:
        raise TypeError(message(where, wanted, repr(axis)))
    return list(found)


def _lengths(where: str, axis: Axes, shape: Shape) -> tuple[int, ...]:
    """The lengths of the axes, in their order. Raises ShapeError if one is not known."""
    lengths = tuple(shape[i] for i in sorted(normalize_axes(where, axis, len(shape))))
    if None in lengths:
        raise ShapeError(message(where, f"a known length of axis {axis}", f"shape {shape}"))
    return lengths  # type: ignore[return-value]


class BatchNormalization(_Normalization):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta for each channel, with the mean and variance of the batch in
    training, and averages of those of past batches else.

    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift"
    (2015). In training moving = momentum * moving + (1 - momentum) * batch, for the mean and for the variance, which
    divides by n. With `trainable=False` the layer never uses nor follows the batch.

    Args:
        axis: that of the channels; all others are averaged over.
        momentum: how much of the moving averages stays at each step.
        epsilon: what is added to the variance.
        center, scale: whether there are `beta` and `gamma`.
        options: those of `Layer`; `beta` and `gamma` have an initializer, a regularizer and a constraint.

    A mask (batch, steps), from the layer before, leaves time steps out of the averages. Parameters: gamma, beta, and
    the buffers moving_mean, moving_variance, all (channels,). A batch in training of one value for each channel, as the
    last one of an epoch may be, has the variance 0, and gives `beta`.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.BatchNormalization(momentum=0.9)
    >>> layer(tg.tensor([[1.0], [3.0]]), training=True).detach().ravel()
    tensor([-0.9995004,  0.9995004])
    >>> layer.moving_mean, layer.moving_variance
    (tensor([0.2]), tensor([1.]))
    """

    supports_masking = True
    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        *,
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **options: Any,
    ):
        super().__init__(axis, epsilon, center, scale, **options)
        if not isinstance(self.axis, int):
            raise TypeError(message(self.where, "axis to be an integer", repr(axis)))
        self.momentum = check_number(self.where, "momentum", momentum, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer, self.where)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer, self.where)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        shape = _lengths(self.where, self.axis, input_shape)
        self.moving_mean = self.add_weight(shape, self.moving_mean_initializer, trainable=False)
        self.moving_variance = self.add_weight(shape, self.moving_variance_initializer, trainable=False)

    def call(self, x: Any, mask: Any = None) -> Any:
        mask = self.compute_mask(x, mask)
        gamma, beta = self.factors(x)
        if not (state.training and self.trainable):
            mean, variance = self.moving_mean, self.moving_variance
            return ops.batch_norm_inference(x, gamma, beta, mean, variance, self.axis, self.epsilon)
        if mask is None and x.size != gamma.size:
            y, mean, variance = ops.batch_norm(x, gamma, beta, self.axis, self.epsilon)
        else:
            mean, variance = (x.ravel(), x.ravel() * 0.0) if mask is None else self._moments(x, mask)
            y = ops.batch_norm_inference(x, gamma, beta, mean, variance, self.axis, self.epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)) * (not state.repeating):
            moving.assign_(moving * self.momentum + value.detach() * (1.0 - self.momentum))
        return y

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return as_mask(self.where, mask, x.shape[:-1])

    def _moments(self, x: Any, mask: Any) -> tuple[Any, Any]:
        """The mean and variance of what the mask lets count."""
        (axis,) = normalize_axes(self.where, self.axis, x)
        axes = tuple(i for i in range(x.ndim) if i != axis)
        counts = ops.broadcast_to(ops.expand_dims(mask, -1), x.shape)
        n = counts.astype(x.dtype).sum(axis=axes, keepdims=True) + MASKED_EPSILON
        mean = ops.where(counts, x, 0.0).sum(axis=axes, keepdims=True) / n
        variance = ops.square(ops.where(counts, x - mean, 0.0)).sum(axis=axes, keepdims=True) / n
        return mean.ravel(), variance.ravel()


class LayerNormalization(_Normalization):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with the mean and variance of each sample over an axis, or
    over several.

    Ba et al., "Layer normalization" (2016).

    Args:
        axis: what is averaged over; the others count as samples.
        epsilon: what is added to the variance.
        center, scale: whether there are `beta` and `gamma`.
        options: those of `Layer`; `beta` and `gamma` have an initializer, a regularizer and a constraint.

    Parameters: gamma, beta, both of the shape of the input along the axes, in their order.

    >>> import tinygrad_edu as tg
    >>> tg.layers.LayerNormalization(epsilon=0.0)(tg.tensor([[1.0, 3.0], [2.0, 2.5]])).detach()
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """

    supports_masking = True

    def __init__(self, axis: Axes = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **options: Any):
        super().__init__(axis, epsilon, center, scale, **options)

    def call(self, x: Any) -> Any:
        return ops.layer_norm(x, *self.factors(x), self.axis, self.epsilon)


class GroupNormalization(_Normalization):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with the mean and variance of each sample over a group of
    neighbouring channels and all positions.

    Wu and He, "Group normalization" (2018).

    Args:
        groups: how many; it must divide the number of channels. -1 makes each channel a group (instance
            normalization).
        axis: that of the channels.
        epsilon: what is added to the variance.
        center, scale: whether there are `beta` and `gamma`.
        options: those of `Layer`; `beta` and `gamma` have an initializer, a regularizer and a constraint.

    Parameters: gamma, beta, both (channels,). Raises ShapeError if the groups do not divide the channels.

    >>> import tinygrad_edu as tg
    >>> tg.layers.GroupNormalization(2, epsilon=0.0)(tg.tensor([[1.0, 3.0, 0.0, 4.0]])).detach()
    tensor([[-1.,  1., -1.,  1.]])
    """

    supports_masking = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **options: Any,
    ):
        super().__init__(axis, epsilon, center, scale, **options)
        if not isinstance(self.axis, int):
            raise TypeError(message(self.where, "axis to be an integer", repr(axis)))
        self.groups = groups if groups == -1 else check_integer(self.where, "groups", groups, 1)

    def build(self, input_shape: Shape) -> None:
        (channels,) = _lengths(self.where, self.axis, input_shape)
        if channels % self.groups:
            expected = f"a number of channels that {self.groups} groups divide"
            hint = "give it other groups; -1 makes each channel one."
            raise ShapeError(message(self.where, expected, f"shape {input_shape}", hint))
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        (axis,) = normalize_axes(self.where, self.axis, x)
        groups = x.shape[axis] if self.groups == -1 else self.groups
        y = ops.group_norm(ops.moveaxis(x, axis, -1), *self.factors(x), groups, self.epsilon)
        return ops.moveaxis(y, -1, axis)


class RMSNormalization(Layer):
    """x / sqrt(mean(x ** 2) + epsilon) * scale, with the mean of each sample over an axis, or over several.

    Zhang and Sennrich, "Root mean square layer normalization" (2019). Parameters: scale, ones at first, of the shape of
    the input along the axes, in their order.

    >>> import tinygrad_edu as tg
    >>> tg.layers.RMSNormalization()(tg.tensor([[1.0, 7.0]])).detach()
    tensor([[0.2, 1.4]])
    """

    scale: Tensor

    def __init__(self, axis: Axes = -1, epsilon: float = 1e-6, **options: Any):
        super().__init__(**options)
        self.axis = check_axes(self.where, axis)
        self.epsilon = check_number(self.where, "epsilon", epsilon, "of at least 0", lambda v: v >= 0)

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight(_lengths(self.where, self.axis, input_shape), "ones")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        return ops.rms_norm(x, self.scale, self.axis, self.epsilon)


class UnitNormalization(Layer):
    """x divided by its length, sqrt(sum(x ** 2)), over an axis, or over several; 0 stays 0.

    >>> import tinygrad_edu as tg
    >>> tg.layers.UnitNormalization()(tg.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """

    supports_masking = True

    def __init__(self, axis: Axes = -1, **options: Any):
        super().__init__(**options)
        self.axis = check_axes(self.where, axis)

    def call(self, x: Any) -> Any:
        return unit(x, self.axis, 1e-12)


def unit(x: Any, axis: Axes, shortest: float) -> Any:
    """`x` divided by its length along the axes, or by `shortest` if it is shorter."""
    squared = ops.square(x).sum(axis=axis, keepdims=True)
    return x / ops.sqrt(ops.maximum(squared, shortest**2))
