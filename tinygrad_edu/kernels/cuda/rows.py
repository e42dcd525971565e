"""Rows by their numbers, and sums of rows by number, as the gradient of a table has them."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..loops import DTYPES, Builder, Operand, collapse, expand
from ..native import Launch
from ..registry import Form, Recipe, are_floats
from .copies import copy
from .launches import on
from .steps import TYPES
from .text import THREADS
from .written import Written

_CHUNK, _SHARE, _COLUMNS, _LINES = 1024, 64, 32, 8  # as in rows.cu
_MOST = 1 << 20
"""Rows that are sorted: it takes count**2 / 1024 * 10 steps, which more are not worth."""
_IDS = ("int64", "int32", "uint8")


def scattered(g: Any, *indices: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> Recipe | None:
    """Of `_scatter`, along one axis: with that axis first, if another one is."""
    axis, ids, dtype = len(key) - 1, indices[0], g.dtype.name
    if not _is_along_one_axis(key) or not are_floats(g) or ids.dtype.name not in _IDS:
        return None
    rows, outer, inner = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    count, made = math.prod(ids.shape), ((tuple(shape), dtype),)
    found = _of_rows(dtype, ids.dtype.name, (rows, outer, inner), count)
    if found is None or axis == 0:
        return found and found._replace(outputs=made)
    turned, sums = 3 + len(found.between), 4 + len(found.between)
    first, last = _turned(g.dtype, count, outer, inner), _turned(g.dtype, outer, rows, inner)
    tasks = [on(task, [turned, 1, sums, *range(3, turned)]) for task in found.tasks]
    between = (*found.between, (first.shape, dtype), ((rows, outer, inner), dtype))
    return Recipe(made, (copy(first, 0, turned), *tasks, copy(last, sums, 2)), between)


def _turned(dtype: Any, first: int, second: int, third: int) -> Form:
    """An array of those lengths, that lies with its second axis first."""
    return Form((first, second, third), dtype, tuple(n * dtype.itemsize for n in (third, first * third, 1)))


def _is_along_one_axis(key: tuple[Any, ...]) -> bool:
    *before, last = key
    return last == ("array",) and all(part == (None, None, None) for part in before)


def gathered(a: Any, *indices: Any, key: tuple[Any, ...]) -> Recipe | None:
    """Of `_gather`, along one axis; numbers that it lacks are replaced by the nearest that it has."""
    axis, ids, dtype = len(key) - 1, indices[0], a.dtype.name
    if not _is_along_one_axis(key) or dtype not in DTYPES or ids.dtype.name not in _IDS:
        return None
    count, rows = math.prod(ids.shape), a.shape[axis]
    outer, inner = math.prod(a.shape[:axis]), math.prod(a.shape[axis + 1 :])
    loops = Builder((outer, count, inner), dtype)
    number = loops.cast(loops.load(Operand(ids.dtype.name, (0, 1, 0))), "int64")
    values = {"i": number, "n": rows, "last": rows - 1}
    number = expand("minimum(maximum(where(i < 0, i + n, i), 0), last)", values, loops)
    found = loops.take(Operand(dtype, (rows * inner, 0, 1), inner), number)
    loops.store(found, Operand(dtype, (count * inner, inner, 1)))
    shape = (*a.shape[:axis], *ids.shape, *a.shape[axis + 1 :])
    return Recipe(((shape, dtype),), (Launch(collapse(loops.finish()), (1, 0, 2)),))


def one_hot(ids: Any, depth: int, dtype: Any) -> Recipe | None:
    """Of `_one_hot`."""
    kind, made = ids.dtype.name, numpy.dtype(dtype).name
    if kind not in _IDS or made not in DTYPES:
        return None
    loops = Builder((math.prod(ids.shape), depth))
    found = loops.apply("equal", loops.load(Operand(kind, (1, 0))), loops.index(1))
    loops.store(found, Operand(made, (depth, 1)))
    return Recipe((((*ids.shape, depth), made),), (Launch(collapse(loops.finish()), (0, 1)),))


def _of_rows(dtype: str, kind: str, shape: tuple[int, ...], count: int) -> Recipe | None:
    """So many rows added to those of zeros of that shape, by numbers of that kind."""
    rows, columns, size = shape[0], math.prod(shape[1:]), math.prod(shape)
    tiles = -(-columns // _COLUMNS)
    if not size or count > _MOST or rows >= 2**32 or tiles >= 2**16:  # for keys, and for the second axis of a grid
        return None
    defines = (("REAL", TYPES[dtype]), ("ID", TYPES[kind]))
    y, keys, merged, parts = range(2, 6)
    chunks, shares = -(-count // _CHUNK), -(-count // _SHARE)
    order = merged if chunks > 1 else keys

    def step(function: str, grid: tuple[int, ...], block: tuple[int, ...], arrays: Any, *numbers: int) -> Written:
        return Written("rows", function, grid, block, arrays, numbers, defines)

    tasks = [
        step("sort_chunks", (chunks,), (_CHUNK // 2,), (1, keys), count, rows),
        step("merge_chunks", (-(-count // THREADS),), (THREADS,), (keys, merged), count),
        step("clear", (-(-size // THREADS),), (THREADS,), (y,), size),
        step("add_shares", (shares, tiles), (_COLUMNS,), (0, order, y, parts), count, columns),
        step("add_parts", (shares, tiles), (_COLUMNS, _LINES), (order, parts, y), count, columns),
    ]
    if chunks == 1:
        del tasks[1]
    between = (((count,), "int64"), ((count,), "int64"), ((shares, columns), dtype))
    return Recipe(((shape, dtype),), tuple(tasks), between)
