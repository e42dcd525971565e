"""Sums over leading axes, which NumPy is slow at."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy

LEAST = 1 << 12
"""Elements from which on a matrix product is faster than NumPy's sum."""


def sum_over(a: Any, axes: tuple[int, ...], keepdims: bool = False, out: Any = None) -> Any:
    """`a.sum(axes)`.

    Over the leading axes NumPy adds up row by row, and for each starts a loop anew: over 65536 rows of 16 numbers it
    takes 1.5 ms, the product with a row of ones 0.06, and that rounds less.
    """
    count = len(axes)
    plain = type(a) is numpy.ndarray and a.size >= LEAST and a.dtype.char in "fd" and a.flags.c_contiguous
    if not plain or not 0 < count < a.ndim or axes != tuple(range(count)) or prod(a.shape[count:]) == 1:
        return a.sum(axis=axes, keepdims=keepdims, out=out)
    rows = prod(a.shape[:count])
    y = (numpy.ones(rows, a.dtype) @ a.reshape(rows, -1)).reshape((1,) * count * keepdims + a.shape[count:])
    if out is None:
        return y
    out[...] = y
    return out
