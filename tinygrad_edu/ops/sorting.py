"""Sorting. All of it is stable: equal elements keep their order, and NaN counts as larger than any number."""

from __future__ import annotations

from typing import Any

import numpy

from ..autograd import check_array, primitive
from ..backend import Array, array_module
from ..errors import ShapeError, check_integer, choice, message
from .indexing import gather_along, raw
from .shape import check_arrays, moveaxis, normalize_axis


@primitive("opaque")
def _argsort(xp: Any, a: Array, *, axis: int, descending: bool) -> Array:
    if not descending:
        return xp.argsort(a, axis=axis, kind="stable")
    backward = tuple(slice(None, None, -1) if i == axis else slice(None) for i in range(a.ndim))
    return (a.shape[axis] - 1 - xp.argsort(a[backward], axis=axis, kind="stable"))[backward]


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The indices (int64) that sort `x` along an axis, those of equal elements in ascending order.

    >>> import tinygrad_edu as tg
    >>> tg.argsort(tg.tensor([2.0, 0.0, 2.0, 1.0]), descending=True)
    tensor([0, 2, 3, 1], dtype=int64)
    """
    return _argsort(x, axis=normalize_axis("argsort", axis, x), descending=bool(descending))


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The elements in ascending order along an axis. The gradient goes back to where each came from."""
    axis = normalize_axis("sort", axis, x)
    return gather_along(x, argsort(x, axis, descending), axis)


@primitive("opaque")
def _largest(xp: Any, a: Array, *, k: int) -> Array:
    """The indices of the k largest along the last axis, in descending order: sorts those only."""
    least = numpy.partition(a, -k, axis=-1)[..., -k, None]  # the smallest of them; NaN is beyond all numbers
    nan, least_is_nan = a != a, least != least
    larger = (a > least) | (nan & ~least_is_nan)
    equal = (a == least) | (nan & least_is_nan)
    first = equal.cumsum(axis=-1) <= k - larger.sum(axis=-1, keepdims=True)
    indices = (larger | (equal & first)).nonzero()[-1].reshape(*a.shape[:-1], k)
    found = numpy.take_along_axis(a, indices, axis=-1)
    order = _argsort.forward(xp, found, axis=a.ndim - 1, descending=True)
    return numpy.take_along_axis(indices, order, axis=-1)


def topk(x: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The `k` largest elements along an axis, the largest first, of equal ones the first; and their indices (int64).

    Raises ShapeError if there are fewer than `k`.

    >>> import tinygrad_edu as tg
    >>> tg.topk(tg.tensor([1.0, 3.0, 2.0]), 2)
    (tensor([3., 2.]), tensor([1, 2], dtype=int64))
    """
    axis = normalize_axis("topk", axis, x)
    if check_integer("topk", "k", k, 0) > x.shape[axis]:
        raise ShapeError(message("topk", f"at least {k} elements along axis {axis}", f"shape {x.shape}"))
    if 0 < 8 * k <= x.shape[axis] and array_module(raw(x)) is numpy:
        indices = moveaxis(_largest(moveaxis(x, axis, -1), k=k), -1, axis)
    else:
        indices = argsort(x, axis, descending=True)[(slice(None),) * axis + (slice(0, k),)]
    return gather_along(x, indices, axis), indices


@primitive("opaque")
def _searchsorted(xp: Any, a: Array, values: Array, *, side: str) -> Array:
    return xp.searchsorted(a, values, side=side)


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where each of `values` belongs in an ascending sequence: an index (int64) from 0 to its length.

    That is before the elements equal to it if `side` is "left", behind them if it is "right". There is no gradient.
    NaN counts as larger than any number. Raises ShapeError unless the sequence is 1-D, ValueError if it is not
    ascending or for another `side`.

    >>> import tinygrad_edu as tg
    >>> tg.searchsorted(tg.tensor([1.0, 2.0, 4.0]), tg.tensor([0.0, 2.0, 9.0]))
    tensor([0, 1, 3], dtype=int64)
    """
    check_arrays("searchsorted", sorted_sequence, values)
    if sorted_sequence.ndim != 1:
        raise ShapeError(message("searchsorted", "a 1-D sequence", f"shape {sorted_sequence.shape}"))
    if side not in ("left", "right"):
        raise choice("searchsorted", "side", side, ("left", "right"))
    check_array(raw(sorted_sequence), _check_ascending)
    return _searchsorted(sorted_sequence, values, side=side)


def _check_ascending(sequence: Array) -> None:
    before, after = sequence[:-1], sequence[1:]
    if not bool(((before <= after) | (after != after)).all()):  # NaN comes last, as in `sort`
        raise ValueError(message("searchsorted", "an ascending sequence", "another order", "use tg.sort first."))
