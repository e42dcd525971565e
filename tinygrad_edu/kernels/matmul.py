"""Matrix products of arrays, by the array module's own or by what is better than that."""

from __future__ import annotations

from typing import Any

import numpy


def matmul_of(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    """`numpy.matmul(a, b, out=out)`, on CUDA by cuBLASLt."""
    if xp is numpy:
        return numpy.matmul(a, b, out=out)
    from .cuda.blas import matmul

    return matmul(a, b, out)
