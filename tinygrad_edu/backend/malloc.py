"""How the C library gives memory to large arrays."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as in malloc.h
_TRIM, _MMAP = 1 << 30, 1 << 25  # bytes; glibc allows no larger second one


def keep_freed_memory() -> None:
    """Makes glibc keep the memory of freed arrays, up to 1 GiB, for the next ones.

    By default it gives that of arrays from 128 KiB on back to the system at once, and each new one is mapped page by
    page while it is first written: up to half of the time of an eager step. The environment has the last word: its
    MALLOC_... variables, and TINYGRAD_EDU_MALLOC=0, which leaves all as it is.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not chosen and os.environ.get("TINYGRAD_EDU_MALLOC") != "0":
        mallopt(_MMAP_THRESHOLD, _MMAP)
        mallopt(_TRIM_THRESHOLD, _TRIM)
