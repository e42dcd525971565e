"""Indexing, gathering and scattering; sorting."""

from __future__ import annotations

import math
from typing import Any

import numpy

from .. import ops
from .sample import S0, B, R, Row, S, V, Z


def _put(x: Any, key: Any, values: Any) -> Any:
    y = x.copy()
    y[tuple(key) if isinstance(key, tuple) else key] = values
    return y


def _scatter_add(x: Any, key: Any, values: Any) -> Any:
    y = x.copy()
    numpy.add.at(y, key, values)
    return y


def _argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    if descending:
        x = -x  # of floats and integers this is exact
    return numpy.argsort(x, axis=axis, kind="stable")


def _sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    y = numpy.sort(x, axis=axis)
    return numpy.flip(y, axis) if descending else y


def _topk(x: Any, k: int, axis: int = -1) -> Any:
    first = (slice(None),) * (axis % x.ndim) + (slice(0, k),)
    return _sort(x, axis, descending=True)[first], _argsort(x, axis, descending=True)[first]


TIED = V([[3.0, 1.0, 3.0, 1.0, 2.0], [0.0, -0.0, 0.0, 0.0, -1.0]])
SORTING = (
    S(R(2, 5)),
    S(R(3, 2), axis=0),
    S(R(2, 3, 2), axis=1, descending=True),
    S(R(1), descending=True),
    S(R(0, 3)),
    S(R(2, 0), descending=True),
    S(R(4, 3, layout="T"), axis=0),
    S(R(5, layout="S"), descending=True),
    S(Z(2, 6)),
    S(Z(2, 6), descending=True),
    S0(TIED),
    S0(TIED, descending=True),
    S0(V([1.0, math.inf, -math.inf, 0.0])),
)
ALL = slice(None)
KEYS: tuple[tuple[tuple[int, ...], Any], ...] = (  # (shape, key)
    ((2, 3), 1),
    ((2, 3), (0, -1)),
    ((2, 3), (ALL, slice(0, 2))),
    ((4, 3), slice(None, None, -2)),
    ((2, 3), (..., 1)),
    ((2, 3), (None, ALL, None, 0)),
    ((2, 3, 2), (1, ..., slice(1, None))),
    ((3,), slice(3, None)),
    ((), ()),
    ((), ...),
    ((4, 2), V([0, 2, 3])),
    ((4, 2), V([[0, 2], [-1, 1]])),
    ((4, 3), (V([0, 2]), V([1, -1]))),
    ((4, 3), (V([[0], [2]]), V([1, 0]))),
    ((2, 3, 4), (ALL, V([2, 0]), slice(1, 3))),
    ((2, 3, 4), (V([1, 0]), ALL, V([3, 0]))),
    ((2, 3, 4), (1, ALL, V([3, 0]))),
    ((3, 2), V([True, False, True])),
    ((2, 3), V([[True, False, True], [False, False, True]])),
    ((2, 3), (ALL, V([True, False, True]))),
    ((2, 3), V([[False] * 3] * 2)),
    ((3,), [2, 0]),
    ((3, 2), [True, False, True]),
    ((3, 2), []),
    ((0, 2), (slice(None), 1)),
    ((2, 3), (V(1), ALL)),
)
REPEATING = (((4, 2), V([0, 2, 0])), ((3,), V([[1, 1], [1, 0]])), ((2, 3), (V([1, 1]), V([2, -1]))))

