"""class_weight: the weights of rows by their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy

from ..backend import Device, array_module, device_of, to_device
from ..errors import ShapeError, check_cast, check_integer, check_number, message
from ..losses import check_probabilities, check_values

Rows = tuple[Any, Any, Any]
"""Inputs, targets and sample weights as `fit` uses them: checked, cast, on the model's device; trees of arrays or
None."""


class Target(NamedTuple):
    """Where a model's data go (None: they stay where they are, to be sent as one), and the dtype of floats among
    them."""

    device: Device | None
    dtype: numpy.dtype[Any]


def weigh_classes(
    where: str, y: Any, weight: Any, class_weight: Any, output_shape: tuple[int, ...], dtype: Any, whole: bool
) -> tuple[Any, Any]:
    """The targets, and the weights of their rows by class as well: for ids, one column of them, or one-hot targets. The
    ids of the `whole` data tell how many classes there are, if the output does not.

    Raises ValueError for targets that are no classes and for a class that the model does not have.
    """
    where = f"{where} class_weight"
    if not isinstance(class_weight, Mapping):
        expected = "class_weight to be a dict of class ids and weights of at least 0"
        raise TypeError(message(where, expected, kind_of(class_weight)))
    if y.ndim > 2:
        raise ShapeError(message(where, "one target a row", f"targets of shape {y.shape}"))
    if y.ndim == 2 and y.shape[1] > 1:
        check_probabilities(where, y, "targets", sums=True, hint="rows of several labels have no one class.")
        ids, classes = y.argmax(axis=-1), y.shape[1]
    else:
        ids = y.reshape(-1)
        check_values(where, "targets that are whole class ids", ids, lambda xp, ids: xp.trunc(ids) == ids)
        outputs = output_shape[-1] if output_shape else 1
        classes = outputs if outputs > 1 else max(2, int(ids.max()) + 1) if whole else 2**63
    factors = array_module(y).ones(ids.shape, dtype="float64")
    for key, value in class_weight.items():
        key = check_integer(where, "each class", key, 0)
        if key >= classes:
            raise ValueError(message(where, f"classes from 0 to {classes - 1}", f"{key}"))
        factors[ids == key] = check_number(where, f"class_weight[{key}]", value, "of at least 0", lambda v: v >= 0)
    if weight is not None:
        factors = factors * to_device(weight, device_of(y))
    return y, check_cast(where, "weights", factors, dtype)


def kind_of(value: Any) -> str:
    """The type of a value, and the value itself if it is short."""
    return f"{type(value).__name__} {value!r}" if len(repr(value)) < 60 else type(value).__name__
