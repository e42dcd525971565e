"""Activation functions as layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy

from .. import ops
from ..autograd import Tensor
from ..errors import ShapeError, check_integer, check_number, message
from . import activations
from .base import ActivatedLayer, Layer, mask_of
from .masks import as_broadcast_mask
from .normalization import check_axes
from .symbolic import Shape

MASKED = -1e9
"""The logit, as in Keras, of what is masked; in float16 it is the lowest number."""


class Activation(ActivatedLayer):
    """An activation function, by name or as a function, as a layer; the shape stays.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Activation("relu")(tg.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    supports_masking = True

    def __init__(self, activation: Any, **options: Any):
        super().__init__(**options)
        self.activation = activations.get(activation, self.where)

    def preactivation(self, x: Any) -> Any:
        return x


class ReLU(Layer):
    """x above `threshold`, at most `max_value`; below it negative_slope * (x - threshold).

    Raises ValueError for an argument below 0.

    >>> import tinygrad_edu as tg
    >>> tg.layers.ReLU(max_value=6.0, negative_slope=0.5)(tg.tensor([-2.0, 3.0, 8.0]))
    tensor([-1.,  3.,  6.])
    """

    supports_masking = True

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ):
        super().__init__(**options)
        self.max_value = None if max_value is None else self._positive("max_value", max_value)
        self.negative_slope = self._positive("negative_slope", negative_slope)
        self.threshold = self._positive("threshold", threshold)

    def _positive(self, name: str, value: float) -> float:
        return check_number(self.where, name, value, "of at least 0", lambda v: v >= 0)

    def call(self, x: Any) -> Any:
        above = ops.threshold(x, self.threshold, 0.0) if self.threshold else ops.relu(x)
        if self.max_value is not None:
            above = ops.minimum(above, self.max_value)
        return above - self.negative_slope * ops.relu(self.threshold - x) if self.negative_slope else above


class LeakyReLU(Layer):
    """x where it is positive, else negative_slope * x: Maas et al., "Rectifier nonlinearities improve neural network
    acoustic models" (2013).

    Raises ValueError for a slope below 0.

    >>> import tinygrad_edu as tg
    >>> tg.layers.LeakyReLU(0.5)(tg.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **options: Any):
        super().__init__(**options)
        self.negative_slope = check_number(
            self.where, "negative_slope", negative_slope, "of at least 0", lambda v: v >= 0
        )

    def call(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)


class PReLU(Layer):
    """x where it is positive, else alpha * x with learned slopes: He et al., "Delving deep into rectifiers" (2015).

    Args:
        shared_axes: axes of the input, from 1 on, along which all elements share a slope. For images (batch, height,
            width, channels) [1, 2] gives a slope to each channel.
        options: those of `Layer`; `alpha` has an initializer, a regularizer and a constraint.

    Parameters: alpha, of the shape of one input, with 1 for the shared axes. Raises ShapeError if the length of an axis
    that is not shared is not known, or differs from that at the first call.

    >>> import tinygrad_edu as tg
    >>> tg.layers.PReLU("ones")(tg.tensor([[-2.0, 3.0]])).detach()
    tensor([[-2.,  3.]])
    """

    initial: ClassVar = {"alpha": "Zeros"}
    supports_masking = True
    alpha: Tensor

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ):
        of_alpha = {"initializer": alpha_initializer, "regularizer": alpha_regularizer, "constraint": alpha_constraint}
        super().__init__(**{f"alpha_{what}": value for what, value in of_alpha.items()}, **options)
        given = shared_axes if shared_axes is None or isinstance(shared_axes, Iterable) else (shared_axes,)
        self.shared_axes = (
            None if given is None else [check_integer(self.where, "each of shared_axes", axis, 1) for axis in given]
        )

    def build(self, input_shape: Shape) -> None:
        shared = self.shared_axes or []
        if any(axis >= len(input_shape) for axis in shared):
            raise ShapeError(message(self.where, f"inputs that have the axes {shared}", f"shape {input_shape}"))
        shape = tuple(1 if axis in shared else n for axis, n in enumerate(input_shape[1:], 1))
        if None in shape:
            hint = "name the axes of unknown length in shared_axes."
            raise ShapeError(message(self.where, "known lengths", f"shape {input_shape}", hint))
        self.make("alpha", shape)  # type: ignore[arg-type]
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        shape = self.alpha.shape
        if x.ndim != len(shape) + 1 or any(n not in (1, m) for n, m in zip(shape, x.shape[1:], strict=True)):
            raise ShapeError(message(self.where, f"inputs that fit slopes of shape {shape}", f"shape {x.shape}"))
        return ops.prelu(x, self.alpha)


class ELU(Layer):
    """x where it is positive, else alpha * (exp(x) - 1): Clevert et al., "Fast and accurate deep network learning by
    exponential linear units" (2015).

    >>> import tinygrad_edu as tg
    >>> tg.layers.ELU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.63212055,  2.        ])
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **options: Any):
        super().__init__(**options)
        self.alpha = check_number(self.where, "alpha", alpha, "that is finite", lambda _: True)

    def call(self, x: Any) -> Any:
        return ops.elu(x, self.alpha)


class Softmax(ActivatedLayer):
    """exp(x) / sum(exp(x)) along an axis, or along several.

    A `mask` of booleans, given in the call or by the layer before, broadcasts to the input; where it is False, the
    output is 0, and the rest adds up to 1. Raises ShapeError for another mask, TypeError for one of floats.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Softmax()(tg.tensor([[0.0, 0.0, 5.0]]), mask=tg.tensor([[True, True, False]]))
    tensor([[0.5, 0.5, 0. ]])
    """

    supports_masking = True
    activation = staticmethod(ops.softmax)

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any):
        super().__init__(**options)
        self.axis = check_axes(self.where, axis)

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        return self.axis == -1

    def preactivation(self, x: Any, mask: Any = None) -> Any:
        mask = mask_of(x) if mask is None else mask
        masked = float(numpy.finfo("float16").min) if x.dtype == "float16" else MASKED
        return x if mask is None else ops.where(self.compute_mask(x, mask), x, masked)

    def call(self, x: Any, mask: Any = None) -> Any:
        x = self.preactivation(x, mask)
        axis = self.axis[0] if isinstance(self.axis, list) and len(self.axis) == 1 else self.axis
        if isinstance(axis, int):
            y = ops.softmax(x, axis)
        else:
            y = ops.exp(x - ops.logsumexp(x, tuple(axis), keepdims=True))
        return y if mask is None else ops.where(self.compute_mask(x, mask), y, 0.0)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return as_broadcast_mask(self.where, mask, x.shape)
