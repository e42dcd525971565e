"""Activation functions, each one primitive with its derivative in closed form, or a short formula of others."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..autograd import primitive
from ..backend import Array, special_functions
from ..errors import ShapeError, check_number, message
from .elementwise import (
    absolute,
    clip,
    empty_float,
    erf,
    exp,
    expit,
    greater,
    into,
    less_equal,
    square,
    tanh,
    where,
)
from .shape import normalize_axis, split

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), element by element; never overflows."""
    return expit(x)


@primitive("elementwise", expression="minimum(a, 0) - log1p(exp(-absolute(a)))", saves=("a",))
def log_sigmoid(xp: Any, a: Array, out: Any = None) -> Any:
    """log(sigmoid(a)), element by element, accurate for large negative numbers."""
    y = _log1p_exp_minus(xp, a, out)
    return xp.subtract(xp.minimum(a, 0), y, out=y)


@primitive("elementwise", expression="maximum(a, 0) + log1p(exp(-absolute(a)))", saves=("a",))
def softplus(xp: Any, a: Array, out: Any = None) -> Any:
    """log(1 + exp(a)), element by element; never overflows."""
    y = _log1p_exp_minus(xp, a, out)
    return xp.add(xp.maximum(a, 0), y, out=y)


def _log1p_exp_minus(xp: Any, a: Array, out: Any) -> Array:
    """log(1 + exp(-|a|)), in `out` if there is one."""
    y = empty_float(xp, a) if out is None else out
    xp.negative(xp.absolute(a, out=y), out=y)
    return xp.log1p(xp.exp(y, out=y), out=y)


log_sigmoid.defvjp(lambda g, y, a: g * expit(-a))
softplus.defvjp(lambda g, y, a: g * expit(a))


@primitive("elementwise", expression="maximum(a, 0)", saves=("y",))
def relu(xp: Any, a: Array, out: Any = None) -> Any:
    """The larger of a and 0, element by element. The gradient at 0 is 0."""
    return xp.maximum(a, 0, out=out)


@primitive("elementwise", expression="g * (a > 0)", saves=("a",))
def _relu_gradient(xp: Any, g: Array, a: Array, out: Any = None) -> Any:
    """As one step, of which a plan keeps nothing: a mask would be made with `a` and lie there until it is needed."""
    return xp.multiply(g, a > 0, out=out)


_relu_gradient.defvjp(lambda v, y, g, a: _relu_gradient(v, a), None)
relu.defvjp(lambda g, y, a: _relu_gradient(g, y))


@primitive("elementwise", expression="where(a > 0, a, negative_slope * a)", saves=("a",))
def _leaky_relu(xp: Any, a: Array, *, negative_slope: float, out: Any = None) -> Any:
    return into(out, xp.where(a > 0, a, xp.multiply(a, negative_slope, out=out)))


_leaky_relu.defvjp(lambda g, y, a, negative_slope: where(greater(a, 0), g, negative_slope * g))


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where it is positive, else negative_slope * x (Maas et al., 2013). The default slope is Keras's."""
    return _leaky_relu(x, negative_slope=negative_slope)


@primitive("elementwise", expression="where(a > 0, a, alpha * expm1(minimum(a, 0)))", saves=("a", "y"))
def _elu(xp: Any, a: Array, *, alpha: float, out: Any = None) -> Any:
    y = empty_float(xp, a) if out is None else out
    xp.expm1(xp.minimum(a, 0, out=y), out=y)
    y *= alpha
    return into(y, xp.where(a > 0, a, y))


_elu.defvjp(lambda g, y, a, alpha: where(greater(a, 0), g, g * (y + alpha)))


@primitive("elementwise", expression="where(a > 0, a, b * a)", saves=("a", "b"), expects="shapes that broadcast")
def prelu(xp: Any, a: Array, b: Array, out: Any = None) -> Any:
    """`a` where it is positive, else `b * a`; a leaky_relu whose slopes `b` are learned (He et al., 2015)."""
    return into(out, xp.where(a > 0, a, xp.multiply(b, a)))


