"""Recurrent networks: each thread takes some rows of the batch through all steps, so that none waits for another.
Of few rows it takes some units of each step: their time is that of reading the weights, and each thread reads a part.

A step multiplies by the same matrices as all others. They are packed once, in panels of a vector's width, and
the products are tiles of our own. What lies between forward and backward pass is time-major, as `ops/recurrent.py` has
it; so are the cotangents that the backward pass leaves for the gradients of the weights, each of which is one product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from .language import kernel, local, tanh
from .native import Task
from .registry import Made, Recipe
from .tiles import lanes, registers, tile

FEW = 16
"""Rows of all steps up to which it is not worth to pack a matrix."""
MOST = 3
"""Rows of the batch, at most, for which threads divide the units of each step."""
SHARED = 1 << 15
"""Weights of a step from which on that is worth a barrier."""
WIDE, TALL = 16, 4
"""Units of a tile there, at most; steps of a tile of x @ kernel."""
DEPTH = 128
"""Rows of the matrices of a long sum of products that are multiplied at a time, while they are in the cache."""


@kernel()
def sigmoid(a):
    return 0.5 * tanh(0.5 * a) + 0.5


@kernel()
def first_steps(first, mask, start, rows, time, reverse):
    """For each row the first step that is not masked and changes the state, `time` if there is none."""
    for b in range(rows):
        first[b] = float(time)
        for t in range(time):
            at = time - 1 - t if reverse else t
            first[b] = min(first[b], float(t) if mask[(start + b) * time + at] else float(time))


@kernel()
def copy_rows(x, y, start, stop, columns, row):
    """Rows of x, which are `row` elements apart, as neighbours."""
    for b in range(start, stop):
        for j in range(columns):
            y[b * columns + j] = x[b * row + j]


@kernel()
def copy_states(x, y, start, stop, first, last, units, row):
    """Those units of those rows of x, which are `row` elements apart, as neighbours."""
    for b in range(start, stop):
        for u in range(first, last):
            y[b * units + u] = x[b * row + u]


# Products


@kernel(writes=("packed",))
def pack(matrix, packed, start, stop, rows, columns, width):
    """The panels of a matrix (rows, columns), one after the other, each (rows, width)."""
    for p in range(start, stop):
        for k in range(rows):
            for j in range(width if columns % width == 0 else min(width, columns - p * width)):
                packed[(p * rows + k) * width + j] = matrix[k * columns + p * width + j]


@kernel(writes=("packed",))
def pack_transposed(matrix, packed, start, stop, rows, columns, width, first):
    """The panels of the transposed of a matrix (columns, rows), whose rows begin with `first`."""
    for p in range(start, stop):
        for k in range(rows):
            of = k + first if k + first < rows else k + first - rows
            for j in range(min(width, columns - p * width)):
                packed[(p * rows + k) * width + j] = matrix[(p * width + j) * rows + of]


@kernel(writes=("packed",))
def pack_units(matrix, packed, start, stop, units, gates, wide):
    """The columns of some units, those of each gate, as neighbours."""
    for p in range(start, stop):
        for k in range(units):
            for gate in range(gates):
                for j in range(wide if units % wide == 0 else min(wide, units - p * wide)):
                    packed[((p * units + k) * gates + gate) * wide + j] = matrix[
                        (k * gates + gate) * units + p * wide + j
                    ]


@kernel()
def product(a, b, c, m, n, k, lda, ldc, width, packed, tall, rest, add=False):
    """c = a @ b for m rows, `tall` at a time and, if there are more, `rest`; if `add`, it is added to c."""
    whole = m // tall * tall
    for i in range(0, whole, tall):
        product_of_rows(a[i * lda :], b, c[i * ldc :], tall, n, k, lda, ldc, width, packed, add)
    if rest and whole < m:
        product_of_rows(a[whole * lda :], b, c[whole * ldc :], rest, n, k, lda, ldc, width, packed, add)


@kernel()
def product_of_rows(a, b, c, rows, n, k, lda, ldc, width, packed, add):
    whole = n // width * width
    ldb = width if packed else n
    for j in range(0, whole, width):
        tile(a, b[j * k if packed else j :], c[j:], width, ((rows, lda, ldc),), ((k, 1, ldb),), add=add)
    if whole < n:
        tile(a, b[whole * k if packed else whole :], c[whole:], n - whole, ((rows, lda, ldc),), ((k, 1, ldb),), add=add)


@kernel(writes=("gates",))
def project(
    x, kernel, gates, start, stop, scratch, batch, time, features, columns, width, tall, x_row, x_step, packed, reverse
):  # fmt: skip
    """gates = x @ kernel for all steps, time-major. Each thread makes some panels of columns."""
    step = -x_step if reverse else x_step
    for p in range(start, stop):
        first = p * width
        panel = scratch if packed else kernel[first:]
        if packed:
            for k in range(features):
                for j in range(width if columns % width == 0 else min(width, columns - first)):
                    scratch[k * width + j] = kernel[k * columns + first + j]
        for b in range(batch):
            begin = x[b * x_row + ((time - 1) * x_step if reverse else 0) :]
            to = gates[b * columns + first :]
            if columns % width == 0 or p < columns // width:
                panel_product(
                    begin, panel, to, time, width, features, step, width if packed else columns, batch * columns, tall
                )
            else:
                panel_product(
                    begin, panel, to, time, columns % width, features, step, width if packed else columns,
                    batch * columns, tall,
                )  # fmt: skip


@kernel()
def panel_product(a, b, c, m, n, k, lda, ldb, ldc, tall):
    """c = a @ b for m rows, `tall` at a time, and as many columns as a tile has."""
    whole = m // tall * tall
    for i in range(0, whole, tall):
        tile(a[i * lda :], b, c[i * ldc :], n, ((tall, lda, ldc),), ((k, 1, ldb),))
    if whole < m:
        tile(a[whole * lda :], b, c[whole * ldc :], n, ((m - whole, lda, ldc),), ((k, 1, ldb),))


@kernel()
def state_product(h, recurrent, gate, start, stop, rows, gates, units, wide, packed, add):
    """gate = h @ recurrent, of all gates those units, `wide` at a time; if `add`, it is added to gate."""
    row = gates * wide if packed else gates * units
    for u in range(start, stop, wide):
        if units % wide == 0 or u + wide <= units:
            tile(
                h, recurrent[u * units * gates if packed else u :], gate[u:], wide, ((rows, units, gates * units),),
                ((units, 1, row),), groups=(gates, wide if packed else units, units), add=add,
            )  # fmt: skip
        else:
            tile(
                h, recurrent[u * units * gates if packed else u :], gate[u:], units % wide,
                ((rows, units, gates * units),), ((units, 1, row),),
                groups=(gates, wide if packed else units, units), add=add,
            )  # fmt: skip


@kernel(writes=("y",))
def product_of_columns(a, b, y, start, stop, count, rows, columns, first, of, to, into, width, tall):
    """y = a.T @ b for a (count, rows) and `columns` of b (count, of), from `first` on, which become those of y
    (rows, into) from `to` on. Each thread makes some panels of y."""
    panel = local(DEPTH * width)
    for i in range(rows):
        for j in range(start * width, min(stop * width, columns)):
            y[i * into + to + j] = 0.0
    for step in range(0, count, DEPTH):
        k = min(DEPTH, count - step)
        for p in range(start, stop):
            for i in range(k):
                for j in range(width if columns % width == 0 else min(width, columns - p * width)):
                    panel[i * width + j] = b[(step + i) * of + first + p * width + j]
            if p < columns // width:
                add_to_columns(a[step * rows :], panel, y[to + p * width :], k, rows, width, into, width, tall)
            else:
                add_to_columns(
                    a[step * rows :], panel, y[to + p * width :], k, rows, columns % width, into, width, tall
                )


@kernel()
def add_to_columns(a, panel, y, k, rows, columns, into, width, tall):
    """y += a.T @ panel for so many columns of y."""
    whole = rows // tall * tall
    if columns:
        for i in range(0, whole, tall):
            tile(a[i:], panel, y[i * into :], columns, ((tall, 1, into),), ((k, rows, width),), add=True)
        if whole < rows:
            tile(
                a[whole:], panel, y[whole * into :], columns, ((rows - whole, 1, into),), ((k, rows, width),), add=True
            )


@kernel(writes=("y",))
def column_sums(a, y, start, stop, count, columns, first, of, to):
    """The sums of `columns` of a (count, of), from `first` on, as elements of y from `to` on."""
    for j in range(start, stop):
        y[to + j] = 0.0
    for i in range(count):
        for j in range(start, stop):
            y[to + j] += a[i * of + first + j]


# Recipes


Slots: TypeAlias = dict[str, int | None]


class Part(NamedTuple):
    """Some columns of the cotangents, of as many in all, and where the gradients by them belong in a row of as many."""

    columns: int
    first: int
    of: int
    to: int
    into: int


def slots_of(dtype: str, **slots: int | None) -> tuple[tuple[str, str, int | None], ...]:
    """Parameters with dtype and slot, None for what is not there."""
    return tuple((name, "bool" if name == "mask" else dtype, slot) for name, slot in slots.items())


class Tiling(NamedTuple):
    """The rows and columns of a tile, and how many rows are left over."""

    width: int
    tall: int
    rest: int


def tiling(dtype: str, batch: int) -> Tiling:
    """Of a step's product. Threads divide the batch by `tall` rows."""
    tall = 4 if batch >= 8 else -(-batch // 2)
    return Tiling(lanes(dtype) * (4 if tall < 3 else 2), tall, batch % tall)


class Divided(NamedTuple):
    """What threads divide: the units of each step, if `wide` of them are one tile; rows of the batch if that is 0."""

    wide: int
    granularity: int


def divided(x: Any, recurrent: Any) -> Divided:
    """Threads divide the units of few rows; of a single one that is better even for one thread, since x @ kernel is
    one product of all steps then, if there are some."""
    (batch, time, _), units, dtype = x.shape, recurrent.shape[0], recurrent.dtype.name
    gates, large = recurrent.shape[1] // units, math.prod(recurrent.shape) >= SHARED
    held = gates * (batch + 1 if batch > 1 else 1)  # vectors in registers for each vector of units
    fitting = [n * lanes(dtype) for n in (4, 2, 1) if n * held < registers()[0] and n * lanes(dtype) <= WIDE]
    if fitting and time >= TALL and (batch == 1 or (batch <= MOST and large)):
        return Divided(fitting[0], fitting[0] if large else units)
    return Divided(0, tiling(dtype, batch).tall)


def prepared(
    x: Any, kernel: Any, recurrent: Any, wide: int, reverse: bool, at: int, free: int
) -> tuple[list[Task], Slots, tuple[Made, ...]]:
    """Tasks for threads that divide the units: x @ kernel of all steps, into the slot `at`, and the packed recurrent
    kernel; where each array is, with h behind `at`, and what is made in between, from the slot `free` on: also the
    first two, unless outputs lie there."""
    dtype, (batch, time, features), (units, columns) = x.dtype.name, x.shape, recurrent.shape
    width, packed, gates = 2 * lanes(dtype), batch * time > FEW, columns // units
    numbers = {"batch": batch, "time": time, "features": features, "columns": columns, "width": width}
    numbers |= {"tall": TALL, "x_row": stride(x, 0), "x_step": stride(x, 1)}
    numbers |= {"packed": packed, "reverse": reverse}
    projection = Task(
        project,
        slots_of(dtype, x=0, kernel=1, gates=at),
        tuple(numbers.items()),
        -(-columns // width),
        2 * batch * time * features * columns,
        4 * (batch * time * (features + columns) + features * columns),
        scratch=features * width * packed,
    )
    slots: Slots = {"x": None, "kernel": None, "gates": at, "h": at + 1}
    made: list[Made] = [((time, batch, columns), dtype), ((time + 1, batch, units), dtype)] if free == at else []
    if not packed:
        return [projection], slots, tuple(made)
    slots["recurrent"] = free + len(made)
    count, parts = units * columns, -(-units // wide)
    packing = Task(
        pack_units,
        slots_of(dtype, matrix=2, packed=slots["recurrent"]),
        (("units", units), ("gates", gates), ("wide", wide)),
        parts,
        2 * count,
        8 * count,
    )
    return [projection, packing], slots, (*made, ((parts, units, gates, wide), dtype))


def packed_weights(
    x: Any, kernel: Any, recurrent: Any, given: tuple[int, int], slot: int
) -> tuple[list[Task], Slots, tuple[Made, ...]]:
    """Tasks that pack the weights, into slots from that one on, where each is, and what they make; no tasks if as few
    rows are multiplied by them that it is not worth it."""
    batch, time, _ = x.shape
    if batch * time <= FEW:
        return [], {}, ()
    width = tiling(x.dtype.name, batch).width
    tasks = [
        _packing(matrix, (at, slot + i), width)
        for i, (matrix, at) in enumerate(zip((kernel, recurrent), given, strict=True))
    ]
    made = tuple(_panels(matrix, width) for matrix in (kernel, recurrent))
    return tasks, {"kernel": slot, "recurrent": slot + 1}, made


def transposed_weights(
    x: Any, kernel: Any, recurrent: Any, given: tuple[int, int], slot: int, needs_x: bool, first: int = 0
) -> tuple[list[Task], dict[str, int], tuple[Made, ...]]:
    """The same for the transposed weights, of which the kernel is needed for the gradient of x only.
    The rows of the transposed recurrent kernel begin with `first`."""
    width = tiling(x.dtype.name, x.shape[0]).width
    tasks = [_packing(recurrent, (given[1], slot), width, True, first)]
    made = (_panels(recurrent, width, True),)
    if not needs_x:
        return tasks, {"kernel": given[0], "recurrent": slot}, made
    tasks.append(_packing(kernel, (given[0], slot + 1), width, True))
    return tasks, {"kernel": slot + 1, "recurrent": slot}, (*made, _panels(kernel, width, True))


def _packing(matrix: Any, slots: tuple[int, int], width: int, transposed: bool = False, first: int = 0) -> Task:
    rows, columns = matrix.shape[::-1] if transposed else matrix.shape
    arrays = tuple((name, matrix.dtype.name, slot) for name, slot in zip(("matrix", "packed"), slots, strict=True))
    numbers = {"rows": rows, "columns": columns, "width": width} | ({"first": first} if transposed else {})
    function = pack_transposed if transposed else pack
    work = rows * columns
    return Task(function, arrays, tuple(numbers.items()), -(-columns // width), 2 * work, 8 * work)


def _panels(matrix: Any, width: int, transposed: bool = False) -> Made:
    rows, columns = matrix.shape[::-1] if transposed else matrix.shape
    return (-(-columns // width), rows, width), matrix.dtype.name


def product_task(dtype: str, slots: tuple[int, int, int], count: int, rows: int, part: Part) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("aby", slots, strict=True))
    width = lanes(dtype)
    numbers = {"count": count, "rows": rows, **part._asdict(), "width": width, "tall": 8}
    flops, traffic = 2 * count * rows * part.columns, 4 * (count * (rows + part.columns) + rows * part.columns)
    return Task(product_of_columns, arrays, tuple(numbers.items()), -(-part.columns // width), flops, traffic)


def sums_task(dtype: str, slots: tuple[int, int], count: int, part: Part) -> Task:
    arrays = tuple((name, dtype, slot) for name, slot in zip("ay", slots, strict=True))
    numbers = {"count": count, "columns": part.columns, "first": part.first, "of": part.of, "to": part.to}
    work = count * part.columns
    return Task(column_sums, arrays, tuple(numbers.items()), part.columns, work, 4 * work, granularity=16)


def sizes(x: Any, recurrent: Any, **more: int) -> tuple[tuple[str, int], ...]:
    """The numbers that the kernels of all three networks get, and more."""
    (batch, time, features), units = x.shape, recurrent.shape[0]
    shape = {"batch": batch, "time": time, "features": features, "units": units}
    shape |= {"x_row": stride(x, 0), "x_step": stride(x, 1)}
    return tuple((shape | tiling(x.dtype.name, batch)._asdict() | more).items())


def stride(a: Any, axis: int) -> int:
    """The elements from one to the next along that axis; 0 if there is no array."""
    return 0 if a is None else a.strides[axis] // a.dtype.itemsize


def gradient(
    dtype: str, before: Sequence[Task], weights: Sequence[Sequence[Task]], needs: Any, shapes: Sequence[Any],
    between: Sequence[Made],
) -> Recipe:  # fmt: skip
    """First back through time, then the gradients of kernel, recurrent kernel and bias, each by its tasks if it is
    needed. `shapes` are those of all gradients, of which that of x and these three may not be needed."""
    needed = [*needs[:4], *(True for _ in shapes[4:])]
    outputs = ((tuple(shape), dtype) if need else None for shape, need in zip(shapes, needed, strict=True))
    tasks = (task for tasks, need in zip(weights, needs[1:4], strict=True) if need for task in tasks)
    return Recipe(tuple(outputs), (*before, *tasks), tuple(between))
