"""Element-wise mathematics. Each operation broadcasts its arguments as NumPy does; the engine undoes that in the
gradient.

One line a derivative: `g` is the cotangent, `y` the output. Integers become the default floating dtype where the
result is floating (`exp`, `divide`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from ..autograd import Primitive, cast, primitive
from ..backend import Array, as_dtype, special_functions
from ..state import state


def ufunc(
    name: str,
    expression: str,
    saves: str,
    *vjps: Callable[..., Any],
    arguments: int | None = None,
    forward: Callable[[Any, Array, Any], Any] | None = None,
) -> Primitive:
    """The primitive of a function of one or two arguments that the array module has under the same name, or of
    `forward`.

    `saves` holds the letters (a, b, y) of what the gradient needs.
    """

    def unary(xp: Any, a: Array, out: Any = None) -> Any:
        return forward(xp, a, out) if forward else getattr(xp, name)(a, out=out)

    def binary(xp: Any, a: Array, b: Array, out: Any = None) -> Any:
        return getattr(xp, name)(a, b, out=out)

    function = binary if (arguments or len(vjps)) == 2 else unary
    function.__name__ = name
    function.__doc__ = f"`{expression}`, element by element."
    made = primitive("elementwise", saves=tuple(saves), expression=expression, expects="shapes that broadcast")(
        function
    )
    if vjps:
        made.defvjp(*vjps)
    return made


def into(out: Any, y: Array) -> Array:
    """`y`, written into `out` if there is one."""
    if out is None:
        return y
    out[...] = y
    return out


def zero(g: Any, *_: Any, **attributes: Any) -> Any:
    """The gradient of a step function, where it has one."""
    return zeros_like(g)


@primitive("elementwise", expression="0", differentiable=False)
def zeros_like(xp: Any, a: Array, out: Any = None) -> Any:
    """Zeros of the shape, dtype and device of `a`."""
    return into(out, xp.zeros_like(a))


@primitive("elementwise", expression="1", differentiable=False)
def ones_like(xp: Any, a: Array, out: Any = None) -> Any:
    """Ones of the shape, dtype and device of `a`."""
    return into(out, xp.ones_like(a))


def astype(x: Any, dtype: Any) -> Any:
    """`x` with another dtype. Between floating dtypes the gradient is cast back."""
    return cast(x, as_dtype("astype", dtype))


# Arithmetic


@primitive("elementwise", expression="a + b", expects="shapes that broadcast")
def add(xp: Any, a: Array, b: Array, out: Any = None) -> Any:
    """`a + b`, element by element."""
    return xp.add(a, b, out=out)


@primitive("elementwise", expression="a * b", saves=("a", "b"), expects="shapes that broadcast")
def multiply(xp: Any, a: Array, b: Array, out: Any = None) -> Any:
    """`a * b`, element by element."""
    return xp.multiply(a, b, out=out)


add.defvjp(lambda g, y, a, b: g, lambda g, y, a, b: g)
multiply.defvjp(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
subtract = ufunc("subtract", "a - b", "", lambda g, y, a, b: g, lambda g, y, a, b: -g)
divide = ufunc("divide", "a / b", "by", lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b)
negative = ufunc("negative", "-a", "", lambda g, y, a: -g)
reciprocal = ufunc(
    "reciprocal", "1 / a", "y", lambda g, y, a: -g * y * y, forward=lambda xp, a, out: xp.divide(1.0, a, out=out)
)
square = ufunc("square", "a * a", "a", lambda g, y, a: g * (2.0 * a))
sqrt = ufunc("sqrt", "sqrt(a)", "y", lambda g, y, a: g * 0.5 / y)  # at 0 it is infinite: NaN behind a 0, as in relu
absolute = ufunc("absolute", "absolute(a)", "a", lambda g, y, a: g * sign(a))
sign = ufunc("sign", "sign(a)", "", zero)


@primitive(
    "elementwise",
    expression="a ** b",
    saves=("a", "b", "y"),
    expects="shapes that broadcast, and no negative exponents for integers",
)
def _power(xp: Any, a: Array, b: Array, out: Any = None) -> Any:
    _check_exponent(a, b)
    return xp.power(a, b, out=out)


def _check_exponent(a: Any, b: Any) -> None:
    """Raises ValueError for integers to negative powers: CuPy would compute something."""
    integers = all(isinstance(n, int) or (hasattr(n, "dtype") and n.dtype.kind in "iu") for n in (a, b))
    if integers and bool((b < 0).any() if hasattr(b, "any") else b < 0):
        raise ValueError("integers have no negative powers")


_power.defvjp(
    # b * a ** (b - 1), and 0 rather than 0 * inf where both are 0
    lambda g, y, a, b: g * (b * power(where(logical_and(equal(a, 0), equal(b, 0)), 1.0, a), b - 1)),
    lambda g, y, a, b: g * y * _log_of_base(a, b),
)


def _log_of_base(a: Any, b: Any) -> Any:
    """log(a); but 0 where a is 0 and b is not negative, for there a ** b * log(a) has the limit 0 (for b above 0)."""
    if isinstance(a, (int, float)):
        if a == 0:
            return where(greater_equal(b, 0), 0.0 * b, -math.inf)
        return math.log(a) if a > 0 else math.nan
    return log(where(logical_and(equal(a, 0), greater_equal(b, 0)), 1.0, a))


@primitive(
    "elementwise",
    expression="a ** exponent",
    saves=("a",),
    expects="no negative exponents for integers",
    label="power",
)
def _power_of(xp: Any, a: Array, *, exponent: float, out: Any = None) -> Any:
    if exponent < 0:
        _check_exponent(a, exponent)
    return xp.power(a, exponent, out=out) if out is not None else a**exponent


_power_of.defvjp(lambda g, y, a, exponent: zeros_like(g) if exponent == 0 else g * (exponent * power(a, exponent - 1)))


def as_number(value: Any) -> Any:
    """A NumPy scalar or 0-d NumPy array as a Python number; anything else as it is."""
    return value.item() if isinstance(value, (numpy.generic, numpy.ndarray)) and value.ndim == 0 else value


def power(a: Any, b: Any) -> Any:
    """`a ** b`, element by element. Raises ShapeError for integers to negative powers."""
    exponent = as_number(b)
    if type(exponent) in (int, float) and hasattr(a, "dtype"):
        return _power_of(a, exponent=exponent)
    return _power(a, b)


# Exponentials, logarithms, and trigonometry

exp = ufunc("exp", "exp(a)", "y", lambda g, y, a: g * y)
expm1 = ufunc("expm1", "expm1(a)", "y", lambda g, y, a: g * (y + 1.0))
log = ufunc("log", "log(a)", "a", lambda g, y, a: g / a)
log1p = ufunc("log1p", "log1p(a)", "a", lambda g, y, a: g / (a + 1.0))
log2 = ufunc("log2", "log2(a)", "a", lambda g, y, a: g / (a * math.log(2.0)))
logaddexp = ufunc(
    "logaddexp",
    "logaddexp(a, b)",
    "ab",
    lambda g, y, a, b: g * expit(a - b),
    lambda g, y, a, b: g * expit(b - a),
)
sin = ufunc("sin", "sin(a)", "a", lambda g, y, a: g * cos(a))
cos = ufunc("cos", "cos(a)", "a", lambda g, y, a: -g * sin(a))
tan = ufunc("tan", "tan(a)", "y", lambda g, y, a: g * (1.0 + y * y))
arcsin = ufunc("arcsin", "arcsin(a)", "a", lambda g, y, a: g / sqrt(1.0 - a * a))
arccos = ufunc("arccos", "arccos(a)", "a", lambda g, y, a: -g / sqrt(1.0 - a * a))
arctan = ufunc("arctan", "arctan(a)", "a", lambda g, y, a: g / (1.0 + a * a))
arctan2 = ufunc(
    "arctan2",
    "arctan2(a, b)",
    "ab",
    lambda g, y, a, b: g * (b / (a * a + b * b)),
    lambda g, y, a, b: -g * (a / (a * a + b * b)),
)
sinh = ufunc("sinh", "sinh(a)", "a", lambda g, y, a: g * cosh(a))
cosh = ufunc("cosh", "cosh(a)", "a", lambda g, y, a: g * sinh(a))
tanh = ufunc("tanh", "tanh(a)", "y", lambda g, y, a: g * (1.0 - y * y))
erf = ufunc(
    "erf",
    "erf(a)",
    "a",
    lambda g, y, a: g * (2.0 / math.sqrt(math.pi) * exp(-(a * a))),
    forward=lambda xp, a, out: special_functions(xp).erf(a, out=empty_float(xp, a) if out is None else out),
)


@primitive("elementwise", expression="1 / (1 + exp(-a))", saves=("y",), label="sigmoid")
def expit(xp: Any, a: Array, out: Any = None) -> Any:
    y = empty_float(xp, a) if out is None else out
    with numpy.errstate(over="ignore"):  # exp(-a) may be inf: then the result is 0, as it should be
        xp.exp(xp.negative(a, out=y), out=y)
    y += 1.0
    return xp.reciprocal(y, out=y)


expit.defvjp(lambda g, y, a: g * (y * (1.0 - y)))


def empty_float(xp: Any, a: Array) -> Array:
    """An array to compute on in place, of the shape of `a`, and of its dtype if that is floating."""
    return xp.empty(a.shape, dtype=a.dtype if a.dtype.kind == "f" else xp.float64)


# Extremes, selection and rounding


def _larger(g: Any, a: Any, b: Any) -> Any:
    """`g` where a is larger than b, half of it where they tie."""
    return where(equal(a, b), 0.5 * g, where(greater(a, b), g, 0.0))


maximum = ufunc(
    "maximum", "maximum(a, b)", "ab", lambda g, y, a, b: _larger(g, a, b), lambda g, y, a, b: _larger(g, b, a)
)
minimum = ufunc(
    "minimum", "minimum(a, b)", "ab", lambda g, y, a, b: _larger(g, b, a), lambda g, y, a, b: _larger(g, a, b)
)
heaviside = ufunc(
    "heaviside",
    "heaviside(a, b)",
    "a",
    zero,
    lambda g, y, a, b: where(equal(a + zeros_like(g), 0), g, 0.0),  # `a` may be a number, which has no device
)
floor = ufunc("floor", "floor(a)", "", zero)
ceil = ufunc("ceil", "ceil(a)", "", zero)
round = ufunc("round", "rint(a)", "", zero, forward=lambda xp, a, out: xp.rint(a, out=out))


@primitive("elementwise", expression="where(condition, a, b)", saves=("condition",), expects="shapes that broadcast")
def where(xp: Any, condition: Array, a: Array, b: Array, out: Any = None) -> Any:
    """`a` where `condition` holds, else `b`."""
    y = xp.where(condition, a, b)
    if y.dtype.kind == "f" and not hasattr(a, "dtype") and not hasattr(b, "dtype"):
        y = y.astype(state.dtype)
    return into(out, y)


where.defvjp(
    None,
    lambda g, y, condition, a, b: where(condition, g, 0.0),
    lambda g, y, condition, a, b: where(condition, 0.0, g),
)


@primitive("elementwise", expression="clip(a, low, high)", saves=("a", "y"))
def _clip(xp: Any, a: Array, *, low: float | None, high: float | None, out: Any = None) -> Any:
    return xp.clip(a, low, high, out=out)


_clip.defvjp(lambda g, y, a, low, high: where(equal(y, a), g, 0.0))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """`x` limited to [low, high]; a bound of None is no bound. The gradient is 1 inside and at the bounds, else 0.

    Bounds that are arrays have gradients themselves, and share them where they tie with `x`, as `maximum` does.
    """
    low, high = as_number(low), as_number(high)
    if all(bound is None or type(bound) in (int, float) for bound in (low, high)):
        return _clip(x, low=low, high=high)
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


# Comparisons and logic: no gradients

equal = ufunc("equal", "a == b", "", arguments=2)
not_equal = ufunc("not_equal", "a != b", "", arguments=2)
less = ufunc("less", "a < b", "", arguments=2)
less_equal = ufunc("less_equal", "a <= b", "", arguments=2)
greater = ufunc("greater", "a > b", "", arguments=2)
greater_equal = ufunc("greater_equal", "a >= b", "", arguments=2)
logical_and = ufunc("logical_and", "logical_and(a, b)", "", arguments=2)
logical_or = ufunc("logical_or", "logical_or(a, b)", "", arguments=2)
logical_xor = ufunc("logical_xor", "logical_xor(a, b)", "", arguments=2)
logical_not = ufunc("logical_not", "logical_not(a)", "")
isfinite = ufunc("isfinite", "isfinite(a)", "")
isnan = ufunc("isnan", "isnan(a)", "")
isinf = ufunc("isinf", "isinf(a)", "")
