"""New tensors: constants, and random numbers, made here by NumPy's own Philox."""

from __future__ import annotations

import math
from typing import Any

import numpy

from .. import ops
from .sample import SEED, R, Row, S


def _bits(shape: tuple[int, ...]) -> Any:
    size = math.prod(shape)
    return numpy.random.Philox(key=[SEED, 0]).random_raw(size + 4).view(numpy.uint32)[:size].reshape(shape)


def _uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Any:
    return (_bits(shape) >> 8) / 2**24 * (high - low) + low


def _normal(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> Any:
    size = math.prod(shape)
    first, second = (_bits((2, (size + 1) // 2)) >> 8) / 2**24
    radius, angle = numpy.sqrt(-2 * numpy.log(first + 2.0**-24)), 2 * math.pi * second
    return numpy.append(radius * numpy.cos(angle), radius * numpy.sin(angle))[:size].reshape(shape) * std + mean


def _integers(shape: tuple[int, ...], low: int, high: int) -> Any:
    words = numpy.random.Philox(key=[SEED, 0]).random_raw(math.prod(shape)).reshape(shape)
    return (words % (high - low)).astype("int64") + low


def _permutation(count: int) -> Any:
    return numpy.argsort(numpy.random.Philox(key=[SEED, 0]).random_raw(count))


def _dropout(x: Any, rate: float) -> Any:
    return x * (_bits(x.shape) / 2**32 >= rate) / (1 - rate)


ROWS = (
    Row("full", ops.full, numpy.full, (S((2, 3), 1.5), S((), 2.0), S((0, 2), 1.0), S(3, 7, dtype="int64")), order=0),
    Row("zeros", ops.zeros, numpy.zeros, (S((2, 3)), S(()), S((0, 2)), S((2,), dtype="float64")), order=0),
    Row("ones", ops.ones, numpy.ones, (S((2, 3)), S(()), S((0, 2)), S((2,), dtype="bool")), order=0),
    Row("eye", ops.eye, numpy.eye, (S(3), S(2, 3), S(0), S(3, 2, dtype="int64")), order=0),
    Row(
        "arange",
        ops.arange,
        numpy.arange,
        (S(4), S(1, 5), S(5, 1, -2), S(0.0, 1.0, 0.25), S(0), S(2.5), S(3, dtype="float64")),
        order=0,
    ),
    Row("linspace", ops.linspace, numpy.linspace, (S(0.0, 1.0, 5), S(2, -2, 3), S(1.0, 2.0, 1), S(0, 1, 0)), order=0),
    Row("uniform", ops.uniform, _uniform, (S((2, 3)), S(()), S((0,)), S((5,), -2.0, 3.0)), order=0, random=True),
    Row("normal", ops.normal, _normal, (S((2, 3)), S(()), S((0,)), S((5,), 1.0, 0.5)), order=0, random=True),
    Row("integers", ops.integers, _integers, (S((2, 3), 0, 10), S((), -5, 5), S((0,), 0, 2)), order=0, random=True),
    Row("permutation", ops.permutation, _permutation, (S(10), S(1), S(0)), order=0, random=True),
    Row(
        "dropout",
        ops.dropout,
        _dropout,
        (S(R(3, 4), 0.5), S(R(9), 0.1), S(R(), 0.3), S(R(0, 2), 0.5), S(R(4, 3, layout="T"), 0.25), S(R(3), 0.0)),
        random=True,
    ),
)
