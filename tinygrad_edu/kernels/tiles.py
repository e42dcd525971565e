"""Products of matrices that are neither small nor large, as products of tiles.

OpenBLAS copies both matrices of a product before it multiplies them, but for small ones, for which it has other kernels
where the processor has vectors of 512 bits. Those reach 95 % of what the processor can do, the others, on such sizes as
networks have, 65 to 90 %; so a product is cut into tiles that are just small enough.
"""

from __future__ import annotations

from . import blas
from .gemm import Gemm, is_small
from .language import gemm, kernel
from .llvm import SIZES
from .native import Task

_CORES = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""What OpenBLAS calls the processors for which it has kernels for small matrices."""
_LIMIT = 1_000_000
"""Multiplications in a tile, at most: OpenBLAS's own bound for what is small."""
_SIDE = 128
"""Elements along the two short sides of a tile."""
_ROW = 2048
"""The most bytes in a row of a result that is made of tiles: with more, the rows of a tile are too far apart."""
_TURNED, _ROWS = 1 << 17, 256
"""A transposed right matrix is put in order first, if it has no more elements than that, and the left one rows enough
for it to be worth it."""


@kernel()
def add_tile(a, b, c, first, rows, columns, deep, lda, ldb, ldc, transpose_a):
    """Writes the first product of a tile of the result, and adds the others to it."""
    if first:
        gemm(a, b, c, rows, columns, deep, lda, ldb, ldc, transpose_a)
    else:
        gemm(a, b, c, rows, columns, deep, lda, ldb, ldc, transpose_a, False, 1.0)


@kernel(writes=("c",))
def tiled(
    a, b, c, start, stop, scratch, n, k, lda, ldb, ldc, high, wide, deep, transpose_a, transpose_b,
):  # fmt: skip
    """Those rows of c = a @ b."""
    if transpose_b:
        for j in range(n):
            for p in range(k):
                scratch[p * n + j] = b[j * ldb + p]
    right = scratch if transpose_b else b
    step = n if transpose_b else ldb
    if transpose_a:
        for p in range(0, k, deep):
            for i in range(start, stop, high):
                for j in range(0, n, wide):
                    add_tile(
                        a[p * lda + i :], right[p * step + j :], c[i * ldc + j :], p == 0, min(high, stop - i),
                        min(wide, n - j), min(deep, k - p), lda, step, ldc, True,
                    )  # fmt: skip
    else:
        for i in range(start, stop, high):
            for j in range(0, n, wide):
                for p in range(0, k, deep):
                    add_tile(
                        a[i * lda + p :], right[p * step + j :], c[i * ldc + j :], p == 0, min(high, stop - i),
                        min(wide, n - j), min(deep, k - p), lda, step, ldc, False,
                    )  # fmt: skip


def suits(product: Gemm) -> bool:
    """Whether tiles are faster than one product."""
    library = blas.find()
    return (
        library is not None
        and library.core in _CORES
        and (product.alpha, product.beta, product.batch) == (1.0, 0.0, 1)
        and not is_small(product)
        and (product.m * product.n * product.k > _LIMIT or product.transpose_b)
        and product.n * SIZES[product.dtype] <= _ROW
        and (not product.transpose_b or _is_worth_turning(product))
    )


def _is_worth_turning(product: Gemm) -> bool:
    return not product.transpose_a and product.m >= _ROWS and product.n * product.k <= _TURNED


def task(product: Gemm) -> Task:
    """The product as a kernel."""
    m, n, k = product.m, product.n, product.k
    wide = min(n, _SIDE)
    if product.transpose_a:
        high = min(m, _SIDE)
        deep = min(k, _LIMIT // (high * wide))
    else:
        deep = min(k, _SIDE)
        high = min(m, _LIMIT // (deep * wide))
    names = ("n", "k", "lda", "ldb", "ldc", "transpose_a", "transpose_b")
    return Task(
        tiled,
        tuple((name, product.dtype, getattr(product, name)) for name in "abc"),
        (*((name, getattr(product, name)) for name in names), ("high", high), ("wide", wide), ("deep", deep)),
        length=m,
        operations=2 * m * n * k,
        traffic=SIZES[product.dtype] * (m * k + k * n + m * n),
        granularity=4,
        scratch=n * k if product.transpose_b else 0,
    )
