"""Indexing: reading parts of an array, and the same parts written into a new one (gather and scatter are each other's
gradient).

A key such as `x[1:, ids]` is taken apart into a template of static values, which is an attribute, and its index
arrays, which are arguments. CuPy wraps indices that are out of bounds in silence, so there they are checked here, and
so they are for recorded steps.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy

from ..autograd import HostNumber, Tensor, cast, check_array, check_range, primitive
from ..backend import Array, array_module, device_of, to_device
from ..errors import DeviceError, ShapeError, check_cast, message
from ..kernels.registry import compiled
from ..state import state
from .elementwise import greater, ones_like, where
from .shape import broadcast_to, normalize_axis, ravel

Template = tuple[Any, ...]


class _Slice(tuple[Any, ...]):
    """(start, stop, step): a slice that can be hashed."""


_WHOLE = _Slice((None, None, None))


def _take_apart(x: Any, key: Any) -> tuple[Template, list[Any]]:
    """The template of a key, with ("array",) in place of each index array, and those arrays: Tensors stay Tensors.

    Raises as indexing does.
    """
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
            template += [_WHOLE] * (x.ndim - used)
            axis += x.ndim - used - 1
        elif not hasattr(part, "dtype"):
            template.append(part)
        elif part.dtype.kind == "b":
            if part.shape != x.shape[axis : axis + part.ndim]:
                expected = f"a mask of shape {x.shape[axis : axis + part.ndim]}"
                raise IndexError(message("x[key]", expected, f"{part.shape}"))
            found = raw(part).nonzero()
            template += [("array",)] * len(found)
            arrays += found
        else:
            if array_module(raw(part)) is not numpy or state.trace is not None:
                # CuPy would wrap what is out of bounds, and a plan take the nearest that is not
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
    """One index: None, ..., an int, a _Slice, or a tensor or array of integers or booleans on the device of `x`."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return _Slice(None if n is None else operator.index(n) for n in (part.start, part.stop, part.step))
    if isinstance(part, (int, numpy.integer, HostNumber)) and not isinstance(part, bool):
        return operator.index(part)
    if isinstance(part, list):
        part = numpy.asarray(part, dtype=None if part else numpy.int64)
    kind = part.dtype.kind if hasattr(part, "dtype") else type(part).__name__
    if kind not in ("i", "u", "b") or (kind == "b" and part.ndim == 0):
        expected = "integers, slices, None, ... and arrays of integers or booleans"
        raise TypeError(message("x[key]", expected, f"dtype {part.dtype}" if hasattr(part, "dtype") else kind))
    return int(part) if part.ndim == 0 and not isinstance(part, Tensor) else beside("x[key]", x, part)


def raw(a: Any) -> Array:
    return a.data if isinstance(a, Tensor) else a


def beside(where: str, x: Any, a: Any) -> Any:
    """`a` on the device of `x`: a NumPy array is moved there, anything else must be there, or DeviceError is raised."""
    target, source = device_of(raw(x)), device_of(raw(a))
    if target == source:
        return a
    if isinstance(a, Tensor) or source.kind != "cpu":
        found = f"{x.dtype}{list(x.shape)} on {target} and {a.dtype}{list(a.shape)} on {source}"
        raise DeviceError(message(where, "all on one device", found, "move one with .to(device)."))
    return to_device(a, target)


def _put_together(template: Template, arrays: tuple[Array, ...] = ()) -> tuple[Any, ...]:
    remaining = iter(arrays)
    return tuple(
        slice(*part) if isinstance(part, _Slice) else next(remaining) if part == ("array",) else part
        for part in template
    )


def check_indices(where: str, indices: Any, size: int, negative: bool = False, hint: str = "") -> None:
    """Raises IndexError if an index is not below `size`, or is negative where that has no meaning. Waits for the
    device."""
    lowest = -size if negative else 0

    def look(indices: Array) -> None:
        wrong = (indices < lowest) | (indices >= size)
        if bool(wrong.any()):
            raise IndexError(message(where, f"indices from {lowest} to {size - 1}", f"{indices[wrong][0]}", hint))

    check_range(raw(indices), lowest, size - 1, look)


def check_ids(where: str, ids: Any, size: int) -> None:
    """Raises TypeError unless `ids` is an array of integers, IndexError unless all are from 0 to below `size`."""
    if not hasattr(ids, "dtype") or ids.dtype.kind not in "iu":
        raise TypeError(message(where, "ids of an integer dtype", str(getattr(ids, "dtype", type(ids).__name__))))
    check_indices(where, ids, size, hint="leave out such ids, or make room for them.")


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
    along_first = key == (("array",),) and indices[0].dtype != numpy.uint64  # which take does not take
    if xp is numpy and along_first and a.flags.c_contiguous:
        return a.take(indices[0], axis=0)  # in an eighth of the time
    return a[_put_together(key, indices)]


@primitive("opaque", saves=("indices",))
@compiled("rows.scattered")
def _scatter(xp: Any, a: Array, *indices: Array, key: Template, shape: tuple[int, ...]) -> Array:
    y = xp.zeros(shape, dtype=a.dtype)
    (*before, last), ids = key, indices[0]
    along_one_axis = last == ("array",) and all(part == _WHOLE for part in before)
    if xp is numpy and along_one_axis and a.size >= 16 * ids.size > 0 and ids.min() >= 0:
        rows = math.prod(shape[: len(before)])
        _add_parts(y.reshape(rows, shape[len(before)], -1), ids.reshape(-1), a.reshape(rows, ids.size, -1))
    else:
        xp.add.at(y, _put_together(key, indices), a)
    return y


