"""Products of a few rows by a matrix, or of a matrix by a column, which take as long as the matrix takes to be read.

So it is read once, and as it lies in memory: some rows of it beside each other, from their beginning to their end. That
is also why threads do not share the columns of a large matrix, of which each would read pieces, but its rows: each
thread makes the product by a part of the rows, and these products are added up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import pool
from .gemm import rows_of
from .language import kernel
from .llvm import SIZES
from .native import Task
from .registry import Recipe, are_floats
from .tiles import lanes, registers, tile

LIMIT = 1_000_000
"""Multiplications up to which OpenBLAS has kernels for processors with vectors of 512 bits that copy neither matrix."""
_SMALL = 1 << 14
"""The elements of a matrix from which on these kernels gain more than a tenth of a microsecond."""
_WIDE = 4
"""Vectors of columns in a tile, at most."""
_TALL = 8
"""Rows of a transposed matrix that are multiplied at a time."""
_LARGE, _LONG = 1 << 16, 512
"""The elements and rows of a matrix from which on it costs next to nothing to add up the products by its parts."""


@kernel()
def add_rows(a, b, c, start, stop, m, n, k, down, along, ldb, wide):
    """c += a @ b in those columns, for so few rows of b that one tile after the other reads them all."""
    for j in range(start, stop, wide):
        if n % wide == 0 or j + wide <= n:
            tile(a, b[j:], c[j:], wide, ((m, down, n),), ((k, along, ldb),), add=True)
        else:
            tile(a, b[j:], c[j:], n % wide, ((m, down, n),), ((k, along, ldb),), add=True)


@kernel()
def product(a, b, c, first, last, start, stop, m, n, k, down, along, ldb, wide, deep):
    """c = a @ b in those columns, by the rows of b from first to last; a's elements are `down` and `along` apart."""
    for i in range(m):
        for j in range(start, stop):
            c[i * n + j] = 0.0
    for p in range(first, min(last, k // deep * deep), deep):
        add_rows(a[p * along :], b[p * ldb :], c, start, stop, m, n, deep, down, along, ldb, wide)
    if k % deep and last == k:
        rest = k // deep * deep
        add_rows(a[rest * along :], b[rest * ldb :], c, start, stop, m, n, k % deep, down, along, ldb, wide)


@kernel(writes=("c",))
def rows_by_matrix(a, b, c, start, stop, m, n, k, down, along, ldb, wide, deep):
    """Those columns of c = a @ b."""
    product(a, b, c, 0, k, start, stop, m, n, k, down, along, ldb, wide, deep)


@kernel(writes=("parts",))
def rows_by_parts(a, b, parts, start, stop, m, n, k, down, along, ldb, wide, deep, part, count):
    """The products by some parts of b, each in a place of its own: `part` rows, the last one what is left."""
    for number in range(start, stop):
        last = k if number == count - 1 else (number + 1) * part
        c = parts[number * m * n :]
        product(a, b, c, number * part, last, 0, n, m, n, k, down, along, ldb, wide, deep)


@kernel(writes=("c",))
def add_parts(parts, c, start, stop, count, size):
    for i in range(start, stop):
        c[i] = parts[i]
    for number in range(1, count):
        for i in range(start, stop):
            c[i] += parts[number * size + i]


@kernel()
def dots(a, b, c, rows, k, ldb, wide):
    """The products of a row by some rows of b, by vectors along both, whose elements are added up at the end."""
    if k >= wide:
        tile(b, a, c, wide, ((rows, ldb, 1),), ((k // wide, wide, wide),), (1, 1), fold=True)
    if k % wide:
        rest = k // wide * wide
        tile(b[rest:], a[rest:], c, k % wide, ((rows, ldb, 1),), ((1, 0, 0),), (1, 1), add=k >= wide, fold=True)


@kernel(writes=("c",))
def rows_by_rows(a, b, c, start, stop, m, n, k, down, ldb, wide, tall):
    """Those columns of c = a @ b.T, by `tall` rows of b after the other."""
    for j in range(start, stop, tall):
        for i in range(m):
            if n % tall == 0 or j + tall <= n:
                dots(a[i * down :], b[j * ldb :], c[i * n + j :], tall, k, ldb, wide)
            else:
                dots(a[i * down :], b[j * ldb :], c[i * n + j :], n % tall, k, ldb, wide)


# Recipe


class Form(NamedTuple):
    """What is multiplied: `m` rows, whose elements are `down` and `along` apart, by a matrix of n columns and k rows,
    or, if it is transposed, n rows and k columns; from one row of it to the next are `ldb` elements. If `swapped`, the
    matrix is the first operand."""

    m: int
    n: int
    k: int
    down: int
    along: int
    ldb: int
    transposed: bool
    swapped: bool


def form_of(a: Any, b: Any) -> Form | None:
    """None where an operand lies in another way."""
    (m, k), n = a.shape, b.shape[1]
    left, right = rows_of(a), rows_of(b)
    if left is None or right is None:
        return None
    if n == 1:  # the product of the transposed matrices
        return Form(1, m, k, 1, 1 if right[0] else right[1], left[1], not left[0], True)
    down, along = (1, left[1]) if left[0] else (left[1], 1)
    return Form(m, n, k, down, along, right[1], right[0], False)


def suits(form: Form, dtype: str) -> bool:
    """Whether the kernels are faster than BLAS, by enough to be seen."""
    m, n, k = form.m, form.n, form.k
    if form.transposed and form.along != 1:
        return False
    if n * k < _SMALL or (k if form.transposed else n) < lanes(dtype):
        return False
    return m <= (1 if form.transposed else 3) or (m <= registers()[0] // 4 and m * n * k > LIMIT)


def recipe(a: Any, b: Any) -> Recipe | None:
    """Of the product of two matrices."""
    if len(a.shape) != 2 or len(b.shape) != 2 or not are_floats(a, b):
        return None
    form, dtype = form_of(a, b), a.dtype.name
    if form is None or not suits(form, dtype):
        return None
    tasks = tasks_of(form, dtype)
    between = (((pool.threads(), form.m, form.n), dtype),) if len(tasks) > 1 else ()
    return Recipe((((a.shape[0], b.shape[1]), dtype),), tasks, between)


def tasks_of(form: Form, dtype: str) -> tuple[Task, ...]:
    """By slots as recipes have them."""
    m, n, k = form.m, form.n, form.k
    a, b = (("a", dtype, int(form.swapped)), ("b", dtype, int(not form.swapped)))
    numbers = {"m": m, "n": n, "k": k, "down": form.down, "ldb": form.ldb}
    work, traffic = 2 * m * n * k, SIZES[dtype] * (m * k + k * n + m * n)

    def task(which: Any, c: str, slot: int, length: int, granularity: int, **more: int) -> Task:
        arrays = (a, b, (c, dtype, slot))
        return Task(which, arrays, tuple((numbers | more).items()), length, work, traffic, granularity)

    if form.transposed:
        wide = lanes(dtype) * (2 if registers()[0] > 16 else 1)
        return (task(rows_by_rows, "c", 2, n, _TALL, wide=wide, tall=min(n, _TALL)),)
    wide = lanes(dtype) * min(_WIDE, -(-n // lanes(dtype)), (registers()[0] - 1) // (m + 1))
    deep = min(k, 8 if m <= 4 else 16)
    numbers |= {"along": form.along, "wide": wide}
    if pool.threads() == 1 or n * k < _LARGE or k < _LONG:
        deep = k if n <= wide else deep
        return (task(rows_by_matrix, "c", 2, n, wide, deep=deep),)
    part = -(-(k // deep) // pool.threads()) * deep
    count = -(-(k // deep * deep) // part)
    arrays = (("parts", dtype, 3), ("c", dtype, 2))
    size, sums = m * n, (("count", count), ("size", m * n))
    moved = SIZES[dtype] * (count + 1) * size
    return (
        task(rows_by_parts, "parts", 3, count, 1, deep=deep, part=part, count=count),
        Task(add_parts, arrays, sums, size, (count - 1) * size, moved, granularity=lanes(dtype)),
    )
