"""Indexing: reading parts of an array, and the same parts written into a new one (gather and scatter are each other's
gradient).

A key such as `x[1:, ids]` is taken apart into a template of static values, which is an attribute, and its index
arrays, which are arguments. CuPy wraps indices that are out of bounds in silence, so there they are checked here.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy

from ..autograd import Tensor, primitive
from ..backend import Array, array_module, device_of, to_device
from ..errors import ShapeError, message
from ..state import state
from .elementwise import where
from .shape import broadcast_to, normalize_axis, ravel

Template = tuple[Any, ...]


class _Slice(tuple[Any, ...]):
    """(start, stop, step): a slice that can be hashed."""


def _take_apart(x: Any, key: Any) -> tuple[Template, list[Array]]:
    """The template of a key, with ("array",) in place of each index array, and those arrays. Raises as indexing
    does."""
    parts = [_part(x, part) for part in (key if isinstance(key, tuple) else (key,))]
    used = sum(_consumed(part) for part in parts)
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if used > x.ndim or len(dots) > 1:
        expected = f"at most {x.ndim} indices and one ... for shape {x.shape}"
        raise IndexError(message("x[key]", expected, f"{used} indices, {len(dots)} ..."))
    template: list[Any] = []
    arrays: list[Array] = []
    axis = 0
    for part in parts:
        if part is Ellipsis:
            template += [_Slice((None, None, None))] * (x.ndim - used)
            axis += x.ndim - used - 1
        elif not hasattr(part, "dtype"):
            template.append(part)
        elif part.dtype.kind == "b":
            if part.shape != x.shape[axis : axis + part.ndim]:
                expected = f"a mask of shape {x.shape[axis : axis + part.ndim]}"
                raise IndexError(message("x[key]", expected, f"{part.shape}"))
            found = part.nonzero()
            template += [("array",)] * len(found)
            arrays += found
        else:
            if array_module(part) is not numpy:  # CuPy would wrap what is out of bounds
                check_indices("x[key]", part, x.shape[axis], negative=True)
            template.append(("array",))
            arrays.append(part)
        axis += _consumed(part) or part is Ellipsis
    return tuple(template), arrays


def _consumed(part: Any) -> int:
    """How many axes an index stands for."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if hasattr(part, "dtype") and part.dtype.kind == "b" else 1


def _part(x: Any, part: Any) -> Any:
    """One index: None, ..., an int, a _Slice, or an array of integers or booleans on the device of `x`."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return _Slice(None if n is None else operator.index(n) for n in (part.start, part.stop, part.step))
    if isinstance(part, (int, numpy.integer)) and not isinstance(part, bool):
        return int(part)
    array = part.data if isinstance(part, Tensor) else part
    if isinstance(array, list):
        array = numpy.asarray(array, dtype=None if array else numpy.int64)
    kind = getattr(getattr(array, "dtype", None), "kind", type(array).__name__)
    if kind not in ("i", "u", "b") or (kind == "b" and array.ndim == 0):
        expected = "integers, slices, None, ... and arrays of integers or booleans"
        raise TypeError(message("x[key]", expected, f"dtype {array.dtype}" if hasattr(array, "dtype") else kind))
    if array.ndim == 0:
        return int(array)
    target = device_of(x.data if isinstance(x, Tensor) else x)
    return to_device(array, target) if array_module(array) is numpy else array


def _put_together(template: Template, arrays: tuple[Array, ...] = ()) -> tuple[Any, ...]:
    remaining = iter(arrays)
    return tuple(
        slice(*part) if isinstance(part, _Slice) else next(remaining) if part == ("array",) else part
        for part in template
    )


def check_indices(where: str, indices: Array, size: int, negative: bool = False) -> None:
    """Raises IndexError if an index is not below `size`, or is negative where that has no meaning. Waits for the
    device."""
    if indices.size == 0:
        return
    lowest = -size if negative else 0
    low, high = int(indices.min()), int(indices.max())
    if low < lowest or high >= size:
        raise IndexError(message(where, f"indices from {lowest} to {size - 1}", f"{high if high >= size else low}"))


# The primitives


@primitive("view", label="x[key]", expects="a key that fits the axes")
def _basic_index(xp: Any, a: Array, *, key: Template) -> Array:
    return a[_put_together(key)]


@primitive("opaque")
def _basic_scatter(xp: Any, a: Array, *, key: Template, shape: tuple[int, ...]) -> Array:
    y = xp.zeros(shape, dtype=a.dtype)
    y[_put_together(key)] = a
    return y


_basic_index.defvjp(lambda g, y, a, key: _basic_scatter(g, key=key, shape=a.shape))
_basic_scatter.defvjp(lambda g, y, a, key, shape: _basic_index(g, key=key))


@primitive("opaque", saves=("indices",), label="x[key]", expects="indices that fit the axes")
def _gather(xp: Any, a: Array, *indices: Array, key: Template) -> Array:
    return a[_put_together(key, indices)]


@primitive("opaque", saves=("indices",))
def _scatter(xp: Any, a: Array, *indices: Array, key: Template, shape: tuple[int, ...]) -> Array:
    y = xp.zeros(shape, dtype=a.dtype)
    xp.add.at(y, _put_together(key, indices), a)
    return y


_gather.defvjp(lambda g, y, a, *indices, key: _scatter(g, *indices, key=key, shape=a.shape))
_scatter.defvjp(lambda g, y, a, *indices, key, shape: _gather(g, *indices, key=key))


@primitive("opaque", expects="integer ids")
def _one_hot(xp: Any, ids: Array, *, depth: int, dtype: Any) -> Array:
    return (ids[..., None] == xp.arange(depth)).astype(dtype)


# What users call


def getitem(x: Any, key: Any) -> Any:
    """`x[key]`: integers, slices, None, `...`, and arrays or lists of integers or booleans, as in NumPy.

    Raises IndexError for an index out of bounds or too many of them, TypeError for another kind of index.
    """
    template, arrays = _take_apart(x, key)
    return _gather(x, *arrays, key=template) if arrays else _basic_index(x, key=template)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The parts of `x` at `indices` along an axis, or of the flattened array; indices may repeat and be negative.

    >>> import tinygrad_edu as tg
    >>> tg.take(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 1, 0], axis=0)
    tensor([[3., 4.],
            [3., 4.],
            [1., 2.]])
    """
    if axis is None:
        return getitem(ravel(x), indices)
    return getitem(x, (slice(None),) * normalize_axis("take", axis, x) + (indices,))


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """For each position of `indices` the element of `x` there, with the index replacing the position along `axis`."""
    axis = normalize_axis("take_along_axis", axis, x)
    indices = _part(x, indices)
    if getattr(indices, "ndim", 0) != x.ndim:
        raise ShapeError(message("take_along_axis", f"indices with {x.ndim} axes", f"{getattr(indices, 'shape', ())}"))
    xp = array_module(indices)
    key = []
    for i, n in enumerate(x.shape):
        lengths = tuple(n if j == i else 1 for j in range(x.ndim))
        key.append(indices if i == axis else xp.arange(n).reshape(lengths))
    return getitem(x, tuple(key))


