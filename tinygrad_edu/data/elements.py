"""Elements of data: NumPy arrays, or nested tuples and dicts of them. How they are made, read by row, and combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import to_host
from ..errors import ShapeError, check_cast, message
from ..tree import leaves, mapped

Order = range | numpy.ndarray
"""The numbers of rows, in the order in which they come."""

KINDS = "fiubSU"
"""The dtypes of elements: numbers and texts."""


def as_element(where: str, value: Any) -> Any:
    """`value` with each leaf as a NumPy array, or a NumPy scalar if it is 0-d. Tuples and dicts are branches; tensors
    and all else, lists too, are leaves.

    Raises TypeError for leaves that are no numbers or texts, ShapeError for lists with rows of different lengths.
    """
    is_array = type(value) is numpy.ndarray or isinstance(value, numpy.generic)
    if is_array and value.dtype.kind in KINDS:  # most are
        return value[()]
    if isinstance(value, dict):
        return {key: as_element(where, branch) for key, branch in value.items()}
    if isinstance(value, tuple):
        branches = [as_element(where, branch) for branch in value]
        return type(value)(*branches) if hasattr(value, "_fields") else tuple(branches)
    value = value.data if isinstance(value, Tensor) else value
    try:
        array = numpy.asarray(to_host(value) if hasattr(value, "dtype") else value)
    except ValueError as error:
        hint = "a list counts as one array; several arrays are a tuple or a dict."
        raise ShapeError(message(where, "rows of one shape", str(error), hint)) from None
    if array.dtype.kind not in KINDS:
        found = type(value).__name__ if array.ndim == 0 else f"an array of dtype {array.dtype}"
        raise TypeError(message(where, "elements of numbers or texts, or tuples and dicts of them", found))
    return array[()]


def frozen(element: Any) -> Any:
    """Views that cannot be written to: for what is handed out more than once."""

    def view(leaf: Any) -> Any:
        if isinstance(leaf, numpy.ndarray):
            leaf = leaf.view()
            leaf.flags.writeable = False
        return leaf

    return mapped(view, element)


def count_rows(where: str, element: Any) -> int:
    """How many rows all arrays of the element have. Raises ShapeError where they differ or there is none."""
    shapes = [leaf.shape for leaf in leaves(element)]
    if not shapes or len({shape[:1] for shape in shapes}) > 1 or () in shapes:
        raise ShapeError(message(where, "arrays with as many rows", f"shapes {', '.join(map(str, shapes))}"))
    return int(shapes[0][0])


def rows_of(arrays: Any, order: Order) -> Any:
    """Those rows of every array: views where the order is a range, else copies."""
    if isinstance(order, range):
        part = slice(order.start, order.stop, order.step)
        return mapped(lambda array: array[part], arrays)
    return mapped(lambda array: array.take(order, axis=0), arrays)


def call(function: Callable[..., Any], element: Any) -> Any:
    """The function's value; the parts of a tuple are its arguments."""
    return function(*element) if isinstance(element, tuple) else function(element)


def combined(where: str, join: Callable[..., Any], elements: Sequence[Any], *options: Any) -> Any:
    """One element, made of several of the same form: `join(leaves, *options)` of the leaves in each place.

    An option is one value for all places, or a tree of the elements' form. Raises ValueError for other forms.
    """
    first = elements[0]
    form = _form(first)
    if any(_form(element) != form for element in elements):
        forms = dict.fromkeys(str(mapped(lambda leaf: None, element)) for element in elements)
        raise ValueError(message(where, "elements of one form", " and ".join(forms).replace("None", "array")))
    if form is None:
        return join(elements, *options)
    for option in options:
        if _form(option) not in (None, form):
            raise ValueError(message(where, "an option for all elements or in their form", repr(option)))

    def branch(key: Any) -> Any:
        chosen = [option if _form(option) is None else option[key] for option in options]
        return combined(where, join, [element[key] for element in elements], *chosen)

    if isinstance(first, dict):
        return {key: branch(key) for key in first}
    branches = map(branch, range(len(first)))
    return type(first)(*branches) if hasattr(first, "_fields") else tuple(branches)


def _form(tree: Any) -> Any:
    """The keys of a dict, the length of a tuple, None for a leaf."""
    return set(tree) if isinstance(tree, dict) else len(tree) if isinstance(tree, tuple) else None


def stacked(where: str, elements: Sequence[Any]) -> Any:
    """The elements as rows of a batch. Raises ShapeError for arrays of different shapes."""

    def stack(arrays: Sequence[Any]) -> Any:
        try:
            batch = numpy.array(arrays)
        except ValueError:
            shapes = " and ".join(dict.fromkeys(str(array.shape) for array in arrays))
            hint = "pad sequences of unequal length (Dataset.padded_batch), crop or resize images."
            raise ShapeError(message(where, "elements of one shape", shapes, hint)) from None
        _check_kinds(where, arrays, batch.dtype)
        return batch

    return combined(where, stack, elements)


def padded(where: str, elements: Sequence[Any], shapes: Any, values: Any, length: int | None = None) -> Any:
    """The elements as rows of a batch, padded at the end of each axis.

    Args:
        shapes: a list of sizes for every leaf; where it is None, or holds None, the largest size is taken, or, if it is
            given, `length`: without a list for the first axis only.
        values: the value of the padding for every leaf; None means 0, or "" in texts.
    """

    def pad(arrays: Sequence[Any], shape: Sequence[int | None] | None, value: Any) -> Any:
        if len({array.ndim for array in arrays}) > 1:
            found = " and ".join(dict.fromkeys(str(array.shape) for array in arrays))
            raise ShapeError(message(where, "elements with as many axes", f"shapes {found}"))
        largest = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
        if shape is None:
            wanted: list[int | None] = [length if axis == 0 else None for axis in range(len(largest))]
        else:
            wanted = [length if size is None else size for size in shape]
        if len(wanted) != len(largest) or any(
            size is not None and size < most for size, most in zip(wanted, largest, strict=True)
        ):
            raise ShapeError(message(where, f"elements that fit into {wanted}", f"shape {tuple(largest)}"))
        sizes = [most if size is None else size for size, most in zip(wanted, largest, strict=True)]
        batch: Any = numpy.zeros((len(arrays), *sizes), numpy.result_type(*arrays))
        _check_kinds(where, arrays, batch.dtype)
        if value is not None:
            batch[...] = check_cast(where, "padding_values", numpy.asarray(value), batch.dtype)
        for i, array in enumerate(arrays):
            batch[(i, *map(slice, array.shape))] = array
        return batch

    return combined(where, pad, elements, shapes, values)


def _check_kinds(where: str, arrays: Sequence[Any], dtype: Any) -> None:
    """NumPy makes texts of numbers that stand beside texts."""
    if dtype.kind in "US" and any(array.dtype.kind != dtype.kind for array in arrays):
        raise TypeError(message(where, "either texts or numbers", "both"))
