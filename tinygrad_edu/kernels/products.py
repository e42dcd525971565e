"""Products of matrices that are neither small nor large, as products of tiles.

OpenBLAS copies both matrices of a product before it multiplies them, but for small ones, for which it has other kernels
where the processor has vectors of 512 bits. Those reach 95 % of what the processor can do, the others, on such sizes as
networks have, 65 to 90 %; so a product is cut into tiles that are just small enough.
"""

from __future__ import annotations

from typing import Any

from . import attention, blas, gemv
from .gemm import Gemm, is_small
from .language import gemm, kernel
from .llvm import SIZES
from .native import Task
from .registry import Recipe, strided

_CORES = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""What OpenBLAS calls the processors for which it has kernels for small matrices."""
_LIMIT = gemv.LIMIT
"""Multiplications in a tile, at most."""
_WIDE, _DEEP = 64, 240
"""The columns of a tile, and how many products are added up in it at a time: 64 rows of it are within the limit."""
_SIDE = 128
"""The rows and columns of a tile where the left matrix is transposed."""
_LARGE = 1 << 29
"""Multiplications from which on the result is so large that adding to it again and again costs more."""
_ALIASES = 2048
"""Bytes between rows that the first-level cache keeps in the same few places."""
_ROWS = 128
"""The rows of the left matrix from which on it is worth it to put the tiles of the right one in order first."""


@kernel()
def add_tile(a, b, c, first, rows, columns, deep, lda, ldb, ldc, transpose_a):
    """Writes the first product of a tile of the result, and adds the others to it."""
    if first:
        gemm(a, b, c, rows, columns, deep, lda, ldb, ldc, transpose_a)
    else:
        gemm(a, b, c, rows, columns, deep, lda, ldb, ldc, transpose_a, False, 1.0)


@kernel()
def copy_tile(b, to, rows, columns, ldb, ldt, transpose):
    """A tile without gaps between its rows; if it is transposed, sixteen numbers of a line after the other."""
    if transpose:
        for p in range(0, rows, 16):
            for j in range(columns):
                for i in range(p, min(rows, p + 16)):
                    to[i * ldt + j] = b[j * ldb + i]
    else:
        for p in range(rows):
            for j in range(columns):
                to[p * ldt + j] = b[p * ldb + j]


@kernel(writes=("c",))
def tiled(
    a, b, c, start, stop, scratch, n, k, lda, ldb, ldc, high, wide, deep, transpose_a, transpose_b, copies,
):  # fmt: skip
    """Those rows of c = a @ b."""
    for j in range(0, n, wide):
        columns = min(wide, n - j)
        if transpose_a:
            for i in range(start, stop, high):
                for p in range(0, k, deep):
                    left = a[p * lda + i :]
                    rows = min(high, stop - i)
                    size = min(deep, k - p)
                    if copies:
                        copy_tile(left, scratch, size, rows, lda, high, False)
                    add_tile(
                        scratch if copies else left, b[p * ldb + j :], c[i * ldc + j :], p == 0, rows, columns, size,
                        high if copies else lda, ldb, ldc, True,
                    )  # fmt: skip
        else:
            for p in range(0, k, deep):
                tile = b[j * ldb + p if transpose_b else p * ldb + j :]
                size = min(deep, k - p)
                if copies:
                    copy_tile(tile, scratch, size, columns, ldb, wide, transpose_b)
                for i in range(start, stop, high):
                    add_tile(
                        a[i * lda + p :], scratch if copies else tile, c[i * ldc + j :], p == 0, min(high, stop - i),
                        columns, size, lda, wide if copies else ldb, ldc, False,
                    )  # fmt: skip


def suits(product: Gemm) -> bool:
    """Whether tiles are faster than one product."""
    library = blas.find()
    size = product.m * product.n * product.k
    return (
        library is not None
        and library.core in _CORES
        and (product.alpha, product.beta, product.batch) == (1.0, 0.0, 1)
        and not is_small(product)
        and size < _LARGE
        and (product.m >= _ROWS and not product.transpose_a if product.transpose_b else size > _LIMIT)
    )


def task(product: Gemm) -> Task:
    """The product as a kernel."""
    m, n, k = product.m, product.n, product.k
    if product.transpose_a:
        high, wide = min(m, _SIDE), min(n, _SIDE)
        deep = min(k, _LIMIT // (high * wide))
    else:
        wide = n if n <= 2 * _WIDE and m < _ROWS else min(n, _WIDE)  # so that a long matrix is read once, as it lies
        deep = min(k, _DEEP * _WIDE // max(wide, _WIDE))
        high = min(m, _LIMIT // (wide * deep) // 4 * 4)
    if product.transpose_a:
        copies = product.lda * SIZES[product.dtype] % _ALIASES == 0
    else:
        copies = product.transpose_b or (m >= _ROWS and n > wide)
    names = ("n", "k", "lda", "ldb", "ldc", "transpose_a", "transpose_b")
    sizes = (("high", high), ("wide", wide), ("deep", deep), ("copies", copies))
    return Task(
        tiled,
        tuple((name, product.dtype, getattr(product, name)) for name in "abc"),
        (*((name, getattr(product, name)) for name in names), *sizes),
        length=m,
        operations=2 * m * n * k,
        traffic=SIZES[product.dtype] * (m * k + k * n + m * n),
        granularity=4,
        scratch=deep * (high if product.transpose_a else wide) * copies,
    )


@strided
def matmul(a: Any, b: Any) -> Recipe | None:
    """Of `_matmul`, for few rows, a column, and stacks."""
    return gemv.recipe(a, b) or attention.stacked(a, b)