def scatter_add(x: Any, key: Any, values: Any) -> Any:
    """A copy of `x` with `values` added at `x[key]`; where an index repeats, all of its values are added.

    >>> import tinygrad_edu as tg
    >>> tg.scatter_add(tg.zeros((3,)), [0, 2, 2], tg.ones((3,)))
    tensor([1., 0., 2.])
    """
    template, arrays, values, _ = _destination("scatter_add", x, key, values)
    return x + _scatter(values, *arrays, key=template, shape=x.shape)


def index_put(x: Any, key: Any, values: Any) -> Any:
    """A copy of `x` with `values` in place of `x[key]`. Raises ValueError if an index repeats: it is unclear which
    value stays.

    >>> import tinygrad_edu as tg
    >>> tg.index_put(tg.zeros((3,)), slice(1, None), 5.0)
    tensor([0., 5., 5.])
    """
    template, arrays, values, mask = _destination("index_put", x, key, values)
    if arrays and int(mask.sum()) != values.size:
        raise ValueError(message("index_put", "each index once", "repeated ones", "scatter_add adds repeated values."))
    return where(mask, _scatter(values, *arrays, key=template, shape=x.shape), x)


def _destination(name: str, x: Any, key: Any, values: Any) -> tuple[Template, list[Array], Any, Array]:
    """The key taken apart, the values broadcast to its shape, and a mask of the elements that it names."""
    template, arrays = _take_apart(x, key)
    xp = array_module(x.data if isinstance(x, Tensor) else x)
    mask = xp.zeros(x.shape, dtype=bool)
    place = _put_together(template, tuple(arrays))
    try:
        mask[place] = True
    except IndexError as error:
        raise IndexError(message(name, f"a key that fits the axes of {x.shape}", f"{key}", f"{error}")) from None
    shape = mask[place].shape
    if not hasattr(values, "dtype"):
        values = xp.asarray(values, dtype=x.dtype)
    elif not isinstance(values, Tensor) and isinstance(x, Tensor):
        values = Tensor(to_device(values, x.device) if xp is not numpy else values)
    if values.dtype != x.dtype:
        raise TypeError(message(name, f"values of dtype {x.dtype}", str(values.dtype), "use .astype()."))
    return template, arrays, broadcast_to(values, shape), mask


def one_hot(ids: Any, depth: int, dtype: Any = None) -> Any:
    """A new last axis of length `depth`, with 1 at the id and 0 elsewhere.

    `ids` are integers from 0 to depth - 1, of any shape. Raises IndexError for others, TypeError if they are not
    integers.

    >>> import tinygrad_edu as tg
    >>> tg.one_hot(tg.tensor([0, 2]), 3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    array = ids.data if isinstance(ids, Tensor) else ids
    if getattr(getattr(array, "dtype", None), "kind", "") not in ("i", "u"):
        raise TypeError(
            message("one_hot", "ids of an integer dtype", str(getattr(array, "dtype", type(array).__name__)))
        )
    check_indices("one_hot", array, depth)
    return _one_hot(ids, depth=operator.index(depth), dtype=numpy.dtype(dtype or state.dtype))
