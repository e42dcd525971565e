"""Changing shapes and joining arrays. Views where NumPy gives views."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy

from ..autograd import broadcast_to as _broadcast_to
from ..autograd import cast, primitive
from ..autograd import stack as _stack
from ..backend import Array
from ..errors import ShapeError, check_integer, choice, message
from .elementwise import as_number

Axes = int | Sequence[int] | None


def check_arrays(where: str, *arrays: Any) -> None:
    """Raises TypeError for anything but tensors and arrays, such as a list."""
    for a in arrays:
        if not hasattr(a, "dtype"):
            hint = "make it one with tg.tensor(...)." if isinstance(a, (list, tuple)) else ""
            raise TypeError(message(where, "tensors or arrays", type(a).__name__, hint))


def rank(where: str, x: Any) -> int:
    """The number of axes of an array, or of so many axes. Raises TypeError for anything else."""
    if isinstance(x, int):
        return x
    check_arrays(where, x)
    return x.ndim


def normalize_axis(where: str, axis: Any, x: Any) -> int:
    """An axis of the array `x`, or of so many axes, counted from the front.

    Raises ShapeError if there is no such axis, TypeError if it is no integer or `x` is no array.
    """
    ndim = rank(where, x)
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(message(where, "an integer axis", repr(axis))) from None
    if not -ndim <= number < ndim:
        raise ShapeError(
            message(where, f"an axis from {-ndim} to {ndim - 1}" if ndim else "no axis for a 0-d array", f"{number}")
        )
    return number % ndim


def normalize_axes(where: str, axes: Axes, x: Any) -> tuple[int, ...]:
    """As `normalize_axis` for several; None stands for all of them. Raises ShapeError for a repeated one."""
    ndim = rank(where, x)
    if axes is None:
        return tuple(range(ndim))
    given = axes if isinstance(axes, Sequence) else (axes,)
    found = tuple([normalize_axis(where, axis, ndim) for axis in given])
    if len(set(found)) != len(found):
        raise ShapeError(message(where, "each axis once", f"{axes}"))
    return found


def as_shape(where: str, shape: Any, least: float = 0) -> tuple[int, ...]:
    """A shape as a tuple. Raises TypeError unless it consists of integers, ValueError if one is below `least`."""
    try:
        found = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        raise TypeError(message(where, "a shape of integers", repr(shape))) from None
    if any(n < least for n in found):
        raise ValueError(message(where, f"lengths of at least {least}", f"{found}"))
    return found


@primitive("opaque", differentiable=False)
def new_zeros(xp: Any, a: Array, *, shape: tuple[int, ...]) -> Array:
    """Zeros of another shape on the device of `a`."""
    return xp.zeros(shape, dtype=a.dtype)


@primitive("view", expects="as many elements in the new shape")
def _reshape(xp: Any, a: Array, *, shape: tuple[int, ...]) -> Array:
    return a.reshape(shape)


_reshape.defvjp(lambda g, y, a, shape: _reshape(g, shape=a.shape))


def reshape(x: Any, *shape: Any) -> Any:
    """The elements in row-major order in another shape, in which one length may be -1.

    `reshape(x, 2, 3)` or `reshape(x, (2, 3))`. Raises ShapeError if the shape has another number of elements.
    """
    rank("reshape", x)
    wanted = as_shape("reshape", shape[0] if len(shape) == 1 else shape, least=-math.inf)
    known = math.prod(n for n in wanted if n != -1)
    fits = known == x.size if -1 not in wanted else known > 0 and x.size % known == 0
    if not fits or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ShapeError(message("reshape", f"a shape for {x.size} elements (of {x.shape})", f"{wanted}"))
    return _reshape(x, shape=wanted)


def ravel(x: Any) -> Any:
    """All elements along one axis, in row-major order."""
    rank("ravel", x)
    return _reshape(x, shape=(x.size,))


@primitive("view")
def _transpose(xp: Any, a: Array, *, axes: tuple[int, ...]) -> Array:
    return a.transpose(axes)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


_transpose.defvjp(lambda g, y, a, axes: _transpose(g, axes=_inverse(axes)))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes in another order; reversed by default."""
    if axes is None:
        return _transpose(x, axes=tuple(range(rank("transpose", x)))[::-1])
    order = normalize_axes("transpose", axes, x)
    if len(order) != x.ndim:
        raise ShapeError(message("transpose", f"all of the {x.ndim} axes of shape {x.shape}", f"{tuple(axes)}"))
    return _transpose(x, axes=order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes interchanged."""
    order = list(range(rank("swapaxes", x)))
    i, j = normalize_axis("swapaxes", axis1, x), normalize_axis("swapaxes", axis2, x)
    order[i], order[j] = j, i
    return _transpose(x, axes=tuple(order))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """The `source` axes moved to the positions `destination`, the others in their order."""
    sources, places = normalize_axes("moveaxis", source, x), normalize_axes("moveaxis", destination, x)
    if len(sources) != len(places):
        raise ShapeError(message("moveaxis", "as many destinations as sources", f"{source} and {destination}"))
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return _transpose(x, axes=tuple(order))


def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """New axes of length 1 at the positions `axis` of the result."""
    count = len(axis) if isinstance(axis, Sequence) else 1
    places = normalize_axes("expand_dims", axis, rank("expand_dims", x) + count)
    lengths = iter(x.shape)
    return _reshape(x, shape=tuple(1 if i in places else next(lengths) for i in range(x.ndim + count)))


def squeeze(x: Any, axis: Axes = None) -> Any:
    """Axes of length 1 removed: all of them, or those given. Raises ShapeError if one of those is longer."""
    places = normalize_axes("squeeze", axis, x)
    if axis is None:
        places = tuple(i for i in places if x.shape[i] == 1)
    if any(x.shape[i] != 1 for i in places):
        raise ShapeError(message("squeeze", "axes of length 1", f"axis {axis} of shape {x.shape}"))
    return _reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in places))


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """`x` repeated along new leading axes and axes of length 1, without a copy."""
    return _broadcast_to(x, shape=as_shape("broadcast_to", shape))


# Joining and splitting


@primitive("opaque", expects="arrays that differ along the axis only")
def _concatenate(xp: Any, *arrays: Array, axis: int, out: Any = None) -> Array:
    return xp.concatenate(arrays, axis=axis, out=out)


def _concatenate_rule(needs: list[bool], residuals: Any, g: Any, y: Any, *arrays: Any, axis: int) -> list[Any]:
    found, start = [], 0
    for need, a in zip(needs, arrays, strict=True):
        end = start + a.shape[axis]
        found.append(g[(slice(None),) * axis + (slice(start, end),)] if need else None)
        start = end
    return found


_concatenate.defjoint(_concatenate_rule)


def _several(where: str, arrays: Any) -> list[Any]:
    """The arrays of a list; integers among floats take the floats' dtype, as in element-wise operations."""
    if not isinstance(arrays, (list, tuple)) or not arrays or not all(hasattr(a, "ndim") for a in arrays):
        found = [type(a).__name__ for a in arrays] if isinstance(arrays, (list, tuple)) else type(arrays).__name__
        raise TypeError(message(where, "a list or tuple of at least one array", f"{found}"))
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    return [cast(a, numpy.result_type(*floats)) if floats and a.dtype.kind != "f" else a for a in arrays]


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays joined along an axis that they have."""
    several = _several("concatenate", arrays)
    return _concatenate(*several, axis=normalize_axis("concatenate", axis, several[0].ndim))


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    several = _several("stack", arrays)
    return _stack(*several, axis=normalize_axis("stack", axis, several[0].ndim + 1))


@primitive("opaque")
def _split(xp: Any, a: Array, *, ends: tuple[int, ...], axis: int) -> tuple[Array, ...]:
    starts = (0, *ends[:-1])
    return tuple(a[(slice(None),) * axis + (slice(start, end),)] for start, end in zip(starts, ends, strict=True))


def _split_vjp(g: tuple[Any, ...], y: Any, a: Any, ends: tuple[int, ...], axis: int) -> Any:
    present = next(part for part in g if part is not None)
    parts = []
    for part, start, end in zip(g, (0, *ends[:-1]), ends, strict=True):
        parts.append(
            new_zeros(present, shape=(*a.shape[:axis], end - start, *a.shape[axis + 1 :])) if part is None else part
        )
    return _concatenate(*parts, axis=axis)


_split.defvjp(_split_vjp)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """A tuple of parts along an axis: `sections` equal ones, or cut at the given positions.

    Raises ShapeError if the axis cannot be cut so.
    """
    axis = normalize_axis("split", axis, x)
    length = x.shape[axis]
    if isinstance(sections, Sequence):
        ends = (*map(operator.index, sections), length)
        if list(ends) != sorted(ends) or ends[0] < 0:
            raise ShapeError(message("split", f"increasing positions from 0 to {length}", f"{tuple(sections)}"))
    else:
        sections = check_integer("split", "sections", sections, 1)
        if length % sections:
            raise ShapeError(message("split", f"a number of sections that divides {length}", f"{sections}"))
        ends = tuple(range(length // sections, length + 1, length // sections)) if length else (0,) * sections
    return _split(x, ends=ends, axis=axis)


# Padding, flipping, repeating


@primitive("opaque")
def _pad(xp: Any, a: Array, *, widths: tuple[tuple[int, int], ...], value: float, out: Any = None) -> Array:
    inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, a.shape, strict=True))
    shape = tuple(before + n + after for (before, after), n in zip(widths, a.shape, strict=True))
    y = xp.empty(shape, dtype=a.dtype) if out is None else out
    y[...] = value
    y[inner] = a
    return y


_pad.defvjp(
    lambda g, y, a, widths, value: g[
        tuple(slice(before, before + n) for (before, _), n in zip(widths, a.shape, strict=True))
    ]
)


def pad(x: Any, widths: Any, value: float = 0.0, mode: str = "constant") -> Any:
    """`x` with a border. `widths`: one number, one (before, after) pair, or a pair for each axis.

    `mode` is what the border holds, in NumPy's names: "constant" (`value`), "reflect" (the array mirrored at its first
    and last elements, which are not repeated) or "edge" (the outermost elements).

    Raises ShapeError for widths that are negative, do not fit the number of axes, or reach over the end of the mirror;
    TypeError for a value that is no number; ValueError for another mode, and for a value where the mode has none.

    >>> import tinygrad_edu as tg
    >>> tg.pad(tg.tensor([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
    tensor([3., 2., 1., 2., 3., 2.])
    """
    value = as_number(value)
    if not isinstance(value, (int, float)):
        raise TypeError(message("pad", "a number as value", type(value).__name__))
    if mode not in ("constant", "reflect", "edge"):
        raise choice("pad", "mode", mode, ("constant", "reflect", "edge"))
    table = numpy.asarray(widths)
    try:
        table = numpy.broadcast_to(table, (rank("pad", x), 2))
    except ValueError:
        table = numpy.full((1, 1), -1)
    if table.dtype.kind not in "iu" or (table < 0).any():
        raise ShapeError(message("pad", f"widths of at least 0, a pair for each of {x.ndim} axes", f"{widths}"))
    pairs = tuple((int(before), int(after)) for before, after in table)
    if mode == "constant":
        return _pad(x, widths=pairs, value=value)
    if value:
        raise ValueError(message("pad", f"no value in mode {mode!r}", f"{value}"))
    for axis, (before, after) in enumerate(pairs):
        least = max(before, after) + 1 if mode == "reflect" else 1
        if before + after and x.shape[axis] < least:
            raise ShapeError(message("pad", f"at least {least} elements along axis {axis}", f"shape {x.shape}"))
        x = _border(x, axis, before, after, mode) if before + after else x
    return x


def _border(x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """The array mirrored at both ends of an axis, or its ends repeated."""
    n = x.shape[axis]

    def part(start: int, stop: int) -> Any:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    if mode == "reflect":
        ends = flip(part(1, before + 1), axis), flip(part(n - 1 - after, n - 1), axis)
    else:
        ends = repeat(part(0, 1), before, axis), repeat(part(n - 1, n), after, axis)
    return _concatenate(ends[0], x, ends[1], axis=axis)


@primitive("view")
def _flip(xp: Any, a: Array, *, axes: tuple[int, ...]) -> Array:
    return a[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(a.ndim))]


_flip.defvjp(lambda g, y, a, axes: _flip(g, axes=axes))


def flip(x: Any, axis: Axes = None) -> Any:
    """The order of the elements reversed along axes; along all of them by default."""
    return _flip(x, axes=normalize_axes("flip", axis, x))


@primitive("opaque")
def _roll(xp: Any, a: Array, *, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    return xp.roll(a, shifts, axes)


_roll.defvjp(lambda g, y, a, shifts, axes: _roll(g, shifts=tuple(-n for n in shifts), axes=axes))


def roll(x: Any, shift: int | Sequence[int], axis: Axes = None) -> Any:
    """Elements shifted along axes, those pushed out coming in at the other end; over the flattened array if axis is
    None."""
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes = normalize_axes("roll", axis, x)
    shifts = as_shape("roll", shift, least=-math.inf) * (1 if isinstance(shift, Sequence) else len(axes))
    if len(shifts) != len(axes):
        raise ShapeError(message("roll", "a shift for each axis", f"{shift} and {axis}"))
    return _roll(x, shifts=shifts, axes=axes)


def tile(x: Any, repetitions: int | Sequence[int]) -> Any:
    """The whole array repeated along each axis, as `numpy.tile`."""
    counts = as_shape("tile", repetitions)
    rank("tile", x)
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    counts = (1,) * (len(shape) - len(counts)) + counts
    between = tuple(n for pair in zip((1,) * len(shape), shape, strict=True) for n in pair)
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    total = tuple(count * n for count, n in zip(counts, shape, strict=True))
    return reshape(broadcast_to(reshape(x, between), wide), total)


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each element repeated along an axis; the flattened array if axis is None."""
    if axis is None:
        return repeat(ravel(x), repeats, 0)
    axis = normalize_axis("repeat", axis, x)
    repeats = check_integer("repeat", "repeats", repeats, 0)
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    wide = broadcast_to(reshape(x, (*before, n, 1, *after)), (*before, n, repeats, *after))
    return reshape(wide, (*before, n * repeats, *after))


# Triangles and diagonals


@primitive("opaque")
def _triangle(xp: Any, a: Array, *, k: int, upper: bool) -> Array:
    return (xp.triu if upper else xp.tril)(a, k)


_triangle.defvjp(lambda g, y, a, k, upper: _triangle(g, k=k, upper=upper))


def _matrix(where: str, x: Any) -> None:
    if rank(where, x) < 2:
        raise ShapeError(message(where, "at least two axes", f"shape {x.shape}"))


def tril(x: Any, k: int = 0) -> Any:
    """Zeros above the k-th diagonal of the last two axes."""
    _matrix("tril", x)
    return _triangle(x, k=k, upper=False)


def triu(x: Any, k: int = 0) -> Any:
    """Zeros below the k-th diagonal of the last two axes."""
    _matrix("triu", x)
    return _triangle(x, k=k, upper=True)


@primitive("view")
def _diagonal(xp: Any, a: Array, *, offset: int) -> Array:
    return xp.diagonal(a, offset, a.ndim - 2, a.ndim - 1)


@primitive("opaque")
def _from_diagonal(xp: Any, a: Array, *, offset: int, shape: tuple[int, ...]) -> Array:
    y = xp.zeros(shape, dtype=a.dtype)
    i = xp.arange(a.shape[-1])
    y[..., i + max(0, -offset), i + max(0, offset)] = a
    return y


_diagonal.defvjp(lambda g, y, a, offset: _from_diagonal(g, offset=offset, shape=a.shape))
_from_diagonal.defvjp(lambda g, y, a, offset, shape: _diagonal(g, offset=offset))


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal over two axes, which go; it becomes the last axis, as in NumPy."""
    _matrix("diagonal", x)
    i, j = normalize_axes("diagonal", (axis1, axis2), x.ndim)
    return _diagonal(moveaxis(x, (i, j), (-2, -1)), offset=offset)
