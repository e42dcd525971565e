"""Layer, RMS, group and batch normalization, by primitives whose rules reuse the statistics of the forward pass.

With h = (x - mean) / std, n elements per statistic and q = g * weight, the gradient of the input is
(q - mean(q) - h * mean(q * h)) / std (Ioffe and Szegedy, 2015; Ba et al., 2016).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import broadcast_to, cast, primitive, sum_to
from ..backend import Array
from ..errors import ShapeError, check_integer, check_number, message
from ..kernels import normalized
from ..kernels.registry import compiled
from .elementwise import into, sqrt, square
from .reductions import _mean, _sum, _var, count
from .shape import _reshape, check_arrays, normalize_axes


def _normalize(xp: Any, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array, Array]:
    """(x - mean) / std, the mean, the variance, and 1 / std, over axes that are kept."""
    average = _mean.forward(xp, x, axes=axes, keepdims=True)
    y = x - average
    variance = _mean.forward(xp, xp.square(y), axes=axes, keepdims=True)
    inverse = 1.0 / xp.sqrt(variance + epsilon)
    y *= inverse
    return y, average, variance, inverse


def _in_float32(norm: Callable[..., Any], x: Any, *parts: Any, **attributes: Any) -> Any:
    """`norm` of these arrays, for float16 computed in float32: its squares would overflow."""
    if x.dtype != "float16":
        return norm(x, *parts, **attributes)
    y = norm(*(cast(a, "float32") for a in (x, *parts)), **attributes)
    return tuple(cast(a, x.dtype) for a in y) if isinstance(y, tuple) else cast(y, x.dtype)


def _statistics(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any]:
    """The mean and 1 / std as differentiable functions of `x`."""
    return _mean(x, axes=axes, keepdims=True), 1.0 / sqrt(_var(x, axes=axes, keepdims=True, ddof=0) + epsilon)


def _input_gradient(q: Any, h: Any, inverse: Any, axes: tuple[int, ...]) -> Any:
    shared = _mean(q, axes=axes, keepdims=True) + h * _mean(q * h, axes=axes, keepdims=True)
    return inverse * (q - shared)


@primitive("elementwise", expression="g * (x - average)", differentiable=False)
def _times_centred(xp: Any, g: Array, x: Array, average: Array, out: Any = None) -> Array:
    """As one step, which starts loops of its own: no array is kept that others need, too."""
    y = x - average
    y *= g
    return into(out, y)


def _along(x: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of `x` with length 1 along all other axes."""
    return tuple(n if i in axes else 1 for i, n in enumerate(x.shape))


# Weight and bias broadcast to x: one value for each normalized position, for each channel, or whatever is wanted


@primitive("composite", saves=("x", "weight"), residuals=True)
@compiled("normalization.of_rows", lambda y, average, inverse: (y, (average, inverse)))
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
    product = _times_centred(g * inverse, x, average) if residuals else g * h
    return [
        _input_gradient(g * weight, h, inverse, axes) if needs[0] else None,
        sum_to(product, shape=weight.shape) if needs[1] else None,
        sum_to(g, shape=bias.shape) if needs[2] else None,
    ]


_layer_norm.deflower("x", normalized.layer_norm)
_layer_norm.defjoint(_layer_norm_rule)


def _check_parts(where: str, axis: int | Sequence[int], x: Any, *parts: Any) -> tuple[int, ...]:
    """The axes in order. Raises ShapeError unless all parameters have the shape of `x` along them."""
    check_arrays(where, x, *parts)
    axes = tuple(sorted(normalize_axes(where, axis, x)))
    shape = tuple(x.shape[i] for i in axes)
    if any(part.shape != shape for part in parts):
        expected = f"parameters of shape {shape}, the lengths of axes {axes} of {x.shape}"
        raise ShapeError(message(where, expected, ", ".join(str(part.shape) for part in parts)))
    return axes


def _check_epsilon(where: str, epsilon: float) -> float:
    return check_number(where, "epsilon", epsilon, "of at least 0", lambda n: n >= 0)


