"""Rows split into parts for training and testing, once or in folds; sizes are scikit-learn's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy

from ..backend import Generator, default_generator
from ..errors import ShapeError, check_bool, check_integer, message
from .elements import as_element, count_rows, rows_of
from .streams import CPU


def train_test_split(
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    shuffle: bool = True,
    stratify: Any = None,
    seed: int | None = None,
) -> list[Any]:
    """Each array's rows, split in two in the same way: [x_train, x_test, y_train, y_test] for x and y.

    Args:
        arrays: with as many rows; lists and tensors become NumPy arrays, tuples and dicts of arrays stay such.
        test_size, train_size: a share of the rows (a float in (0, 1)), or how many. The test part is rounded up, the
            train part down. If one is not given it is the rest; if both, a quarter is for the test.
        shuffle: whether rows are drawn; if not, the last ones are for the test.
        stratify: labels (rows,). Each class has the share of each part that it has of all, as near as whole rows
            can.
        seed: a number for the draw, in place of the package's generator.

    Raises ShapeError for lengths that differ, ValueError for sizes that leave a part empty, or stratified without a row
    for each class.

    >>> import numpy as np
    >>> train, test = train_test_split(np.arange(5), test_size=2, shuffle=False)
    >>> train, test
    (array([0, 1, 2]), array([3, 4]))
    """
    where = "train_test_split"
    if not arrays:
        raise TypeError(message(where, "at least one array", "none"))
    elements = tuple(as_element(where, array) for array in arrays)
    rows = count_rows(where, elements)
    train, test = _sizes(where, rows, test_size, train_size)
    seed = _seed(where, seed)
    if not check_bool(where, "shuffle", shuffle):
        if stratify is not None:
            raise ValueError(message(where, "shuffle=True with stratify", "shuffle=False"))
        parts = [numpy.arange(train), numpy.arange(train, train + test)]
    elif stratify is not None:
        parts = _stratified(where, _classes(where, stratify, rows), train, test, seed)
    else:
        order = _permutation(rows, seed)
        parts = [order[test : test + train], order[:test]]
    return [rows_of(element, part) for element in elements for part in parts]


def _sizes(where: str, rows: int, test_size: Any, train_size: Any) -> tuple[int, int]:
    counts: list[int | None] = []
    for name, size, rounded in (("test_size", test_size, math.ceil), ("train_size", train_size, math.floor)):
        expected = f"{name} to be a share in (0, 1) or a number of rows from 1 to {rows - 1}"
        if size is None:
            counts.append(None)
        elif isinstance(size, bool) or not isinstance(size, Real):
            raise TypeError(message(where, expected, repr(size)))
        elif isinstance(size, Integral) and 0 < int(size) < rows:
            counts.append(int(size))
        elif not isinstance(size, Integral) and 0 < float(size) < 1:
            counts.append(rounded(float(size) * rows))
        else:
            raise ValueError(message(where, expected, repr(size)))
    if isinstance(test_size, float) and isinstance(train_size, float) and test_size + train_size > 1:
        raise ValueError(message(where, "shares of at most 1 in sum", f"{test_size} and {train_size}"))
    test, train = counts
    if test is None:
        test = math.ceil(0.25 * rows) if train is None else rows - train
    if train is None:
        train = rows - test
    if train < 1 or test < 1 or train + test > rows:
        raise ValueError(message(where, f"sizes for {rows} rows with a row in each part", f"{train} and {test}"))
    return train, test


def _stratified(where: str, classes: Any, train: int, test: int, seed: int | None) -> list[Any]:
    counts = numpy.bincount(classes)
    if counts.min() < 2 or min(train, test) < len(counts):
        found = f"{counts.min()} rows of one class, {len(counts)} classes and {train} and {test} rows in the parts"
        raise ValueError(message(where, "at least 2 rows of each class, and parts with a row for each", found))
    for_train = _shares(counts, train)
    for_test = _shares(counts - for_train, test)
    order = _permutation(len(classes), seed)
    members = [order[classes[order] == number] for number in range(len(counts))]
    chosen = numpy.zeros(len(classes), "int64")
    for rows, a, b in zip(members, for_train, for_test, strict=True):
        chosen[rows[:a]] = 1
        chosen[rows[a : a + b]] = 2
    return [order[chosen[order] == part] for part in (1, 2)]


def _shares(counts: Any, total: int) -> Any:
    """`total` in parts proportional to the counts: whole numbers by the largest remainders, in the order of classes
    where these are equal."""
    exact = counts * total  # over sum(counts), which is left out: whole numbers are exact
    shares, remainders = exact // counts.sum(), exact % counts.sum()
    shares[numpy.argsort(-remainders, kind="stable")[: total - shares.sum()]] += 1
    return shares


class KFold:
    """Splits rows into `n_splits` parts as equal as can be; each is the test set once, and all others the train set.

    Args:
        shuffle: whether rows are drawn for the parts at each `split`; if not, a part is a run of rows.
        seed: a number for the draw, in place of the package's generator.

    >>> for train, test in KFold(3).split([10, 11, 12, 13]):
    ...     print(train, test)
    [2 3] [0 1]
    [0 1 3] [2]
    [0 1 2] [3]
    """

    def __init__(self, n_splits: int = 5, shuffle: bool = False, seed: int | None = None):
        self.where = type(self).__name__
        self.n_splits = check_integer(self.where, "n_splits", n_splits, 2)
        self.shuffle = check_bool(self.where, "shuffle", shuffle)
        self.seed = _seed(self.where, seed)

    def split(self, x: Any, y: Any = None) -> Iterator[tuple[Any, Any]]:
        """Pairs of the numbers of the rows (int64, ascending) for training and for testing.

        Raises ValueError for fewer rows than parts.
        """
        rows = count_rows(self.where, as_element(self.where, x))
        if rows < self.n_splits:
            raise ValueError(message(self.where, f"at least n_splits={self.n_splits} rows", f"{rows}"))
        folds = self._folds(rows, y)
        return ((numpy.flatnonzero(folds != fold), numpy.flatnonzero(folds == fold)) for fold in range(self.n_splits))

    def _folds(self, rows: int, y: Any) -> Any:
        """The number of the part in which each row is for testing."""
        sizes = numpy.full(self.n_splits, rows // self.n_splits)
        sizes[: rows % self.n_splits] += 1
        order = _permutation(rows, self.seed) if self.shuffle else numpy.arange(rows)
        folds = numpy.empty(rows, "int64")
        folds[order] = numpy.arange(self.n_splits).repeat(sizes)
        return folds


class StratifiedKFold(KFold):
    """`KFold` in which each class has as equal a number of rows in every part as can be.

    `split(x, y)` needs the labels (rows,). It raises ValueError if a class has fewer rows than there are parts, where
    scikit-learn warns.

    >>> for train, test in StratifiedKFold(2).split([10, 11, 12, 13], ["a", "a", "b", "b"]):
    ...     print(train, test)
    [1 3] [0 2]
    [0 2] [1 3]
    """

    def _folds(self, rows: int, y: Any) -> Any:
        if y is None:
            raise TypeError(message(self.where, "labels: split(x, y)", "y=None"))
        classes = _classes(self.where, y, rows)
        counts = numpy.bincount(classes)
        if counts.min() < self.n_splits:
            raise ValueError(message(self.where, f"at least {self.n_splits} rows of each class", f"{counts.min()}"))
        # Classes in the order in which they first come, their rows dealt out in turn.
        ordered = numpy.sort(classes)
        dealt = [numpy.bincount(ordered[fold :: self.n_splits], minlength=len(counts)) for fold in range(self.n_splits)]
        order = _permutation(rows, self.seed) if self.shuffle else numpy.arange(rows)
        folds = numpy.empty(rows, "int64")
        for number in range(len(counts)):
            sizes = [counts_of_fold[number] for counts_of_fold in dealt]
            folds[order[classes[order] == number]] = numpy.arange(self.n_splits).repeat(sizes)
        return folds


def _classes(where: str, labels: Any, rows: int) -> Any:
    """The class of each row, as whole numbers in the order in which classes first come."""
    labels = numpy.asarray(as_element(where, labels))
    if labels.shape != (rows,):
        hint = "y.argmax(axis=-1) makes labels of one-hot rows." if labels.ndim == 2 else ""
        raise ShapeError(message(where, f"labels of shape ({rows},)", f"shape {labels.shape}", hint))
    if labels.dtype.kind == "f" and bool((labels != numpy.floor(labels)).any()):
        raise ValueError(message(where, "labels of classes", "numbers that are not whole"))
    _, firsts, numbers = numpy.unique(labels, return_index=True, return_inverse=True)
    return numpy.argsort(numpy.argsort(firsts))[numbers]


def _seed(where: str, seed: int | None) -> int | None:
    return None if seed is None else check_integer(where, "seed", seed, 0)


def _permutation(count: int, seed: int | None) -> Any:
    return (default_generator if seed is None else Generator(seed)).permutation(count, CPU)