prelu.defvjp(
    lambda g, y, a, b: where(greater(a, 0), g, b * g),
    lambda g, y, a, b: where(greater(a, 0), 0.0, g * a),
)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert et al., 2015)."""
    return _elu(x, alpha=alpha)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, else alpha * (exp(x / alpha) - 1): an `elu` whose slope has no jump (Barron, 2017).

    Raises ValueError unless alpha is above 0.
    """
    alpha = check_number("celu", "alpha", alpha, "above 0", lambda n: n > 0)
    return alpha * _elu(x / alpha, alpha=1.0)


def selu(x: Any) -> Any:
    """The self-normalising activation: a scaled `elu` (Klambauer et al., 2017)."""
    return SELU_SCALE * _elu(x, alpha=SELU_ALPHA)


@primitive("elementwise", expression="0.5 * a * (1 + erf(a * sqrt(0.5)))", saves=("a",), label="gelu")
def _gelu_exact(xp: Any, a: Array, out: Any = None) -> Any:
    y = xp.multiply(a, math.sqrt(0.5), out=empty_float(xp, a) if out is None else out)
    special_functions(xp).erf(y, out=y)
    y += 1.0
    y *= 0.5
    return xp.multiply(y, a, out=y)


@primitive(
    "elementwise",
    expression="0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)))",
    saves=("a",),
    label="gelu",
)
def _gelu_tanh(xp: Any, a: Array, out: Any = None) -> Any:
    y = xp.multiply(a, a, out=empty_float(xp, a) if out is None else out)
    y *= 0.044715
    y += 1.0
    y *= a
    y *= math.sqrt(2.0 / math.pi)
    xp.tanh(y, out=y)
    y += 1.0
    y *= 0.5
    return xp.multiply(y, a, out=y)


def _gelu_exact_vjp(g: Any, y: Any, a: Any) -> Any:
    # Phi(a) + a * phi(a), with the distribution function and the density of the normal distribution
    density = math.sqrt(0.5 / math.pi) * exp(a * a * -0.5)
    return g * (0.5 * (1.0 + erf(a * math.sqrt(0.5))) + a * density)


def _gelu_tanh_vjp(g: Any, y: Any, a: Any) -> Any:
    c = math.sqrt(2.0 / math.pi)
    a = clip(a, -30.0, 30.0)  # the gradient is 0 or 1 further out, but a * a may overflow
    squared = a * a
    t = tanh(c * (a * (1.0 + 0.044715 * squared)))
    return g * (0.5 * (1.0 + t) + (0.5 * c) * a * (1.0 - t * t) * (1.0 + (3.0 * 0.044715) * squared))


_gelu_exact.defvjp(_gelu_exact_vjp)
_gelu_tanh.defvjp(_gelu_tanh_vjp)


def gelu(x: Any, approximate: bool = False) -> Any:
    """x times the probability that a standard normal number is below x (Hendrycks and Gimpel, 2016), by erf or
    approximated by tanh."""
    return _gelu_tanh(x) if approximate else _gelu_exact(x)


@primitive("elementwise", expression="a / (1 + exp(-a))", saves=("a",))
def silu(xp: Any, a: Array, out: Any = None) -> Any:
    """a * sigmoid(a), element by element; also called swish."""
    y = expit.forward(xp, a, out=out)
    return xp.multiply(y, a, out=y)


def _silu_vjp(g: Any, y: Any, a: Any) -> Any:
    s = expit(a)
    return g * (s * (1.0 + a * (1.0 - s)))


silu.defvjp(_silu_vjp)


@primitive("elementwise", expression="a * tanh(maximum(a, 0) + log1p(exp(-absolute(a))))", saves=("a",))
def mish(xp: Any, a: Array, out: Any = None) -> Any:
    """a * tanh(softplus(a)), element by element (Misra, 2019)."""
    y = softplus.forward(xp, a, out=out)
    return xp.multiply(xp.tanh(y, out=y), a, out=y)


def _mish_vjp(g: Any, y: Any, a: Any) -> Any:
    t = tanh(softplus(a))
    return g * (t + a * (1.0 - t * t) * expit(a))


