"""The rows of a data set on two sides, those to train on and those to test on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import check_integer, check_number, message

Split = tuple[tuple[Any, Any], tuple[Any, Any]]
"""(x_train, y_train), (x_test, y_test)."""


def split(x: Any, y: Any, test_fraction: float, seed: int) -> Split:
    """Rows in random order, that share of them on the test side."""
    test_fraction, seed = _checked(test_fraction, seed)
    count = round(test_fraction * len(x))
    if not 0 < count < len(x):
        found = f"{test_fraction!r}, which puts {count} of {len(x)} rows there"
        raise ValueError(message("load_data", "test_fraction to leave rows on the test side and the other", found))
    order = np.random.default_rng(seed).permutation(len(x))
    return _sides(x, y, order[count:], order[:count])


def stratified_split(x: Any, labels: Any, test_fraction: float, seed: int) -> Split:
    """Rows in random order; every class gives the same share of its rows to the test side."""
    test_fraction, seed = _checked(test_fraction, seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = round(test_fraction * len(members))
        if not 0 < count < len(members):
            raise ValueError(
                message(
                    "load_data",
                    "test_fraction to leave rows of every class on the test side and on the other",
                    f"{test_fraction!r}, which puts {count} of the {len(members)} rows of class {label} there",
                )
            )
        held_out[members[:count]] = True
    return _sides(x, labels, order[~held_out[order]], order[held_out[order]])


def _checked(test_fraction: Any, seed: Any) -> tuple[float, int]:
    share = check_number("load_data", "test_fraction", test_fraction, "between 0 and 1", lambda v: 0 < v < 1)
    return share, check_integer("load_data", "seed", seed, 0)


def _sides(x: Any, y: Any, train: Any, test: Any) -> Split:
    return (x[train], y[train]), (x[test], y[test])
