"""Copies on CUDA: reshaping, padding, joining, and the gradient of slicing, as loops over what is copied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..loops import DTYPES, Builder, Operand, collapse
from ..native import Launch
from ..registry import Form, Recipe, strided
from ..steps import SIZES
from .launches import Moved

Shape = tuple[int, ...]


def steps_of(shape: Sequence[int]) -> Shape:
    """From one element to the next along each axis, where all lie in their order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def form(shape: Sequence[int], dtype: Any) -> Form:
    """An array of that shape whose elements lie in their order."""
    return Form(tuple(shape), dtype, tuple(step * dtype.itemsize for step in steps_of(shape)))


def is_copied(*arrays: Any) -> bool:
    """Whether loops can read these arrays, all of one dtype."""
    dtype = arrays[0].dtype
    return dtype.name in DTYPES and all(
        a.dtype == dtype and not any(step % dtype.itemsize for step in a.strides) for a in arrays
    )


def copy(a: Any, source: int, target: int, steps: Sequence[int] | None = None, start: int = 0) -> Moved:
    """Writes the array in one slot to another: with those steps, from that element on; else in its order."""
    dtype = a.dtype.name
    loops, size = Builder(tuple(a.shape) or (1,)), SIZES[dtype]
    from_, to = ([*found] or [0] for found in ((step // size for step in a.strides), steps or steps_of(a.shape)))
    loops.store(loops.load(Operand(dtype, tuple(from_))), Operand(dtype, tuple(to)))
    return Moved(Launch(collapse(loops.finish()), (source, target)), (0, start * size))


def fill(value: float, dtype: str, count: int, target: int) -> Launch:
    loops = Builder((count,), dtype)
    loops.store(loops.constant(value, dtype), Operand(dtype, (1,)))
    return Launch(loops.finish(), (target,))


def _placed(a: Any, shape: Shape, steps: Sequence[int], start: int, value: float) -> Recipe | None:
    """The array as a part of another one, and that number around it."""
    if not is_copied(a):
        return None
    dtype, count = a.dtype.name, math.prod(shape)
    around = [] if math.prod(a.shape) == count else [fill(value, dtype, count, 1)]
    return Recipe(((tuple(shape), dtype),), (*around, copy(a, 0, 1, steps, start)))


@strided
def in_order(a: Any) -> Recipe | None:
    """Of `_in_c_order`."""
    return reshaped(a, a.shape)


@strided
def reshaped(a: Any, shape: Shape) -> Recipe | None:
    """Of `_reshape`, where it has to copy."""
    return Recipe(((tuple(shape), a.dtype.name),), (copy(a, 0, 1),)) if is_copied(a) else None


@strided
def padded(a: Any, widths: Sequence[tuple[int, int]], value: float) -> Recipe | None:
    """Of `_pad`."""
    if a.dtype.kind != "f":  # which that number may not fit
        return None
    shape = tuple(before + n + after for (before, after), n in zip(widths, a.shape, strict=True))
    steps = steps_of(shape)
    start = sum(before * step for (before, _), step in zip(widths, steps, strict=True))
    return _placed(a, shape, steps, start, value)


@strided
def scattered(a: Any, key: Sequence[Any], shape: Shape) -> Recipe | None:
    """Of `_basic_scatter`."""
    steps, start, axis = [], 0, 0
    for part in key:
        if part is None:
            steps.append(0)
            continue
        n, step = shape[axis], math.prod(shape[axis + 1 :])
        axis += 1
        if isinstance(part, int):
            start += part % n * step
            continue
        first, _, stride = slice(*part).indices(n)
        start += first * step
        steps.append(stride * step)
    return _placed(a, shape, [*steps, *steps_of(shape)[axis:]], start, 0)


@strided
def joined(*arrays: Any, axis: int) -> Recipe | None:
    """Of `_concatenate`."""
    shape = [*arrays[0].shape]
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return _joined(arrays, shape, steps_of(shape), [a.shape[axis] for a in arrays], axis)


@strided
def stacked(*arrays: Any, axis: int) -> Recipe | None:
    """Of `stack`."""
    shape = [*arrays[0].shape]
    shape.insert(axis, len(arrays))
    steps = steps_of(shape)
    return _joined(arrays, shape, (*steps[:axis], *steps[axis + 1 :]), [1] * len(arrays), axis)


def _joined(arrays: Any, shape: Any, steps: Any, lengths: Sequence[int], axis: int) -> Recipe | None:
    """Arrays one after the other along an axis of the result."""
    if not is_copied(*arrays):
        return None
    far, target = steps_of(shape)[axis], len(arrays)
    starts = [sum(lengths[:i]) * far for i in range(len(arrays))]
    tasks = [copy(a, i, target, steps, start) for i, (a, start) in enumerate(zip(arrays, starts, strict=True))]
    return Recipe(((tuple(shape), arrays[0].dtype.name),), tuple(tasks))
