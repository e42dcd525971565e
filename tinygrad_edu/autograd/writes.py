"""Which arrays `assign_` has overwritten, and when: backward refuses saved values that are no longer there.

Time is the sequence number that nodes are given too. An entry is an address range with the time of its last write. It
may go when the memory is freed: whatever takes over the address belongs to later nodes.
"""

from __future__ import annotations

import _signal  # without the names that the public module looks up, which take ten times as long
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


class uninterrupted:
    """Holds Ctrl-C back during a `with` block: it comes at its end."""

    def __enter__(self) -> None:
        self._caught: list[Any] = []
        self._handler = None
        if threading.get_ident() == threading.main_thread().ident:  # no other thread is interrupted
            handler = _signal.getsignal(_signal.SIGINT)
            if callable(handler):
                _signal.signal(_signal.SIGINT, lambda *interrupt: self._caught.append(interrupt))
                self._handler = handler

    def __exit__(self, *error: object) -> None:
        if self._handler is not None:
            _signal.signal(_signal.SIGINT, self._handler)
            if self._caught:
                self._handler(*self._caught[0])


Region = tuple[tuple[int, int], Any]
"""The bounds of an array, and a weak reference to what owns its memory."""


def region(array: Any) -> Region:
    owner = array
    while isinstance(owner.base, type(array)):
        owner = owner.base
    return bounds(array), weakref.ref(owner)


def record(*regions: Region) -> None:
    """Notes that these were overwritten now."""
    global latest, _room
    with _lock:
        latest = next_sequence()
        for key, owner in regions:
            _ranges.pop(key, None)  # so that the entry moves to the end
            _ranges[key] = (latest, owner)
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
