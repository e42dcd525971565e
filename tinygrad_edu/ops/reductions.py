"""Reductions over any axes: sums, extremes, moments, norms. All of them take `axis` (None for all) and `keepdims` as
NumPy's do."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy

from ..autograd import Primitive, broadcast_to, cast, primitive
from ..backend import Array, sum_over
from ..errors import ShapeError, message
from .elementwise import absolute, equal, exp, into, isfinite, not_equal, square, where
from .shape import Axes, _concatenate, _flip, _pad, _reshape, normalize_axes, normalize_axis, ravel, transpose


def restore(g: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A reduced array with the reduced axes back as axes of length 1, where it has lost them."""
    kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return g if g.shape == kept else _reshape(g, shape=kept)


def stretched(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` in that shape; as it is where the reduced axes have length 1."""
    return g if g.shape == shape else broadcast_to(g, shape=shape)


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements are reduced to one."""
    return math.prod([shape[i] for i in axes])


# The definitions; each gets its axes from the front, as a tuple


def reduction(name: str, saves: str = "", expects: str = "arguments that fit together") -> Primitive:
    """The primitive of a reduction that the array module has under the same name. `saves` holds letters of (a, y)."""

    def forward(xp: Any, a: Array, *, axes: tuple[int, ...], keepdims: bool, out: Any = None) -> Any:
        return getattr(a, name)(axis=axes, keepdims=keepdims, out=out)  # of xp it takes NumPy's dispatch as well

    forward.__name__ = f"_{name}"
    return primitive("reduction", saves=tuple(saves), expects=expects)(forward)


_any, _all = map(reduction, ("any", "all"))
_max = reduction("max", "ay", "at least one element to choose from")
_min = reduction("min", "ay", "at least one element to choose from")
_prod = reduction("prod", "a")


@primitive("reduction")
def _sum(xp: Any, a: Array, *, axes: tuple[int, ...], keepdims: bool, out: Any = None) -> Any:
    return sum_over(a, axes, keepdims, out)


@primitive("reduction")
def _mean(xp: Any, a: Array, *, axes: tuple[int, ...], keepdims: bool, out: Any = None) -> Any:
    if xp is not numpy or a.dtype.char not in "fd" or not a.size:
        return a.mean(axis=axes, keepdims=keepdims, out=out)
    return xp.divide(sum_over(a, axes, keepdims), a.dtype.type(count(a.shape, axes)), out=out)


_sum.defvjp(lambda g, y, a, axes, keepdims: stretched(restore(g, a.shape, axes), a.shape))


def _mean_vjp(g: Any, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    n, g = count(a.shape, axes), restore(g, a.shape, axes)
    return stretched(g * (1.0 / n) if n > 1 else g, a.shape)


_mean.defvjp(_mean_vjp)


def _extreme_vjp(g: Any, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    chosen = equal(a, restore(y, a.shape, axes))  # ties share the gradient
    shared = restore(g, a.shape, axes) / _sum(cast(chosen, a.dtype), axes=axes, keepdims=True)
    return where(chosen, shared, 0.0)


_max.defvjp(_extreme_vjp)
_min.defvjp(_extreme_vjp)


def _prod_vjp(g: Any, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The product of all others, without dividing (elements may be 0): the backward pass of a product by pairs."""
    rest = tuple(i for i in range(a.ndim) if i not in axes)
    order = rest + axes
    rows, n = count(a.shape, rest), count(a.shape, axes)
    levels = [_reshape(transpose(a, order), shape=(rows, n))]
    while levels[-1].shape[1] > 1:
        level = levels[-1]
        half = level.shape[1] // 2
        paired = level[:, :half] * level[:, half : 2 * half]
        levels.append(_concatenate(paired, level[:, 2 * half :], axis=1) if level.shape[1] % 2 else paired)
    d = _reshape(g, shape=(rows, 1)) if n else levels[0]
    for level in reversed(levels[:-1]):
        half = level.shape[1] // 2
        parts = [d[:, :half] * level[:, half : 2 * half], d[:, :half] * level[:, :half], d[:, half:]]
        d = _concatenate(*parts[: 2 + level.shape[1] % 2], axis=1)
    return transpose(
        _reshape(d, shape=tuple(a.shape[i] for i in order)), tuple(sorted(range(a.ndim), key=order.__getitem__))
    )


_prod.defvjp(_prod_vjp)


@primitive("reduction", saves=("a",))
def _var(xp: Any, a: Array, *, axes: tuple[int, ...], keepdims: bool, ddof: int, out: Any = None) -> Any:
    return xp.var(a, axis=axes, keepdims=keepdims, ddof=ddof, out=out)


def _var_steps(loops: Any, a: Any, axes: tuple[int, ...], keepdims: bool, ddof: int) -> Any:
    n = loops.shape[-1]
    centred = loops.apply("subtract", a, loops.apply("divide", loops.reduce("row_sum", a), n))
    return loops.apply("divide", loops.reduce("row_sum", loops.apply("multiply", centred, centred)), n - ddof)


_var.deflower("a", _var_steps)


def _var_vjp(g: Any, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool, ddof: int) -> Any:
    centred = a - _mean(a, axes=axes, keepdims=True)
    return restore(g, a.shape, axes) * (2.0 / (count(a.shape, axes) - ddof)) * centred


_var.defvjp(_var_vjp)


@primitive("reduction", saves=("a", "y"), expects="at least one element along the axes")
def _logsumexp(xp: Any, a: Array, *, axes: tuple[int, ...], keepdims: bool, out: Any = None) -> Any:
    peak = xp.max(a, axis=axes, keepdims=True)
    peak = xp.where(xp.isfinite(peak), peak, peak.dtype.type(0))
    y = xp.exp(a - peak).sum(axis=axes, keepdims=True)
    with numpy.errstate(divide="ignore"):  # the sum of nothing but exp(-inf) is 0, its logarithm -inf
        y = xp.log(y) + peak
    return into(out, y if keepdims else y.squeeze(axes))


def _logsumexp_steps(loops: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    peak = loops.reduce("row_max", a)
    peak = loops.apply("where", loops.apply("isfinite", peak), peak, 0.0)
    total = loops.reduce("row_sum", loops.apply("exp", loops.apply("subtract", a, peak)))
    return loops.apply("add", loops.apply("log", total), peak)


_logsumexp.deflower("a", _logsumexp_steps)


def _logsumexp_vjp(g: Any, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    y = restore(y, a.shape, axes)
    return restore(g, a.shape, axes) * exp(a - where(equal(y, -math.inf), 0.0, y))


_logsumexp.defvjp(_logsumexp_vjp)


@primitive("elementwise", expression="a ** exponent", saves=("a",))
def _root(xp: Any, a: Array, *, exponent: float, out: Any = None) -> Any:
    """`a ** exponent` for numbers that are not negative. Where one is 0, all derivatives are 0 and none is infinite."""
    return a**exponent if out is None else xp.power(a, exponent, out=out)


def _root_vjp(g: Any, y: Any, a: Any, exponent: float) -> Any:
    empty = equal(a, 0)
    return g * where(empty, 0.0, exponent * _root(where(empty, 1.0, a), exponent=exponent - 1))


_root.defvjp(_root_vjp)


@primitive("opaque")
def _cumsum(xp: Any, a: Array, *, axis: int, out: Any = None) -> Any:
    return xp.cumsum(a, axis=axis, out=out)


_cumsum.defvjp(lambda g, y, a, axis: _flip(_cumsum(_flip(g, axes=(axis,)), axis=axis), axes=(axis,)))


@primitive("opaque", saves=("a", "y"))
def _cumprod(xp: Any, a: Array, *, axis: int, out: Any = None) -> Any:
    return xp.cumprod(a, axis=axis, out=out)


def _cumprod_vjp(g: Any, y: Any, a: Any, axis: int) -> Any:
    """The product before each element times d, where d[i] = g[i] + a[i + 1] * d[i + 1]. Nothing is divided (elements
    may be 0): in round k every d takes in 2 ** k more of those behind it (Hillis and Steele, 1986).

    Where d overflows, another form stands in, unless y underflows: the sum of g * y from the element on, divided by the
    element."""
    n = a.shape[axis]

    def moved(t: Any, start: int, stop: int, before: int, after: int, value: float) -> Any:
        widths = tuple((before, after) if i == axis else (0, 0) for i in range(a.ndim))
        return _pad(t[(slice(None),) * axis + (slice(start, stop),)], widths=widths, value=value)

    d, factors, step = g, moved(a, 1, n, 0, builtins.min(n, 1), 0.0), 1
    while step < n:
        d = d + _product(factors, moved(d, step, n, 0, step, 0.0))
        factors = _product(factors, moved(factors, step, n, 0, step, 0.0))
        step *= 2
    before = moved(y, 0, builtins.max(n - 1, 0), builtins.min(n, 1), 0, 1.0)
    found = _product(before, d)
    total = _flip(_cumsum(_flip(g * y, axes=(axis,)), axis=axis), axes=(axis,))
    last = y[(slice(None),) * axis + (slice(-1, None),)]  # NaN if an element is
    zero = equal(a, 0)
    underflow = _any(equal(y, 0) & not_equal(a, 0) & not_equal(before, 0), axes=(axis,), keepdims=True)
    return where((isfinite(found) | zero | underflow) & equal(last, last), found, total / where(zero, 1.0, a))


def _product(a: Any, b: Any) -> Any:
    """a * b, but 0 where one is 0 and the other has overflowed."""
    return _tamed(a, b) * _tamed(b, a)


def _tamed(a: Any, b: Any) -> Any:
    return where(isfinite(a), a, where(equal(b, 0), 0.0, a))


_cumprod.defvjp(_cumprod_vjp)


@primitive("opaque", expects="at least one element to choose from")
def _argmax(xp: Any, a: Array, *, axis: int | None, keepdims: bool, out: Any = None) -> Any:
    return xp.argmax(a, axis=axis, keepdims=keepdims, out=out)


@primitive("opaque", expects="at least one element to choose from")
def _argmin(xp: Any, a: Array, *, axis: int | None, keepdims: bool, out: Any = None) -> Any:
    return xp.argmin(a, axis=axis, keepdims=keepdims, out=out)


# What users call


def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The sum over axes.

    >>> import tinygrad_edu as tg
    >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    return _sum(x, axes=normalize_axes("sum", axis, x), keepdims=keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The arithmetic mean over axes."""
    return _mean(x, axes=normalize_axes("mean", axis, x), keepdims=keepdims)


def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The largest element over axes; ties share the gradient. Raises ShapeError if there is none."""
    return _max(x, axes=normalize_axes("max", axis, x), keepdims=keepdims)


def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The smallest element over axes; ties share the gradient. Raises ShapeError if there is none."""
    return _min(x, axes=normalize_axes("min", axis, x), keepdims=keepdims)


def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The product over axes. Its gradients are exact where elements are 0."""
    return _prod(x, axes=normalize_axes("prod", axis, x), keepdims=keepdims)


def var(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The variance over axes: the sum of squared distances from the mean, over their number less `ddof`.

    Raises ShapeError if there are not more than `ddof` elements.
    """
    axes = normalize_axes("var", axis, x)
    if count(x.shape, axes) <= ddof:
        raise ShapeError(message("var", f"more than {ddof} elements to reduce", f"{count(x.shape, axes)}"))
    return _var(x, axes=axes, keepdims=keepdims, ddof=ddof)


def std(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The square root of `var`. Its gradient is 0 where all values are equal."""
    return _root(var(x, axis, keepdims, ddof), exponent=0.5)


def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over axes, without overflow."""
    return _logsumexp(x, axes=normalize_axes("logsumexp", axis, x), keepdims=keepdims)


def norm(x: Any, axis: Axes = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm of order `ord` > 0 (math.inf for the largest magnitude) of the elements over axes, taken as a vector.

    The gradient of the norm of zeros is 0. Of float16 it is computed in float32, for squares of 256 are not in float16.
    Raises ValueError for an order that is not positive.
    """
    axes = normalize_axes("norm", axis, x)
    if not ord > 0:
        raise ValueError(message("norm", "an order above 0", f"{ord}"))
    if x.dtype == "float16":
        return cast(norm(cast(x, "float32"), axes, keepdims, ord), "float16")
    if ord == math.inf:
        return _max(absolute(x), axes=axes, keepdims=keepdims)
    if ord == 1:
        return _sum(absolute(x), axes=axes, keepdims=keepdims)
    powers = square(x) if ord == 2 else _root(absolute(x), exponent=ord)
    return _root(_sum(powers, axes=axes, keepdims=keepdims), exponent=1.0 / ord)


def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether any element over axes is true."""
    return _any(x, axes=normalize_axes("any", axis, x), keepdims=keepdims)


def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether all elements over axes are true."""
    return _all(x, axes=normalize_axes("all", axis, x), keepdims=keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int64) of the first largest element along an axis, or in the flattened array."""
    return _argmax(x, axis=None if axis is None else normalize_axis("argmax", axis, x), keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int64) of the first smallest element along an axis, or in the flattened array."""
    return _argmin(x, axis=None if axis is None else normalize_axis("argmin", axis, x), keepdims=keepdims)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """The sums of the elements up to each along an axis, or in the flattened array."""
    return _cumsum(ravel(x), axis=0) if axis is None else _cumsum(x, axis=normalize_axis("cumsum", axis, x))


def cumprod(x: Any, axis: int | None = None) -> Any:
    """The products of the elements up to each along an axis, or in the flattened array.

    Its gradients are exact where elements are 0. Products that the dtype cannot hold do not make a gradient infinite or
    NaN that it could hold, but for that of the first 0, where products underflow too, and for second derivatives.
    """
    return _cumprod(ravel(x), axis=0) if axis is None else _cumprod(x, axis=normalize_axis("cumprod", axis, x))