mish.defvjp(_mish_vjp)


@primitive("elementwise", expression="a / (1 + absolute(a))", saves=("a",))
def softsign(xp: Any, a: Array, out: Any = None) -> Any:
    """a / (1 + |a|), element by element."""
    y = xp.absolute(a, out=empty_float(xp, a) if out is None else out)
    y += 1.0
    return xp.divide(a, y, out=y)


def _softsign_vjp(g: Any, y: Any, a: Any) -> Any:
    d = 1.0 + absolute(a)
    return g / (d * d)


softsign.defvjp(_softsign_vjp)


@primitive("elementwise", expression="clip(a, low, high)", saves=("y",))
def _hard(xp: Any, a: Array, *, low: float, high: float, out: Any = None) -> Any:
    """`a` limited to [low, high]. Other than in `clip`, the gradient at the bounds is 0."""
    return xp.clip(a, low, high, out=out)


_hard.defvjp(lambda g, y, a, low, high: where((y > low) & (y < high), g, 0.0))


def relu6(x: Any) -> Any:
    """x limited to [0, 6] (Krizhevsky, 2010). The gradient at the bounds is 0."""
    return _hard(x, low=0, high=6)


def hard_tanh(x: Any) -> Any:
    """x limited to [-1, 1]. The gradient at the bounds is 0."""
    return _hard(x, low=-1, high=1)


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6, a sigmoid of straight lines, as in Keras 3 and PyTorch."""
    return relu6(x + 3.0) / 6.0


def hard_swish(x: Any) -> Any:
    """x * relu6(x + 3) / 6, also called hard_silu (Howard et al., 2019)."""
    return x * hard_sigmoid(x)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - tanh(x)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, and 0 where it is nearer than that. Raises ValueError for a negative one."""
    threshold = check_number("soft_shrink", "threshold", threshold, "of at least 0", lambda n: n >= 0)
    return x - clip(x, -threshold, threshold)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where its magnitude is above `threshold`, else 0."""
    return where(less_equal(absolute(x), threshold), 0.0, x)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where it is above `threshold`, else `default_value`."""
    return where(less_equal(x, threshold), default_value, x)


def sparse_plus(x: Any) -> Any:
    """0 up to -1, x from 1 on, and (x + 1) ** 2 / 4 between: a softplus that reaches 0."""
    return 0.25 * square(clip(x, -1, 1) + 1.0) + relu(x - 1.0)


@primitive(
    "elementwise",
    expression="where(a < 0, 0.25 * width / (0.5 * hypot(a, sqrt(width)) - 0.5 * a), "
    "0.5 * hypot(a, sqrt(width)) + 0.5 * a)",
    saves=("a", "y"),
)
def _squareplus(xp: Any, a: Array, *, width: float, out: Any = None) -> Any:
    y = xp.hypot(a, math.sqrt(width), out=empty_float(xp, a) if out is None else out)
    y *= 0.5
    y += xp.multiply(xp.absolute(a), 0.5)
    below = 0.25 * width / xp.maximum(y, numpy.finfo(y.dtype).tiny)  # as (root + a) / 2, which would lose digits
    y[...] = xp.where(xp.less(a, 0), below, y)
    return y


_squareplus.defvjp(lambda g, y, a, width: g * (y / (y + (y - a))))  # below is the root


def squareplus(x: Any, b: float = 4.0) -> Any:
    """(x + sqrt(x ** 2 + b)) / 2, a softplus without exp (Barron, 2021). Raises ValueError for a negative b."""
    return _squareplus(x, width=check_number("squareplus", "b", b, "of at least 0", lambda n: n >= 0))


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of x along an axis, times the sigmoid of the second (Dauphin et al., 2016).

    Raises ShapeError if the length of the axis is odd.
    """
    axis = normalize_axis("glu", axis, x)
    if x.shape[axis] % 2:
        raise ShapeError(message("glu", f"an even length of axis {axis}", f"shape {x.shape}"))
    a, b = split(x, 2, axis)
    return a * expit(b)
