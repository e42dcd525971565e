"""Sums of rows by number, as the gradient of a table has them: into a table of zeros, or only those that occur."""

from __future__ import annotations

import math
from typing import Any

from .copies import merged
from .language import kernel
from .loops import COLUMNS
from .native import Task
from .registry import Recipe, are_floats, is_contiguous, strided


@kernel(writes=("y",))
def scatter(g, ids, y, start, stop, count, inner, outer_step, step, columns, rows):
    """To each row of y the sum of the rows of g with its number, in their order. A thread makes rows of its own."""
    for k in range(start * columns, stop * columns):
        y[k] = 0.0
    for i in range(count):
        row = ids[i // inner * outer_step + i % inner * step]
        row = row + rows if row < 0 else row
        if row >= start and row < stop:
            for c in range(columns):
                y[row * columns + c] += g[i * columns + c]


@kernel(writes=("places",))
def find_places(ids, places, start, stop, count, inner, outer_step, step, rows):
    """For each row of a table 1 + the first i with its number, 0 if there is none."""
    for row in range(rows):
        places[row] = 0
    for k in range(count):
        i = count - 1 - k
        row = ids[i // inner * outer_step + i % inner * step]
        row = row + rows if row < 0 else row
        if row >= 0 and row < rows:
            places[row] = i + 1


@kernel(writes=("sums",))
def sum_rows(g, ids, places, sums, start, stop, count, inner, outer_step, step, columns, rows):
    """In row 1 + i the sum of all rows of g with the number ids[i], where that comes first; zeros in all others. A
    thread makes columns of its own."""
    for c in range(start, stop):
        sums[c] = 0.0
    for i in range(count):
        row = ids[i // inner * outer_step + i % inner * step]
        row = row + rows if row < 0 else row
        place = places[min(max(row, 0), rows - 1)]
        if place == i + 1:
            for c in range(start, stop):
                sums[place * columns + c] = g[i * columns + c]
        else:
            for c in range(start, stop):
                sums[place * columns + c] += g[i * columns + c]
                sums[(i + 1) * columns + c] = 0.0


def _numbers(g: Any, ids: Any) -> dict[str, int] | None:
    """How many ids there are, along one axis or two, and from one to the next, and how long rows are; None for what no
    kernel reads."""
    size = ids.dtype.itemsize
    fits = are_floats(g) and is_contiguous(g) and not any(step % size for step in ids.strides)
    axes = merged(ids.shape, [step // size for step in ids.strides])
    if not fits or len(axes) > 2 or ids.dtype.name not in ("int64", "int32", "uint8"):
        return None
    (_, outer_step), (inner, step) = [(1, 0), (1, 0), *axes][-2:]
    sizes = {"count": math.prod(ids.shape), "inner": inner, "outer_step": outer_step, "step": step}
    return sizes | {"columns": math.prod(g.shape[len(ids.shape) :])}


@strided
def scattered(g: Any, *indices: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> Recipe | None:
    """Of `_scatter`, along the first axis."""
    numbers = _numbers(g, indices[0]) if key == (("array",),) else None
    if numbers is None:
        return None
    dtype, rows = g.dtype.name, shape[0]
    size, made = math.prod(g.shape), math.prod(shape)
    arrays = (("g", dtype, 0), ("ids", indices[0].dtype.name, 1), ("y", dtype, 2))
    given = (*numbers.items(), ("rows", rows))
    task = Task(scatter, arrays, given, rows, size, g.dtype.itemsize * (3 * size + made))
    return Recipe(((shape, dtype),), (task,))


@strided
def summed(g: Any, ids: Any, *, rows: int) -> Recipe | None:
    """Of `sum_rows` in `jit.sparse`."""
    numbers = _numbers(g, ids)
    if numbers is None:
        return None
    dtype, kind, count, columns = g.dtype.name, ids.dtype.name, numbers["count"], numbers["columns"]
    given = (*numbers.items(), ("rows", rows))
    places = ("places", "int32", 3)
    finding = tuple(item for item in given if item[0] != "columns")
    tasks = (
        Task(find_places, (("ids", kind, 1), places), finding, 1, count, 4 * (rows + count)),
        Task(
            sum_rows,
            (("g", dtype, 0), ("ids", kind, 1), places, ("sums", dtype, 2)),
            given,
            columns,
            count * columns,
            2 * g.dtype.itemsize * count * columns,
            granularity=COLUMNS,
        ),
    )
    return Recipe((((count + 1, *g.shape[len(ids.shape) :]), dtype), ((rows,), "int32")), tasks)
