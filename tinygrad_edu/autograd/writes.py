"""Which arrays `assign_` has overwritten, and when: backward refuses saved values that are no longer there.

Time is the sequence number that nodes are given too. An entry is an address range with the time of its last write. It
stays when the array is freed: an array that takes over the address belongs to later nodes, so the old entry cannot
accuse them.
"""

from __future__ import annotations

import itertools
from typing import Any

from ..backend import array_module

next_sequence = itertools.count(1).__next__

latest = 0
_ranges: dict[tuple[int, int], int] = {}  # the latest last


def record(array: Any) -> None:
    """Notes that `array` was overwritten now."""
    global latest
    latest = next_sequence()
    bounds = _bounds(array)
    _ranges.pop(bounds, None)  # so that the entry moves to the end
    _ranges[bounds] = latest


def overwritten_since(array: Any, sequence: int) -> bool:
    """Whether any byte of `array` was overwritten after `sequence`."""
    low, high = _bounds(array)
    for (start, end), when in reversed(list(_ranges.items())):
        if when < sequence:
            return False
        if start < high and low < end:
            return True
    return False


def _bounds(array: Any) -> tuple[int, int]:
    xp = array_module(array)
    start = array.data.ptr if xp.__name__ == "cupy" else array.__array_interface__["data"][0]
    reach = [(size - 1) * step for size, step in zip(array.shape, array.strides, strict=True)]
    if array.size == 0:
        return start, start
    low = start + sum(step for step in reach if step < 0)
    high = start + sum(step for step in reach if step > 0) + array.itemsize
    return low, high
