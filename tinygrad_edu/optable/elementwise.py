"""Element-wise operations, activation functions included."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from scipy import special

from .. import ops
from .sample import S0, B, Draw, R, Row, S, Sample, V, Z

INF, NAN = math.inf, math.nan

UNARY = (
    S(R(2, 3)),
    S(R()),
    S(R(0)),
    S(R(2, 0, 3)),
    S(R(4, 3, layout="T")),
    S(R(5, layout="S")),
    S(R(2, 3, 2, layout="N")),
    S(R(1, 7)),
    S(Z(2, 3)),
    S(Z()),
)

BINARY = (
    S(R(2, 3), R(3)),
    S(R(3), R(2, 3)),
    S(R(2, 1), R(1, 3)),
    S(R(2, 3), R(2, 3)),
    S(R(), R(2, 2)),
    S(R(2, 2), R()),
    S(R(), R()),
    S(R(0, 3), R(3)),
    S(R(2, 0), R(2, 1)),
    S(R(3, 2, layout="T"), R(3, 2, layout="S")),
    S(R(2, 3, 2), R(3, 1)),
    S(R(2, 3), 2.0),
    S(2.0, R(2, 3)),
    S(R(2), 2),
    S(Z(2, 3), Z(3)),
    S(Z(2, 3), R(3)),
    S(R(3), Z(2, 3)),
    S(Z(3), 1.5),
)

BOOLEANS = (S(B(2, 3), B(3)), S(B(), B(2)), S(B(0, 3), B(3)), S(R(3), V([0.0, 1.0, 0.0])), S(Z(2, 3), B(3)))


def unary(name: str, reference: Callable[..., Any], *more: Sample, low: float = -2.0, high: float = 2.0) -> Row:
    return Row(name, getattr(ops, name), reference, UNARY + more, domain=(low, high))


def binary(name: str, reference: Callable[..., Any], *more: Sample, low: float = -2.0, high: float = 2.0) -> Row:
    return Row(name, getattr(ops, name), reference, BINARY + more, domain=(low, high))


def logical(name: str, reference: Callable[..., Any], *more: Sample, samples: tuple[Sample, ...] = BINARY) -> Row:
    return Row(name, getattr(ops, name), reference, samples + more, order=0)


def _where_arguments(x: Any) -> Any:
    return numpy.asarray(x, dtype="float64") if isinstance(x, float) else x


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return numpy.where(x > 0, x, alpha * numpy.expm1(numpy.minimum(x, 0.0)))


def _gelu(x: Any, approximate: bool = False) -> Any:
    if approximate:
        return 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


def _sparse_plus(x: Any) -> Any:
    return numpy.where(x >= 1, x, numpy.where(x <= -1, 0.0, (x + 1) ** 2 / 4))


def _gated(x: Any, axis: int) -> tuple[Any, Any]:
    a, b = numpy.split(x, 2, axis)
    return a, special.expit(b)


FAR = V([-1000.0, -30.0, -0.0, 30.0, 1000.0])  # where naive formulas overflow or lose everything
ODD = V([0.0, -0.0, 1.0, INF, -INF, NAN])

ROWS = (
    # arithmetic
    binary("add", numpy.add),
    binary("subtract", numpy.subtract),
    binary("multiply", numpy.multiply),
    binary("divide", numpy.divide, S(2, R(2)), low=0.3, high=3.0),
    binary(
        "power",
        numpy.power,
        *(S(R(2, 2, low=-2.0, high=-0.5), exponent) for exponent in (0, 1, 2, 3, -1, -2, 2.0)),
        S(V([0.0, -1.0, 2.0]), 2),
        S(V([0.0, 1.5, 2.0]), 3.0),
        S(V([0.0, -1.0, 2.0]), 1),
        S(R(3, low=-2.0, high=-0.5), Z(2, 3, low=0, high=3)),
        S(R(3), 0.5),
        S(R(3), V([0.0, 1.0, 2.0])),
        S(R(3), R(2, 3, low=-2.0, high=2.0)),
        S(2, R(3)),
        S(Z(3), 2),
        low=0.3,
        high=2.5,
    ),
    unary("negative", numpy.negative),
    unary("absolute", numpy.absolute),
    unary("sign", numpy.sign, S(V([-0.5, 0.0, 2.0]))),
    unary("square", numpy.square),
    unary("sqrt", numpy.sqrt, low=0.2, high=3.0),
    unary("reciprocal", lambda x: 1.0 / x, low=0.4, high=3.0),
    # exponentials, logarithms, trigonometry
    unary("exp", numpy.exp),
    unary("expm1", numpy.expm1, S(V([1e-5, -1e-5]))),
    unary("log", numpy.log, low=0.3, high=3.0),
    unary("log1p", numpy.log1p, S(V([1e-5, -1e-5])), low=-0.7, high=3.0),
    unary("log2", numpy.log2, low=0.3, high=3.0),
    binary(
        "logaddexp",
        numpy.logaddexp,
        S(V([1000.0, -1000.0]), V([1001.0, -1000.0])),
        S0(V([0.0, -0.0, 1.0, INF, -INF]), V([[-INF], [1.0]])),
    ),
    unary("sin", numpy.sin, low=-4.0, high=4.0),
    unary("cos", numpy.cos, low=-4.0, high=4.0),
    unary("tan", numpy.tan, low=-1.3, high=1.3),
    unary("arcsin", numpy.arcsin, low=-0.9, high=0.9),
    unary("arccos", numpy.arccos, low=-0.9, high=0.9),
    unary("arctan", numpy.arctan),
    binary("arctan2", numpy.arctan2, S(R(4), V([-1.0, -2.0, 1.0, 0.5]))),
    unary("sinh", numpy.sinh),
    unary("cosh", numpy.cosh),
    unary("tanh", numpy.tanh, S(FAR)),
    unary("erf", special.erf, S(FAR)),
    # extremes, rounding, selection
    binary("maximum", numpy.maximum),
    binary("minimum", numpy.minimum),
    binary("heaviside", numpy.heaviside, S(V([[0], [1], [-1]]), R(3)), S(V([0, 0]), R())),
    unary("floor", numpy.floor),
    unary("ceil", numpy.ceil),
    unary("round", numpy.rint, S0(V([-1.5, -0.5, 0.5, 1.5, 2.5]))),
    Row(
        "where",
        ops.where,
        lambda condition, a, b: numpy.where(condition, _where_arguments(a), _where_arguments(b)),
        (
            S(B(2, 3), R(2, 3), R(3)),
            S(B(3), R(2, 1), R(2, 3)),
            S(B(), R(3), R()),
            S(B(2, 1), R(), R(1, 3)),
            S(B(0, 3), R(3), R(0, 3)),
            S(B(3, 2), R(3, 2, layout="T"), R(3, 2, layout="S")),
            S(B(3, 2), R(3, 2, layout="T"), 0.0),
            S(B(3), 1.0, R(2, 3)),
            S(B(3), 1, R(3)),
            S(B(3), 1.0, 2.0),
            S(B(3), Z(3), Z(2, 3)),
            S(B(3), Z(3), R(3)),
            S(Z(2, 3), R(3), R(3)),
            S0(B(2), R(2), V([NAN, INF])),
        ),
    ),
    Row(
        "clip",
        ops.clip,
        numpy.clip,
        (
            S(R(3, 3), -1.0, 1.0),
            S(R(5), None, 0.5),
            S(R(5), -0.5, None),
            S(R(2, 3), 0, 1),
            S(R(), -1.0, 1.0),
            S(R(0, 2), -1.0, 1.0),
            S(R(4, 3, layout="T"), -1.0, 1.0),
            S(R(2, 3), R(3, low=-2.0, high=-1.0), R(2, 1, low=1.0, high=1.5)),
            S(R(5), R(2, 5, low=-1.5, high=-0.5), 1.0),
            S(Z(2, 3), -1, 1),
        ),
    ),
    Row(
        "astype",
        ops.astype,
        lambda x, dtype: x.astype(dtype),
        (
            S(R(2, 3), dtype="float64"),
            S(R(), dtype="float64"),
            S(Z(2, 3), dtype="float32"),
            S(B(3), dtype="float64"),
            S0(R(0, 2), dtype="float32"),
            S0(R(3), dtype="float16"),
            S0(R(2, 3), dtype="int64"),
            S0(R(2, 3), dtype="bool"),
        ),
    ),
    Row("zeros_like", ops.zeros_like, numpy.zeros_like, UNARY, order=0),
    Row("ones_like", ops.ones_like, numpy.ones_like, UNARY, order=0),
    # comparisons and logic
    *(
        logical(name, getattr(numpy, name), S(V([1.0, 2.0, NAN]), V([1.0, 1.0, NAN])), S(V([0.0]), V([-0.0])))
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ),
    *(logical(name, getattr(numpy, name), samples=BOOLEANS) for name in ("logical_and", "logical_or", "logical_xor")),
    logical("logical_not", numpy.logical_not, S(B(2, 3)), S(V([0.0, 1.0])), samples=UNARY),
    *(logical(name, getattr(numpy, name), S(ODD), samples=UNARY) for name in ("isfinite", "isnan", "isinf")),
    # activation functions
    unary("sigmoid", special.expit, S(FAR), low=-6.0, high=6.0),
    unary("log_sigmoid", special.log_expit, S(FAR), low=-6.0, high=6.0),
    unary("softplus", lambda x: numpy.logaddexp(0.0, x), S(FAR), low=-6.0, high=6.0),
    unary("relu", lambda x: numpy.maximum(x, 0)),
    unary(
        "leaky_relu",
        lambda x, negative_slope=0.2: numpy.where(x > 0, x, negative_slope * x),
        S(R(2, 3), negative_slope=0.01),
        S(R(2, 3), 0.0),
    ),
    unary("elu", _elu, S(R(2, 3), alpha=0.5), S(FAR)),
    unary("selu", lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772), S(FAR)),
    unary("gelu", _gelu, S(R(2, 3), approximate=True), S(Z(3), approximate=True), S(FAR), S(FAR, approximate=True)),
    unary("silu", lambda x: x * special.expit(x), S(FAR), low=-4.0, high=4.0),
    unary("mish", lambda x: x * numpy.tanh(numpy.logaddexp(0.0, x)), S(FAR), low=-4.0, high=4.0),
    unary("softsign", lambda x: x / (1 + numpy.abs(x)), S(FAR)),
    unary("relu6", lambda x: numpy.clip(x, 0, 6), low=-4.0, high=10.0),
    unary("hard_tanh", lambda x: numpy.clip(x, -1, 1)),
    unary("hard_sigmoid", lambda x: numpy.clip(x + 3.0, 0, 6) / 6, S(FAR), low=-6.0, high=6.0),
    unary("hard_swish", lambda x: x * numpy.clip(x + 3.0, 0, 6) / 6, S(FAR), low=-6.0, high=6.0),
    unary("tanh_shrink", lambda x: x - numpy.tanh(x), S(FAR)),
    unary("soft_shrink", lambda x, t=0.5: numpy.sign(x) * numpy.maximum(numpy.abs(x) - t, 0), S(R(2, 3), 1.0)),
    unary("hard_shrink", lambda x, t=0.5: x * (numpy.abs(x) > t) * 1.0, S(R(2, 3), 1.0)),
    Row(
        "threshold",
        ops.threshold,
        lambda x, threshold, default_value: numpy.where(x > threshold, x, default_value),
        (
            S(R(2, 3), 0.5, -1.0),
            S(R(), 0.0, 1.0),
            S(R(0, 2), 0.0, 1.0),
            S(R(4, 3, layout="T"), 0.0, 2),
            S(Z(2, 3), 0, 7),
        ),
    ),
    unary("celu", lambda x, alpha=1.0: alpha * _elu(x / alpha), S(R(2, 3), alpha=0.5), S(FAR)),
    unary("sparse_plus", _sparse_plus, S(FAR)),
    unary("squareplus", lambda x, b=4.0: (x + numpy.sqrt(x * x + b)) / 2, S(R(2, 3), b=1.0), S(FAR)),
    Row(
        "prelu",
        ops.prelu,
        lambda x, alpha: numpy.where(x > 0, x, alpha * x),
        tuple(s for s in BINARY if isinstance(s.args[0], Draw)),
    ),
    Row(
        "glu",
        ops.glu,
        lambda x, axis=-1: numpy.multiply(*_gated(x, axis)),
        (S(R(2, 4)), S(R(2, 3), axis=0), S(R(0, 2)), S(R(4, 3, layout="T"), axis=0), S(R(2, 4, 3), 1), S(Z(4))),
    ),
)
