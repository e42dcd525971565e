"""Streams of random numbers for passes over data and for the parts of a pass.

What a pass draws is a function of its key and of the number of the element or batch: it does not matter which thread
or process does the work, nor when.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import numpy

from ..backend import Device, default_generator
from ..backend.random import philox_words

CPU = Device("cpu")
PASSES, LEGACY, PARTS = 2, 3, 4
"""The numbers of streams: of the keys of passes, of seeds for Python's and NumPy's generators, and of a pass's first
part. `tg.seed` has 0, layers with a seed of their own have 1."""


def pass_key(seed: int | None, number: int) -> int:
    """A random word: drawn from the package's generator, or with a `seed` a function of it and of the pass's number."""
    words = default_generator.words(1, CPU) if seed is None else philox_words(1, seed, PASSES, number, CPU)
    return int(words[0])


class Passes:
    """Numbers the passes over one source of data; `rewind` sets all there are back to what `counted` returned."""

    _all: ClassVar[weakref.WeakSet[Passes]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.count = 0
        self._all.add(self)

    def key(self, seed: int | None) -> int:
        """The key of the next pass."""
        self.count += 1
        return pass_key(seed, self.count - 1)

    @classmethod
    def counted(cls) -> list[tuple[Passes, int]]:
        return [(one, one.count) for one in cls._all]

    @staticmethod
    def rewind(counts: list[tuple[Passes, int]]) -> None:
        for one, count in counts:
            one.count = count


def stream(key: int, number: int) -> AbstractContextManager[None]:
    """A `with` block in which this thread draws from the stream of the part of that number.

    Offsets differ too: layers with a seed of their own draw from one stream, and only its offset tells draws apart.
    """
    return default_generator.replay((key, PARTS + number, (key + (number << 32)) % 2**63))


@contextmanager
def all_streams(key: int, number: int) -> Iterator[None]:
    """`stream`, and Python's `random` and NumPy's `numpy.random` seeded for that part; afterwards they go on where they
    were."""
    words = philox_words(1, key, LEGACY, number, CPU)
    ours, theirs = random.getstate(), numpy.random.get_state()  # noqa: NPY002 -- the generators of the user's program
    try:
        random.seed(int(words[0]))
        numpy.random.seed(int(words[1]) % 2**32)  # noqa: NPY002
        with stream(key, number):
            yield
    finally:
        random.setstate(ours)
        numpy.random.set_state(theirs)  # noqa: NPY002
