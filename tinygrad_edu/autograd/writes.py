"""Which arrays `assign_` has overwritten, and when: backward refuses saved values that are no longer there.

Time is the sequence number that nodes are given too. An entry is an address range with the time of its last write. It
may go when the memory is freed: whatever takes over the address belongs to later nodes.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from itertools import starmap
from operator import call
from typing import Any

import numpy

from ..backend import array_module

next_sequence = itertools.count(1).__next__

latest = 0
_ranges: dict[tuple[int, int], tuple[int, weakref.ref[Any]]] = {}  # the latest last
_lock = threading.Lock()
_room = 1000  # how many entries there may be before those of freed memory are thrown out


def commit(effects: Iterable[tuple[Any, ...]]) -> None:
    """Makes the calls `(function, *arguments)`: all of them, for an interrupt waits until Python code runs again.

    The functions must be ones that run no Python code, such as `operator.setitem` on arrays and `setattr` on slots.
    """
    deque(starmap(call, effects), maxlen=0)


def record(array: Any) -> None:
    """Notes that `array` was overwritten now."""
    global latest, _room
    owner, key = array, bounds(array)
    while isinstance(owner.base, type(array)):
        owner = owner.base
    with _lock:
        latest = next_sequence()
        _ranges.pop(key, None)  # so that the entry moves to the end
        _ranges[key] = (latest, weakref.ref(owner))
        if len(_ranges) > _room:
            for freed in [k for k, (_, memory) in _ranges.items() if memory() is None]:
                del _ranges[freed]
            _room = 2 * len(_ranges) + 1000


def overwritten_since(low: int, high: int, sequence: int) -> bool:
    """Whether any byte from address `low` up to `high` was overwritten after `sequence`."""
    with _lock:
        for (start, end), (when, _) in reversed(_ranges.items()):
            if when < sequence:
                return False
            if start < high and low < end:
                return True
    return False


def bounds(array: Any) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the one behind its last."""
    xp = array_module(array)
    return (numpy.lib.array_utils if xp is numpy else xp).byte_bounds(array)
