"""Layer and batch normalization, each one primitive whose rule reuses the statistics of the forward pass.

With h = (x - mean) / std, n elements per statistic and q = g * weight, the gradient of the input is
(q - mean(q) - h * mean(q * h)) / std (Ioffe and Szegedy, 2015; Ba et al., 2016).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from ..autograd import broadcast_to, primitive
from ..backend import Array
from ..errors import ShapeError, message
from .elementwise import sqrt
from .reductions import _mean, _sum, _var, count
from .shape import _reshape, check_arrays, normalize_axes, normalize_axis


def _normalize(xp: Any, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array, Array]:
    """(x - mean) / std, the mean, the variance, and 1 / std, over axes that are kept."""
    average = x.mean(axis=axes, keepdims=True)
    y = x - average
    variance = xp.square(y).mean(axis=axes, keepdims=True)
    inverse = 1.0 / xp.sqrt(variance + epsilon)
    y *= inverse
    return y, average, variance, inverse


def _statistics(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any]:
    """The mean and 1 / std as differentiable functions of `x`."""
    return _mean(x, axes=axes, keepdims=True), 1.0 / sqrt(_var(x, axes=axes, keepdims=True, ddof=0) + epsilon)


def _input_gradient(q: Any, h: Any, inverse: Any, axes: tuple[int, ...]) -> Any:
    shared = _mean(q, axes=axes, keepdims=True) + h * _mean(q * h, axes=axes, keepdims=True)
    return inverse * (q - shared)


@primitive(
    "composite", saves=("x", "weight"), residuals=True, expects="weight and bias shaped like the normalized axes"
)
def _layer_norm(xp: Any, x: Array, weight: Array, bias: Array, *, axes: tuple[int, ...], epsilon: float) -> Any:
    y, average, _, inverse = _normalize(xp, x, axes, epsilon)
    y *= weight
    y += bias
    return y, (average, inverse)


def _layer_norm_rule(
    needs: Any, residuals: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any, *, axes: tuple[int, ...], epsilon: float
) -> list[Any]:
    average, inverse = residuals or _statistics(x, axes, epsilon)
    h = (x - average) * inverse
    rows = tuple(i for i in range(x.ndim) if i not in axes)
    return [
        _input_gradient(g * weight, h, inverse, axes) if needs[0] else None,
        _sum(g * h, axes=rows, keepdims=False) if needs[1] else None,
        _sum(g, axes=rows, keepdims=False) if needs[2] else None,
    ]


_layer_norm.defjoint(_layer_norm_rule)


def layer_norm(x: Any, weight: Any, bias: Any, axis: int | Sequence[int] = -1, epsilon: float = 1e-5) -> Any:
    """`x` with mean 0 and variance 1 over the last axes, times `weight`, plus `bias` (both shaped like those axes).

    Raises ShapeError if `axis` does not name the last axes or the shapes do not fit. Ba et al., "Layer
    normalization", 2016.

    >>> import tinygrad_edu as tg
    >>> tg.layer_norm(tg.tensor([[1.0, 3.0]]), tg.ones((2,)), tg.zeros((2,)))
    tensor([[-0.999995,  0.999995]])
    """
    check_arrays("layer_norm", x, weight, bias)
    axes = tuple(sorted(normalize_axes("layer_norm", axis, x)))
    if axes != tuple(range(x.ndim - len(axes), x.ndim)):
        raise ShapeError(message("layer_norm", "the last axes", f"{axis}", "use moveaxis first."))
    shape = x.shape[x.ndim - len(axes) :]
    if weight.shape != shape or bias.shape != shape:
        raise ShapeError(message("layer_norm", f"weight and bias of shape {shape}", f"{weight.shape} and {bias.shape}"))
    return _layer_norm(x, weight, bias, axes=axes, epsilon=epsilon)


@primitive("composite", saves=("x", "weight"), residuals=True)
def _batch_norm(xp: Any, x: Array, weight: Array, bias: Array, *, axis: int, epsilon: float) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != axis)
    shape = _along(x, axis)
    y, average, variance, inverse = _normalize(xp, x, axes, epsilon)
    y *= weight.reshape(shape)
    y += bias.reshape(shape)
    return (y, average.reshape(-1), variance.reshape(-1)), (average, inverse)


def _along(x: Any, axis: int) -> tuple[int, ...]:
    return tuple(n if i == axis else 1 for i, n in enumerate(x.shape))


def _batch_norm_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any, *, axis: int, epsilon: float
) -> list[Any]:
    g, g_average, g_variance = g
    axes, shape = tuple(i for i in range(x.ndim) if i != axis), _along(x, axis)
    average, inverse = residuals or _statistics(x, axes, epsilon)
    centred = x - average
    h = centred * inverse
    terms = []
    if g is not None:
        terms.append(_input_gradient(g * _reshape(weight, shape=shape), h, inverse, axes))
    if g_average is not None:
        terms.append(broadcast_to(_reshape(g_average, shape=shape) * (1.0 / count(x.shape, axes)), shape=x.shape))
    if g_variance is not None:
        terms.append(_reshape(g_variance, shape=shape) * (2.0 / count(x.shape, axes)) * centred)
    return [
        functools.reduce(operator.add, terms) if needs[0] else None,
        _sum(g * h, axes=axes, keepdims=False) if needs[1] and g is not None else None,
        _sum(g, axes=axes, keepdims=False) if needs[2] and g is not None else None,
    ]


_batch_norm.defjoint(_batch_norm_rule)


def _check_channels(where: str, x: Any, axis: int, parts: Sequence[Any]) -> int:
    check_arrays(where, x, *parts)
    axis = normalize_axis(where, axis, x)
    if any(part.shape != (x.shape[axis],) for part in parts):
        expected = f"parameters of shape {(x.shape[axis],)}, the length of axis {axis} of {x.shape}"
        raise ShapeError(message(where, expected, ", ".join(str(part.shape) for part in parts)))
    return axis


def batch_norm(x: Any, weight: Any, bias: Any, axis: int = -1, epsilon: float = 1e-3) -> tuple[Any, Any, Any]:
    """Normalization of each channel (along `axis`) by the batch's own mean and variance, times `weight`, plus `bias`.

    Returns `(y, mean, variance)`; the statistics, of shape (channels,), are differentiable too. The variance divides
    by n.
    Raises ShapeError if the shapes do not fit or a channel has only one value. Ioffe and Szegedy, "Batch
    normalization", 2015.

    >>> import tinygrad_edu as tg
    >>> tg.batch_norm(tg.tensor([[1.0], [3.0]]), tg.ones((1,)), tg.zeros((1,)))[1:]
    (tensor([2.]), tensor([1.]))
    """
    axis = _check_channels("batch_norm", x, axis, (weight, bias))
    if count(x.shape, tuple(i for i in range(x.ndim) if i != axis)) < 2:
        hint = "use a larger batch, or batch_norm_inference with running statistics."
        raise ShapeError(message("batch_norm", "more than one value per channel", f"shape {x.shape}", hint))
    return _batch_norm(x, weight, bias, axis=axis, epsilon=epsilon)


def batch_norm_inference(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """Normalization of each channel by a given mean and variance, times `weight`, plus `bias` (all of shape
    (channels,))."""
    axis = _check_channels("batch_norm_inference", x, axis, (weight, bias, mean, variance))
    scale = weight / sqrt(variance + epsilon)
    shape = _along(x, axis)
    return x * _reshape(scale, shape=shape) + _reshape(bias - mean * scale, shape=shape)
