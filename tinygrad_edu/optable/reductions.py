"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from .. import ops
from .sample import S0, B, R, Row, S, Sample, V, Z

# Every reduction works on these; those below need something to choose from, or not.
COMMON = (
    S(R(2, 3), axis=-1),
    S(R(2, 3)),
    S(R()),
    S(R(3), axis=0, keepdims=True),
    S(R(2, 3, 2), axis=(0, 2)),
    S(R(2, 3, 2), axis=(-1, 0), keepdims=True),
    S(R(2, 3, 2), axis=1),
    S(R(2, 3), axis=(0, 1), keepdims=True),
    S(R(0, 3), axis=1),
    S(R(3, 0, 2), axis=(0, 2), keepdims=True),
    S(R(4, 3, layout="T"), axis=0),
    S(R(2, 5, layout="S"), axis=1),
    S(R(2, 3, 2, layout="N"), axis=[1, 2]),
    S(Z(2, 3), axis=0),
    S(Z(2, 3)),
)
NOTHING = (S(R(0, 3), axis=0), S(R(0)), S(R(2, 3), axis=()))
ONE_AXIS = (
    S(R(2, 3), axis=-1),
    S(R(2, 3)),
    S(R()),
    S(R(2, 3, 2), axis=1),
    S(R(0, 3), axis=1),
    S(R(4, 3, layout="T"), axis=0),
    S(R(2, 5, layout="S"), axis=1),
    S(Z(2, 3), axis=0),
    S(Z(4)),
)
KEPT = (S(R(2, 3), axis=0, keepdims=True), S(R(2, 3), keepdims=True), S(V([1.0, 3.0, 3.0, 0.0, 0.0])))


def reduction(name: str, reference: Callable[..., Any], *more: Sample, **options: Any) -> Row:
    samples = options.pop("samples", COMMON)
    return Row(name, getattr(ops, name), _tuple_axes(reference), samples + more, **options)


def _tuple_axes(reference: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy takes several axes as a tuple only."""

    def call(x: Any, axis: Any = None, **keywords: Any) -> Any:
        return reference(x, axis=tuple(axis) if isinstance(axis, list) else axis, **keywords)

    return call


def _norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    if ord == math.inf:
        return numpy.max(numpy.abs(x), axis=axis, keepdims=keepdims)
    return numpy.sum(numpy.abs(x) ** float(ord), axis=axis, keepdims=keepdims) ** (1.0 / ord)


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for i in axes:
        x = numpy.logaddexp.reduce(x, axis=i, keepdims=True)
    return x if keepdims else numpy.squeeze(x, axis=axes)


ROWS = (
    reduction("sum", numpy.sum, *NOTHING, S(B(2, 3), axis=0)),
    reduction("mean", numpy.mean, S(B(2, 3), axis=0), S(R(2, 3), axis=())),
    reduction("prod", numpy.prod, *NOTHING, S(V([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]), axis=1)),
    reduction("max", numpy.max, S(R(2, 3), axis=())),
    reduction("min", numpy.min, S(R(2, 3), axis=())),
    reduction(
        "var", numpy.var, S(R(2, 3), axis=1, ddof=1), S(R(2, 3, 2), axis=(0, 2), ddof=1, keepdims=True), slack=16.0
    ),
    reduction(
        "std",
        numpy.std,
        S(R(2, 3), axis=1, ddof=1),
        S(R(2, 3, 2), axis=(0, 2), ddof=1, keepdims=True),
        samples=tuple(s for s in COMMON if s.args != (R(),)),  # its gradient is infinite at variance 0
        slack=16.0,
    ),
    reduction(
        "logsumexp",
        _logsumexp,
        S(V([1000.0, 1000.0, 999.0])),
        S0(V([[-math.inf, 0.0], [-math.inf, -math.inf], [math.inf, 0.0]]), axis=1),
        S0(V([-math.inf, -math.inf])),
    ),
    reduction(
        "norm",
        _norm,
        *(S(R(2, 3), axis=1, ord=order) for order in (1, 2, 3, 2.5, 4, math.inf)),
        S(R(2, 3), ord=math.inf, keepdims=True),
        S(R(0, 3), axis=0),
        slack=16.0,
    ),
    reduction("any", numpy.any, S(B(2, 3), axis=1), S(B()), S(B(0, 2), axis=0), order=0),
    reduction("all", numpy.all, S(B(2, 3), axis=1), S(B()), S(B(0, 2), axis=0), order=0),
    reduction("argmax", numpy.argmax, *KEPT, samples=ONE_AXIS, order=0),
    reduction("argmin", numpy.argmin, *KEPT, samples=ONE_AXIS, order=0),
    reduction("cumsum", numpy.cumsum, S(R(2, 0), axis=1), S(R(0)), samples=ONE_AXIS),
    reduction(
        "cumprod",
        numpy.cumprod,
        S(R(2, 0), axis=1),
        S(R(0)),
        S(R(5)),
        S(V([[0.0, 2.0, 3.0, -1.0], [2.0, 0.0, 0.0, 3.0], [1.0, 2.0, 3.0, 0.0]]), axis=1),
        samples=ONE_AXIS,
        slack=16.0,
    ),
)
