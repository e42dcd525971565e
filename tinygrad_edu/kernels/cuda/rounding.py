"""Factors of products rounded to 16 bits, to the nearest, ties to even: what tensor cores multiply."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy

from ..gemm import Gemm
from .steps import rounder
from .text import VECTOR

THREADS = 256
_WIDE = VECTOR // 4  # floats that a thread can read at once


class Rows(NamedTuple):
    """Matrices of float32 in memory: how many, their size, and the elements from row to row and from each to the
    next."""

    many: int
    rows: int
    columns: int
    step: int
    stride: int

    @property
    def size(self) -> int:
        return self.many * self.rows * self.columns

    def dense(self) -> Rows:
        """The same numbers without gaps."""
        return self._replace(step=self.columns, stride=self.rows * self.columns if self.many > 1 else 0)

    def round(self, source: int, target: int, dtype: str) -> None:
        """Queues that the matrices at one address are rounded and laid at another, dense."""
        if self == self.dense():  # one row, so that nothing is divided
            self = Rows(1, 1, self.size, self.size, 0)
        width = 1 if any(n % _WIDE for n in (source // 4, self.columns, self.step, self.stride)) else _WIDE
        blocks = -(-self.size // (THREADS * width))
        places = map(numpy.uint64, (source, target))
        _kernel(dtype, width)((blocks,), (THREADS,), (*places, *map(numpy.int64, (self.size, *self[1:]))))


def factors_of(product: Gemm) -> tuple[Rows, Rows]:
    """How a and b lie; one that is the same in the whole batch is there once."""
    m, n, k = product.m, product.n, product.k
    sizes = (k, m) if product.transpose_a else (m, k), (n, k) if product.transpose_b else (k, n)
    strides, steps = product.strides, (product.lda, product.ldb)
    a, b = (
        Rows(product.batch if stride else 1, *size, step, stride)
        for size, step, stride in zip(sizes, steps, strides[:2], strict=True)
    )
    return a, b


@functools.cache
def _kernel(dtype: str, width: int) -> Any:
    import cupy

    return cupy.RawKernel(text(dtype, width), "round_rows")


def text(dtype: str, width: int) -> str:
    """CUDA C that rounds `width` neighbours to a thread: 1, or those of one wide read."""
    read, written = ("float4", "ushort4") if width > 1 else ("float", "unsigned short")
    parts = [f".{axis}" for axis in "xyzw"] if width > 1 else [""]
    return f"""{rounder(dtype)}
extern "C" __global__ __launch_bounds__({THREADS}) void round_rows(const float* source, unsigned short* target,
        long long size, long long rows, long long columns, long long step, long long stride) {{
    const long long i = (blockIdx.x * (long long){THREADS} + threadIdx.x) * {width};
    if (i >= size) return;
    long long at = i;
    if (columns < size) {{
        const long long row = i / columns;
        at = row / rows * stride + row % rows * step + i % columns;
    }}
    const {read} from = *(const {read}*)(source + at);
    {written} to;
    {" ".join(f"to{part} = to_{dtype}(from{part});" for part in parts)}
    *({written}*)(target + i) = to;
}}
"""
