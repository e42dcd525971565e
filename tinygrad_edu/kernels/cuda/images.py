"""Launches of kernels on images, channels last: their defines, and how many threads make a result."""

from __future__ import annotations

from typing import Any

from .steps import TYPES
from .text import THREADS, VECTOR
from .written import Written

LARGE = 1 << 31
"""Elements from which on their numbers have 64 bits."""


def on_images(
    module: str, function: str, dtype: str, arrays: Any, numbers: Any, made: int, run: int, largest: int
) -> Written:
    """A launch with a thread for each vector of `made` elements, of which runs of `run` lie side by side.

    Where arrays are not aligned, each of the same threads has several elements. No array has more than `largest`.
    """
    width = VECTOR // (4 if dtype == "float32" else 8)
    vectors = made // width if run % width == 0 else made
    return Written(module, function, (-(-vectors // THREADS),), (THREADS,), arrays, numbers, defines(dtype, largest))


def defines(dtype: str, largest: int) -> tuple[tuple[str, str], ...]:
    return (("REAL", TYPES[dtype]), ("INDEX", "unsigned" if largest < LARGE else "unsigned long long"))
