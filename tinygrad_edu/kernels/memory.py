"""Where arrays lie, and memory for what is needed only while something runs."""

from __future__ import annotations

import ctypes
import threading
from typing import Any, TypeAlias

import numpy

ALIGNMENT = 64
"""Bytes: a cache line, and the longest vector."""
Bytes: TypeAlias = numpy.ndarray[tuple[int], numpy.dtype[numpy.uint8]]
HEAD = object.__basicsize__
"""Bytes of an object before what is its own."""


def address(array: Any) -> int:
    """Where the first element is. An ndarray is Python's head of an object and then this address (NumPy's C API,
    `PyArrayObject`); `__array_interface__` takes ten times as long."""
    return ctypes.c_size_t.from_address(id(array) + HEAD).value


def buffer(size: int) -> Bytes:
    """So many bytes, aligned."""
    raw = numpy.empty(size + ALIGNMENT, numpy.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + size]


class _Here(threading.local):
    def __init__(self) -> None:
        self.memory = buffer(0)


_here = _Here()


def scratch(size: int) -> Bytes:
    """The same for what runs in this thread without end or pause: all share one piece of memory.

    It grows by doubling, so that those who keep a smaller one do not keep more than it in all.
    """
    if _here.memory.size < size:
        _here.memory = buffer(max(size, 2 * _here.memory.size))
    return _here.memory[:size]
