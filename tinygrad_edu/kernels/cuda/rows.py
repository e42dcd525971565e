"""Sums of rows by number, as the gradient of a table has them."""

from __future__ import annotations

import math
from typing import Any

from ..registry import Recipe, are_floats
from .steps import TYPES
from .text import THREADS
from .written import Written

_CHUNK, _SHARE, _COLUMNS, _LINES = 1024, 64, 32, 8  # as in rows.cu
_IDS = ("int64", "int32", "uint8")


def scattered(g: Any, *indices: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> Recipe | None:
    """Of `_scatter`, along the first axis."""
    ids, dtype = indices[0], g.dtype.name
    count, rows, columns, size = math.prod(ids.shape), shape[0], math.prod(shape[1:]), math.prod(shape)
    tiles = -(-columns // _COLUMNS)
    few = max(count, rows) < 2**32 and tiles < 2**16  # for keys, and for the second axis of a grid
    if key != (("array",),) or not are_floats(g) or ids.dtype.name not in _IDS or not size or not few:
        return None
    defines = (("REAL", TYPES[dtype]), ("ID", TYPES[ids.dtype.name]))
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
    return Recipe(((tuple(shape), dtype),), tuple(tasks), between)
