"""Penalties: what the calls of layers add to the loss besides the penalties on weights."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from ..state import state


class Penalties:
    """What layers have added to the loss in one outermost call, that of a model for example.

    Attributes:
        number: later calls have larger ones.
        added: pairs of a layer, by a weak reference, and a number that it added.
    """

    __slots__ = ("added", "number")
    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.added: list[tuple[weakref.ref[Any], Any]] = []

    def note(self, layer: Any, value: Any) -> None:
        if state.trace is not None:
            state.trace.when_closed(self.added.clear)  # a traced value is of no use after the recording
        self.added.append((weakref.ref(layer), value))

    def of(self, layer: Any) -> list[Any]:
        """What that layer has added."""
        return [value for owner, value in self.added if owner() is layer]

    def taken(self) -> list[Any]:
        """What all layers have added, which it forgets."""
        values = [value for _, value in self.added]
        self.added.clear()
        return values