def scatter_along(xp: Any, a: Array, index: Array, axis: int, n: int) -> Array:
    """The transpose of `take` with that index, on arrays."""
    key = (*(_WHOLE,) * axis, ("array",))
    return _scatter.forward(xp, a, index, key=key, shape=(*a.shape[:axis], n, *a.shape[axis + 1 :]))


def _add_parts(y: Array, ids: Array, parts: Array) -> None:
    """Adds to `y`, zeros, the parts along the second of three axes at ids from 0 on, which may repeat. With long parts
    this takes from a half to a twentieth of the time of `add.at`."""
    order = ids.argsort(kind="stable")
    ids = ids[order]
    starts = numpy.flatnonzero(numpy.diff(ids, prepend=-1))
    counts = numpy.diff(starts, append=len(ids))
    if counts.max() > 16:  # the parts of each id are brought together and summed
        y[:, ids[starts]] = numpy.add.reduceat(parts[:, order], starts, axis=1)
        return
    for i in range(counts.max()):  # the i-th part of each id
        chosen = starts[counts > i] + i
        y[:, ids[chosen]] += parts[:, order[chosen]]


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
    return _read(x, *_take_apart(x, key))


def _read(x: Any, template: Template, arrays: list[Any]) -> Any:
    if not arrays:
        return _basic_index(x, key=template)
    try:
        return _gather(x, *arrays, key=template)
    except IndexError:
        parts = [part for part in template if part is not None]
        sizes = [size for size, part in zip(x.shape, parts, strict=False) if part == ("array",)]
        for indices, size in zip(arrays, sizes, strict=True):
            check_indices("x[key]", indices, size, negative=True)  # which says more
        raise


def _write(values: Any, template: Template, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    """Zeros of that shape with `values` added at a key."""
    if arrays:
        return _scatter(values, *arrays, key=template, shape=shape)
    return _basic_scatter(values, key=template, shape=shape)


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
    check = functools.partial(check_indices, "take_along_axis", indices, x.shape[axis], negative=True)
    if device_of(raw(x)).kind != "cpu" or state.trace is not None:  # CuPy would wrap what is out of bounds
        check()
    try:
        return gather_along(x, indices, axis)
    except IndexError:
        check()  # which says more
        raise


def gather_along(x: Any, indices: Any, axis: int) -> Any:
    """As `take_along_axis`, for an axis from the front and indices that are known to be within bounds."""
    places, device = [], device_of(raw(x))
    for i, n in enumerate(x.shape):
        lengths = tuple(n if j == i else 1 for j in range(x.ndim))
        places.append(indices if i == axis else to_device(numpy.arange(n).reshape(lengths), device))
    return _gather(x, *places, key=(("array",),) * x.ndim)


def scatter_add(x: Any, key: Any, values: Any) -> Any:
    """A copy of `x` with `values` added at `x[key]`; where an index repeats, all of its values are added.

    >>> import tinygrad_edu as tg
    >>> tg.scatter_add(tg.zeros((3,)), [0, 2, 2], tg.ones((3,)))
    tensor([1., 0., 2.])
    """
    template, arrays, values = _destination("scatter_add", x, key, values)
    return x + _write(values, template, arrays, x.shape)


def index_put(x: Any, key: Any, values: Any) -> Any:
    """A copy of `x` with `values` in place of `x[key]`. Raises ValueError if an index repeats: it is unclear which
    value stays.

    >>> import tinygrad_edu as tg
    >>> tg.index_put(tg.zeros((3,)), slice(1, None), 5.0)
    tensor([0., 5., 5.])
    """
    template, arrays, values = _destination("index_put", x, key, values)
    times = _write(cast(ones_like(values), "float32"), template, arrays, x.shape)
    if arrays:
        check_array(raw(times), _check_once)
    return where(greater(times, 0), _write(values, template, arrays, x.shape), x)


def _check_once(times: Array) -> None:
    if bool((times > 1).any()):
        raise ValueError(message("index_put", "each index once", "repeated ones", "scatter_add adds repeated values."))


def _destination(name: str, x: Any, key: Any, values: Any) -> tuple[Template, list[Any], Any]:
    """The key taken apart, and the values broadcast to its shape."""
    template, arrays = _take_apart(x, key)
    if not hasattr(values, "dtype"):
        values = check_cast(name, "values", numpy.asarray(values), x.dtype)
    values = beside(name, x, values)
    if isinstance(x, Tensor) and not isinstance(values, Tensor):
        values = Tensor(values)
    if values.dtype != x.dtype:
        raise TypeError(message(name, f"values of dtype {x.dtype}", str(values.dtype), "use .astype()."))
    return template, arrays, broadcast_to(values, _read(x, template, arrays).shape)


def one_hot(ids: Any, depth: int, dtype: Any = None) -> Any:
    """A new last axis of length `depth`, with 1 at the id and 0 elsewhere.

    `ids` are integers from 0 to depth - 1, of any shape. Raises IndexError for others, TypeError if they are not
    integers.

    >>> import tinygrad_edu as tg
    >>> tg.one_hot(tg.tensor([0, 2]), 3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    check_ids("one_hot", ids, depth)
    return _one_hot(ids, depth=operator.index(depth), dtype=numpy.dtype(dtype or state.dtype))
