"""What is drawn, checked and brought to the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import array_module, to_host
from ..errors import ShapeError, message

HostArray = numpy.ndarray[Any, Any]


def numbers(where: str, name: str, value: Any, form: str, *ndims: int) -> HostArray:
    """Tensors, arrays or nested lists of finite numbers as one NumPy array with one of these numbers of axes.

    Raises TypeError for what is no number, ShapeError for another form or nothing at all, ValueError for NaN and inf.
    """
    try:
        array = numpy.asarray(_on_host(value))
    except ValueError as error:
        raise ShapeError(message(where, f"{name} to be one array {form}", str(error))) from None
    if array.dtype.kind not in "fiub":
        found = type(value).__name__ if array.ndim == 0 else f"dtype {array.dtype}"
        raise TypeError(message(where, f"{name} to be an array of numbers", found))
    if (ndims and array.ndim not in ndims) or array.size == 0:
        raise ShapeError(message(where, f"{name} of shape {form}", f"shape {array.shape}"))
    if not numpy.isfinite(array).all():
        count = int((~numpy.isfinite(array)).sum())
        raise ValueError(message(where, f"{name} of finite numbers", f"NaN or inf in {count} of {array.size}"))
    return array


def _on_host(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_on_host(part) for part in value]
    value = value.data if isinstance(value, Tensor) else value
    return to_host(value) if array_module(value) is not numpy else value


def pairs(where: str, name: str, value: Any) -> HostArray:
    """Points in the plane, (n, 2)."""
    points = numbers(where, name, value, "(n, 2)", 2)
    if points.shape[1] != 2:
        raise ShapeError(message(where, f"{name} of shape (n, 2)", f"shape {points.shape}"))
    return points


def class_ids(where: str, name: str, value: Any, rows: int | None = None) -> HostArray:
    """Whole numbers (n,) or (n, 1), as many as `rows`, as int64 (n,)."""
    ids = numbers(where, name, value, "(n,)", 1, 2)
    if ids.ndim == 2 and ids.shape[1] != 1:
        hint = "class ids of scores or one-hot rows are their .argmax(axis=-1)."
        raise ShapeError(message(where, f"{name} to be class ids (n,)", f"shape {ids.shape}", hint))
    ids = ids.reshape(-1)
    wrong = ids[(ids != numpy.trunc(ids)) | (ids < 0)]
    if wrong.size:
        hint = "class ids of probabilities are (p > 0.5) or p.argmax(axis=-1)." if wrong[0] > 0 else ""
        raise ValueError(message(where, f"{name} to be whole class ids from 0", f"{wrong[0]}", hint))
    if rows is not None and len(ids) != rows:
        raise ShapeError(message(where, f"{name} with {rows} class ids", f"{len(ids)}"))
    return ids.astype("int64")


def texts(where: str, name: str, values: Any, count: int | None = None) -> list[str]:
    """Labels as texts, as many as there are things to be labelled; a string is a list of its letters."""
    if not isinstance(values, Iterable):
        raise TypeError(message(where, f"{name} to be a list of texts", repr(values)))
    found = [str(value) for value in values]
    if count is not None and len(found) != count:
        raise ValueError(message(where, f"{count} {name}", f"{len(found)}"))
    return found


def named_arrays(where: str, name: str, value: Any, such_as: str) -> dict[str, Any]:
    """What is passed by name: a dict with at least one entry."""
    if not isinstance(value, Mapping):
        raise TypeError(message(where, f"{name} to be a dict, such as {such_as}", type(value).__name__))
    if not value:
        raise ValueError(message(where, f"at least one entry in {name}, such as {such_as}", "none"))
    return {str(key): part for key, part in value.items()}
