"""Rows for training: arrays checked once, then cut into batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import array_module, default_generator, device_of
from ..errors import ShapeError, check_cast, message


def as_rows(where: str, name: str, value: Any, dtype: Any = None) -> Any:
    """`value` (a tensor, an array, nested lists) as an array with at least one row, cast to `dtype` if given.

    Raises TypeError for what is not numbers, ShapeError for no rows or rows of different lengths, ValueError for NaN
    and inf, and for numbers that the dtype cannot hold.
    """
    array = value.data if isinstance(value, Tensor) else value
    if not hasattr(array, "dtype") or array_module(array) is numpy:
        try:
            array = numpy.asarray(array)
        except ValueError as error:
            raise ShapeError(message(where, f"{name} with rows of one shape", str(error))) from None
    if array.dtype.kind not in "fiub":
        found, hint = f"dtype {array.dtype}", ""
        if array.ndim == 0:
            one = array.item()
            found = type(one).__name__
            if isinstance(one, Iterator):
                hint = "make an array of what it gives."
            elif isinstance(one, Mapping):
                hint = "pass one of its arrays, for there is one input."
            elif callable(one):
                hint = "call it."
        raise TypeError(message(where, f"{name} to be an array of numbers", found, hint))
    if array.ndim == 0 or array.shape[0] == 0:
        raise ShapeError(message(where, f"{name} with at least one row", f"shape {array.shape}"))
    if array.dtype.kind == "f" and not is_finite(array):
        finite = array_module(array).isfinite(array)
        bad = int((~finite.reshape(len(array), -1).all(axis=1)).sum())
        hint = "clean the data first, for example with numpy.nan_to_num."
        raise ValueError(message(where, f"{name} of finite numbers", f"NaN or inf in {bad} of {len(array)} rows", hint))
    return array if dtype is None else check_cast(where, name, array, dtype)


def is_finite(array: Any) -> bool:
    """Whether all numbers are. If the sum of their squares is, which BLAS finds fastest, they are."""
    if isinstance(array, numpy.ndarray) and math.isfinite(numpy.vdot(array, array)):
        return True
    return bool(array_module(array).isfinite(array).all())


def check_lengths(where: str, **arrays: Any) -> None:
    """Raises ShapeError unless all arrays (None aside) have as many rows."""
    lengths = {name: array.shape[0] for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"len({name}) = {length}" for name, length in lengths.items())
        raise ShapeError(message(where, f"{' and '.join(lengths)} with as many rows", found))


class Batches:
    """Iterates over the rows of several arrays, some of which may be None, in batches; the last one may be short.

    Args:
        arrays: on one device, with as many rows.
        shuffle: whether each pass draws a new order from the package's generator.

    >>> import numpy as np
    >>> [x.tolist() for x, none in Batches((np.arange(5), None), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, arrays: tuple[Any, ...], batch_size: int, shuffle: bool = False):
        self.arrays, self.batch_size, self.shuffle = arrays, batch_size, shuffle
        self.rows = arrays[0].shape[0]

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if not self.shuffle:
            yield from _batches_of(self.arrays, self.rows, self.batch_size)
            return
        order = default_generator.permutation(self.rows, device_of(self.arrays[0]))
        row = sum(array.nbytes // self.rows for array in self.arrays if array is not None)
        at_once = self.batch_size * max(1, GATHERED // max(1, row * self.batch_size))  # rows of several batches
        for start in range(0, self.rows, at_once):
            rows = order[start : start + at_once]
            gathered = [None if array is None else array.take(rows, axis=0) for array in self.arrays]
            yield from _batches_of(gathered, rows.shape[0], self.batch_size)


GATHERED = 2**18
"""Bytes that are brought into the new order at once, if a batch has less."""


def _batches_of(arrays: Sequence[Any], rows: int, size: int) -> Iterator[tuple[Any, ...]]:
    for start in range(0, rows, size):
        part = slice(start, start + size)
        yield tuple([None if array is None else array[part] for array in arrays])
