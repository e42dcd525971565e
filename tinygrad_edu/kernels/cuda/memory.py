"""Where arrays lie in a device's memory, and copies from place to place."""

from __future__ import annotations

from typing import Any

import numpy


def memory(size: int) -> Any:
    """So many bytes."""
    import cupy

    return cupy.empty(max(1, size), numpy.uint8)


def array_in(memory: Any, offset: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> Any:
    """An array that lies in such memory from that byte on."""
    import cupy

    return cupy.ndarray(shape, dtype, memory.data + offset, strides)


def like(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> Any:
    """A new array with these strides, whose elements may lie in gaps, in reverse order or upon each other."""
    steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    low, high = sum(step for step in steps if step < 0), sum(step for step in steps if step > 0)
    return array_in(memory(high - low + dtype.itemsize), -low, shape, dtype, strides)


def fill(target: Any, source: Any) -> None:
    """Copies one array's bytes to another that is laid out alike, without gaps; it waits for nothing."""
    import cupy

    if target.nbytes:
        target.data.copy_from_device_async(source.data, target.nbytes, cupy.cuda.get_current_stream())
