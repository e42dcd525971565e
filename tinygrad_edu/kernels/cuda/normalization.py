"""Layer normalization, a row after the other, and batch normalization of the last axis, by moments of parts of the
rows."""

from __future__ import annotations

import math
from typing import Any

from .. import normalized
from ..loops import Builder, Operand, expand
from ..native import Launch
from ..registry import Recipe, are_floats
from .launches import on
from .steps import TYPES
from .text import BLOCKS, LEAST_ROWS, THREADS
from .written import Written

_COLUMNS, _LINES = 32, 8  # of a block, as in normalization.cu


def of_rows(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], epsilon: float) -> Recipe | None:
    """Of `_layer_norm`: y, the average, and one over the deviation."""
    dtype, lead = x.dtype.name, x.ndim - len(axes)
    shape = tuple(x.shape[lead:])
    last = tuple(axes) == tuple(range(lead, x.ndim))
    if not are_floats(x, weight, bias) or not last or not weight.shape == bias.shape == shape:
        return None
    rows, columns = math.prod(x.shape[:lead]), math.prod(shape)
    loops = Builder((rows, columns), dtype)
    whole, part, row = Operand(dtype, (columns, 1)), Operand(dtype, (0, 1)), Operand(dtype, (1, 0))
    a, w, b = (loops.load(operand) for operand in (whole, part, part))
    steps = normalized.layer_norm(loops, a, w, b, axes, epsilon)
    for value, operand in zip(steps, (whole, row, row), strict=True):
        loops.store(value, operand)
    kept = (*x.shape[:lead], *(1 for _ in axes))
    return Recipe(((tuple(x.shape), dtype), (kept, dtype), (kept, dtype)), (Launch(loops.finish(), tuple(range(6))),))


def moments(x: Any, epsilon: float) -> Recipe | None:
    """Of `_moments`: mean, variance; the mean again, and one over the deviation, with their axes."""
    dtype, columns = x.dtype.name, x.shape[-1]
    if not are_floats(x):
        return None
    rows, tiles = math.prod(x.shape[:-1]), -(-columns // _COLUMNS)
    share = -(-rows // max(1, min(-(-BLOCKS // tiles), rows // LEAST_ROWS)))
    parts, kept = -(-rows // share), (*(1 for _ in x.shape[:-1]), columns)
    mean, variance, average, inverse, means, squares = range(1, 7)
    size, defines = (rows, columns, share), (("REAL", TYPES[dtype]),)
    found, blocks = (means, squares, mean, variance, average, inverse), -(-columns // THREADS)
    tasks = (
        Written("normalization", "moments", (tiles, parts), (_COLUMNS, _LINES), (0, means, squares), size, defines),
        Written("normalization", "put_together", (blocks,), (THREADS,), found, (*size, parts, epsilon), defines),
    )
    made = tuple((shape, dtype) for shape in ((columns,), (columns,), kept, kept, (parts, columns), (parts, columns)))
    return Recipe(made[:4], tasks, made[4:])


def of_batch(x: Any, weight: Any, bias: Any, axis: int, epsilon: float) -> Recipe | None:
    """Of `_batch_norm`: y, mean, variance; the mean again, and one over the deviation, with their axes."""
    found = moments(x, epsilon) if axis == x.ndim - 1 and are_floats(x, weight, bias) else None
    if found is None:
        return None
    dtype, columns = x.dtype.name, x.shape[-1]
    _, y, _, _, average, inverse, *_ = places = (0, *range(3, 10))  # of x, then of what is made
    tasks = [on(task, (0, *places[2:])) for task in found.tasks]
    scaled = Launch(_scaled(dtype, math.prod(x.shape[:-1]), columns), (0, average, inverse, 1, 2, y))
    return Recipe(((tuple(x.shape), dtype), *found.outputs), (*tasks, scaled), found.between)


def _scaled(dtype: str, rows: int, columns: int) -> Any:
    """(x - average) * inverse * weight + bias."""
    loops = Builder((rows, columns), dtype)
    operands = {"x": columns, "average": 0, "inverse": 0, "weight": 0, "bias": 0}
    values = {name: loops.load(Operand(dtype, (step, 1))) for name, step in operands.items()}
    x = expand("(x - average) * inverse * weight + bias", values, loops)
    loops.store(x, Operand(dtype, (columns, 1)))
    return loops.finish()