ROWS = (
    Row(
        "getitem",
        ops.indexing.getitem,
        lambda x, key: x[key],
        (
            *(S(R(*shape), key) for shape, key in (*KEYS, *REPEATING)),
            S(R(4, 3, layout="T"), (V([0, 2, 0]), slice(1, None))),
            S(R(2, 5, layout="S"), (ALL, slice(1, None, 2))),
            S(Z(2, 3), (ALL, V([0, 2, 0]))),
            S(B(3), 1),
        ),
    ),
    Row(
        "take",
        ops.take,
        numpy.take,
        (
            S(R(4, 2), V([0, 2, 0]), axis=0),
            S(R(2, 3), V([[0, -1], [1, 1]]), axis=1),
            S(R(2, 3), V([5, 0])),
            S(R(2, 3), 1, axis=-1),
            S(R(2, 3), [0, 0], axis=0),
            S(R(3), Z(0, low=0, high=1)),
            S(R(4, 3, layout="T"), V([1, 1]), axis=1),
            S(Z(4), V([1, 1])),
        ),
    ),
    Row(
        "take_along_axis",
        ops.take_along_axis,
        numpy.take_along_axis,
        (
            S(R(2, 3), V([[0, 0], [2, -1]]), axis=1),
            S(R(3, 2), V([[0, 2]]), axis=0),
            S(R(2, 3, 2), Z(2, 1, 2, low=0, high=2), axis=-2),
            S(R(0, 3), Z(0, 2, low=0, high=2), axis=1),
            S(R(3, 4, layout="T"), V([[0, 0], [1, 3], [2, 2]]), axis=1),
        ),
    ),
    Row(
        "scatter_add",
        ops.scatter_add,
        _scatter_add,
        (
            S(R(4, 2), V([0, 2, 0]), R(3, 2)),
            S(R(4, 2), V([0, 2, 0]), R(2)),
            S(R(3), V([[1, 1], [1, 0]]), R(2, 2)),
            S(R(2, 3), (V([1, 1]), V([2, -1])), R(2)),
            S(R(2, 3), (ALL, V([0, 0])), R(2, 1)),
            S(R(2, 3), (slice(None), 1), R(2)),
            S(R(2, 3), V([[True, False, True], [False] * 3]), R(2)),
            S(R(3), V([0, 0]), 2.0),
            S(R(), (), R()),
            S(R(0, 2), (ALL, 1), R(0)),
            S(R(3, 4, layout="T"), V([1, 1]), R(2, 4, layout="S")),
            S(Z(3), V([1, 1]), Z(2)),
        ),
    ),
    Row(
        "index_put",
        ops.index_put,
        _put,
        (
            S(R(4, 2), V([0, 2]), R(2, 2)),
            S(R(4, 2), V([3, 0]), R(2)),
            S(R(2, 3), (ALL, V([True, False, True])), R(2, 2)),
            S(R(2, 3), V([[True, False, True], [False] * 3]), R(2)),
            S(R(2, 3), (..., 1), R(2)),
            S(R(2, 3), (0, slice(1, None)), R()),
            S(R(3), 1, R()),
            S(R(3), slice(1, None), 5.0),
            S(R(3), V([0, -1]), 2),
            S(R(0, 2), (ALL, 1), R(0)),
            S(R(3, 4, layout="T"), V([2, 1]), R(2, 4, layout="S")),
            S(Z(3), V([1, 0]), Z(2)),
            S0(R(3), V([1]), V([math.inf])),
        ),
    ),
    Row(
        "one_hot",
        ops.one_hot,
        lambda ids, depth, dtype="float64": numpy.eye(depth, dtype=dtype)[ids],
        (
            S(Z(2, 3, low=0, high=3), 4),
            S(V(2), 3),
            S(Z(0, low=0, high=1), 3),
            S(V([1, 0]), 2, dtype="float64"),
            S(V([1, 0]), 2, dtype="int64"),
        ),
        order=0,
    ),
    Row("sort", ops.sort, _sort, SORTING),
    Row("argsort", ops.argsort, _argsort, SORTING, order=0),
    Row(
        "topk",
        ops.topk,
        _topk,
        (
            S(R(2, 5), 2),
            S(R(4, 2), 3, axis=0),
            S(R(2, 3, 2), 1, axis=1),
            S(R(3), 3),
            S(R(3), 0),
            S(R(0, 3), 2),
            S(R(4, 3, layout="T"), 2),
            S(Z(2, 6), 4),
            S0(TIED, 3),
            S(R(2, 17), 2),
            S(Z(16, 3), 2, axis=0),
        ),
    ),
    Row(
        "searchsorted",
        ops.searchsorted,
        numpy.searchsorted,
        (
            S(V([-1.0, 0.0, 0.5, 2.0]), R(2, 3)),
            S(V([0.0, 0.0, 1.0]), V([0.0, 1.0, -1.0, 2.0])),
            S(V([0.0, 0.0, 1.0]), V([0.0, 1.0, -1.0, 2.0]), side="right"),
            S(V([1, 3, 3]), Z(4, low=0, high=4)),
            S(R(0), R(3)),
            S(V([0.5]), R(0, 2)),
        ),
        order=0,
    ),
)
