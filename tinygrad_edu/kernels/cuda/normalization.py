"""Layer normalization, a row after the other, and batch normalization of the last axis, by moments of parts of the
rows."""

from __future__ import annotations

import math
from typing import Any

from .. import normalized
from ..loops import Builder, Operand, collapse, expand
from ..native import Launch
from ..registry import Recipe, are_floats
from . import reductions
from .copies import steps_of
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
    if not are_floats(x, weight, bias):
        return None
    if not last or not weight.shape == bias.shape == shape:
        return _over_axes(x, weight, bias, axes, epsilon)
    rows, columns = math.prod(x.shape[:lead]), math.prod(shape)
    loops = Builder((rows, columns), dtype)
    whole, part, row = Operand(dtype, (columns, 1)), Operand(dtype, (0, 1)), Operand(dtype, (1, 0))
    a, w, b = (loops.load(operand) for operand in (whole, part, part))
    steps = normalized.layer_norm(loops, a, w, b, axes, epsilon)
    for value, operand in zip(steps, (whole, row, row), strict=True):
        loops.store(value, operand)
    kept = (*x.shape[:lead], *(1 for _ in axes))
    return Recipe(((tuple(x.shape), dtype), (kept, dtype), (kept, dtype)), (Launch(loops.finish(), tuple(range(6))),))


def _over_axes(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], epsilon: float) -> Recipe | None:
    """The same over any axes, as those of groups are: sums by `reductions`, the rest by loops."""
    dtype, shape, kept = x.dtype.name, tuple(x.shape), tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    sums = reductions.total_to(x, kept)
    if sums is None:
        return None
    y, average, inverse, total, squares, *rest = range(3, 8 + len(sums.between))
    count = math.prod(x.shape[i] for i in axes)

    def computed(expression: str, made: tuple[int, ...], to: int, **arrays: tuple[int, tuple[int, ...]]) -> Launch:
        loops = Builder(made, dtype)
        operands = {name: Operand(dtype, _repeated(a, made)) for name, (_, a) in arrays.items()}
        values = {name: loops.load(operand) for name, operand in operands.items()}
        loops.store(
            expand(expression, {**values, "n": count, "epsilon": epsilon}, loops), Operand(dtype, steps_of(made))
        )
        return Launch(collapse(loops.finish()), (*(slot for slot, _ in arrays.values()), to))

    given, sum_of = {"x": (0, shape), "average": (average, kept)}, {"total": (total, kept)}
    tasks = (
        *(on(task, (0, total, *rest)) for task in sums.tasks),
        computed("total / n", kept, average, **sum_of),
        computed("square(x - average)", shape, squares, **given),
        *(on(task, (squares, total, *rest)) for task in sums.tasks),
        computed("1.0 / sqrt(total / n + epsilon)", kept, inverse, **sum_of),
        computed(
            "(x - average) * inverse * weight + bias", shape, y, **given, inverse=(inverse, kept),
            weight=(1, weight.shape), bias=(2, bias.shape),
        ),
    )  # fmt: skip
    made = ((shape, dtype), (kept, dtype), (kept, dtype))
    return Recipe(made, tasks, ((kept, dtype), (shape, dtype), *sums.between))


def _repeated(shape: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...]:
    """The steps through an array in order of that shape that is broadcast to another one."""
    steps = [step if n > 1 else 0 for n, step in zip(shape, steps_of(shape), strict=True)]
    return (*(0 for _ in to[len(steps) :]), *steps)


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