def _broadcast(x: Any, axes: tuple[int, ...], *parts: Any) -> list[Any]:
    """Parameters with their axes where `x` has them; on the last axes they broadcast as they are."""
    last = axes == tuple(range(x.ndim - len(axes), x.ndim))
    return list(parts) if last else [_reshape(part, shape=_along(x, axes)) for part in parts]


def layer_norm(x: Any, weight: Any, bias: Any, axis: int | Sequence[int] = -1, epsilon: float = 1e-5) -> Any:
    """`x` with mean 0 and variance 1 over axes, times `weight`, plus `bias` (both of the shape of `x` along the axes,
    taken in their order).

    Raises ShapeError if the shapes do not fit. Ba et al., "Layer normalization", 2016.

    >>> import tinygrad_edu as tg
    >>> tg.layer_norm(tg.tensor([[1.0, 3.0]]), tg.ones((2,)), tg.zeros((2,)))
    tensor([[-0.999995,  0.999995]])
    """
    axes = _check_parts("layer_norm", axis, x, weight, bias)
    epsilon = _check_epsilon("layer_norm", epsilon)
    return _in_float32(_layer_norm, x, *_broadcast(x, axes, weight, bias), axes=axes, epsilon=epsilon)


def group_norm(x: Any, weight: Any, bias: Any, groups: int, epsilon: float = 1e-3) -> Any:
    """Each sample of `x` (samples, ..., channels) with mean 0 and variance 1 over each of `groups` groups of
    neighbouring channels and all positions, times `weight`, plus `bias` (both of shape (channels,)).

    Raises ShapeError if the shapes do not fit or `groups` does not divide the channels. Wu and He, "Group
    normalization", 2018.

    >>> import tinygrad_edu as tg
    >>> tg.group_norm(tg.tensor([[1.0, 3.0, 0.0, 4.0]]), tg.ones((4,)), tg.zeros((4,)), groups=2, epsilon=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    _check_parts("group_norm", -1, x, weight, bias)
    channels = x.shape[-1]
    if x.ndim < 2 or channels % check_integer("group_norm", "groups", groups, 1):
        expected = f"x of shape (samples, ..., channels) with channels that {groups} groups divide"
        raise ShapeError(message("group_norm", expected, f"{x.shape}"))
    apart = (groups, channels // groups)
    y = _in_float32(
        _layer_norm,
        _reshape(x, shape=(x.shape[0], math.prod(x.shape[1:-1]), *apart)),
        *(_reshape(part, shape=apart) for part in (weight, bias)),
        axes=(1, 3),
        epsilon=_check_epsilon("group_norm", epsilon),
    )
    return _reshape(y, shape=x.shape)


@primitive("composite", saves=("x", "weight"), residuals=True)
def _rms_norm(xp: Any, x: Array, weight: Array, *, axes: tuple[int, ...], epsilon: float) -> Any:
    inverse = 1.0 / xp.sqrt(xp.square(x).mean(axis=axes, keepdims=True) + epsilon)
    y = x * inverse
    y *= weight
    return y, inverse


def _rms_norm_rule(
    needs: Any, residuals: Any, g: Any, y: Any, x: Any, weight: Any, *, axes: tuple[int, ...], epsilon: float
) -> list[Any]:
    inverse = residuals
    if inverse is None:
        inverse = 1.0 / sqrt(_mean(square(x), axes=axes, keepdims=True) + epsilon)
    h, q = x * inverse, g * weight
    return [
        inverse * (q - h * _mean(q * h, axes=axes, keepdims=True)) if needs[0] else None,
        sum_to(g * h, shape=weight.shape) if needs[1] else None,
    ]


_rms_norm.deflower("x", normalized.rms_norm)
_rms_norm.defjoint(_rms_norm_rule)


def rms_norm(x: Any, weight: Any, axis: int | Sequence[int] = -1, epsilon: float = 1e-6) -> Any:
    """`x` with mean square 1 over axes, times `weight`, of the shape of `x` along the axes, taken in their order.

    Raises ShapeError if the shapes do not fit. Zhang and Sennrich, "Root mean square layer normalization", 2019.

    >>> import tinygrad_edu as tg
    >>> tg.rms_norm(tg.tensor([[1.0, 7.0]]), tg.ones((2,)))
    tensor([[0.2, 1.4]])
    """
    axes = _check_parts("rms_norm", axis, x, weight)
    epsilon = _check_epsilon("rms_norm", epsilon)
    return _in_float32(_rms_norm, x, *_broadcast(x, axes, weight), axes=axes, epsilon=epsilon)


@primitive("opaque", differentiable=False)
def _moments(xp: Any, x: Array, *, epsilon: float) -> tuple[Array, ...]:
    """Of `_batch_norm` all but y, for recorded steps where something else computes that."""
    _, average, variance, inverse = _normalize(xp, x, tuple(range(x.ndim - 1)), epsilon)
    return average.reshape(-1), variance.reshape(-1), average, inverse


@primitive("composite", saves=("x", "weight"), residuals=True)
@compiled("normalization.of_batch", lambda y, mean, variance, *kept: ((y, mean, variance), tuple(kept)))
def _batch_norm(xp: Any, x: Array, weight: Array, bias: Array, *, axis: int, epsilon: float) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != axis)
    shape = _along(x, (axis,))
    y, average, variance, inverse = _normalize(xp, x, axes, epsilon)
    y *= weight.reshape(shape)
    y += bias.reshape(shape)
    return (y, average.reshape(-1), variance.reshape(-1)), (average, inverse)


def _batch_norm_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any, *, axis: int, epsilon: float
) -> list[Any]:
    g, g_average, g_variance = g
    axes, shape = tuple(i for i in range(x.ndim) if i != axis), _along(x, (axis,))
    average, inverse = residuals or _statistics(x, axes, epsilon)
    centred, n = x - average, count(x.shape, axes)
    terms, of_weight, of_bias = [], None, None
    if g is not None:  # with one weight for each mean, mean(q) and mean(q * h) are these two sums but for factors
        of_bias = _sum(g, axes=axes, keepdims=True)
        product = _times_centred(g, x, average) if residuals else g * centred
        of_weight = _sum(product, axes=axes, keepdims=True) * inverse
        if needs[0]:
            shared = of_bias * (1.0 / n) + centred * (inverse * of_weight * (1.0 / n))
            terms.append(inverse * _reshape(weight, shape=shape) * (g - shared))
    if g_average is not None:
        terms.append(broadcast_to(_reshape(g_average, shape=shape) * (1.0 / n), shape=x.shape))
    if g_variance is not None:
        terms.append(_reshape(g_variance, shape=shape) * (2.0 / n) * centred)
    return [
        functools.reduce(operator.add, terms) if needs[0] else None,
        *(None if part is None else _reshape(part, shape=weight.shape) for part in (of_weight, of_bias)),
    ]


_batch_norm.defjoint(_batch_norm_rule)


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
    (axis,) = _check_parts("batch_norm", (axis,), x, weight, bias)
    if count(x.shape, tuple(i for i in range(x.ndim) if i != axis)) < 2:
        hint = "use a larger batch, or batch_norm_inference with running statistics."
        raise ShapeError(message("batch_norm", "more than one value per channel", f"shape {x.shape}", hint))
    epsilon = _check_epsilon("batch_norm", epsilon)
    y, mean, variance = _in_float32(_batch_norm, x, weight, bias, axis=axis, epsilon=epsilon)
    return y, mean, variance


def batch_norm_inference(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """Normalization of each channel by a given mean and variance, times `weight`, plus `bias` (all of shape
    (channels,))."""
    (axis,) = _check_parts("batch_norm_inference", (axis,), x, weight, bias, mean, variance)
    scale = weight / sqrt(variance + _check_epsilon("batch_norm_inference", epsilon))
    shape = _along(x, (axis,))
    return x * _reshape(scale, shape=shape) + _reshape(bias - mean * scale, shape=shape)
